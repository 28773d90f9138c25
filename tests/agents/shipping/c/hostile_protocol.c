/* Attempts on the manager and on what it shares: rings, the table, its descriptors, its time. */
#define _GNU_SOURCE
#include "hostile.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>

enum { MANY_DESCRIPTORS = 10000, MESSAGES = 200, PAGES = 200 };

static void attached(void)
{
    start_host_and_victim();
    own_one();
}

/* The manager drops a process that breaks a ring, or counts a bad descriptor; the victim has lost nothing. */
static void end_noticed(bool noticed)
{
    CHECK(noticed);
    CHECK_EQ(order_victim(NOT_GIVEN), NOTHING_CAME);
    CHECK_EQ(tell_victim(), INTACT);
    end_of(victim.pid);
    end_of(host.manager);
    unlink(host.socket);
    rmdir(host.directory);
    _exit(DETECTED);
}

TEST(ask_to_map_what_it_gave_away)
{
    int fds[CS_MAP_BATCH];
    attached();
    uint32_t page = cs_cid_page((uint32_t)our.cid);
    CHECK(give_it());
    bool any = false;
    /* by its old name, and by the one that it has now */
    uint32_t names[] = {(uint32_t)our.cid, cs_cid(page, cs_self.table->table[page].generation)};
    for (int i = 0; i < 2; i++)
        any |= ask(cs_self.control, (struct cs_request){.call = CS_CALL_MAP, .map = {names[i], 0}}, fds, CS_MAP_BATCH).error == 0;
    end_with(true, any || (host.protection == CS_COOPERATIVE && are_theirs(our.addr)));
}

TEST(ask_to_map_what_it_never_owned)
{
    int fds[CS_MAP_BATCH];
    attached();
    CHECK(give_it());
    uint32_t name = cs_cid(*private_page, cs_self.table->table[*private_page].generation);
    struct cs_request q = {.call = CS_CALL_MAP, .map = {name, 0}};
    bool granted = ask(cs_self.control, q, fds, CS_MAP_BATCH).error == 0;
    end_with(true, granted || (host.protection == CS_COOPERATIVE && any_descriptor_shows(*private_page)));
}

/* The pool's descriptor on the same connection, on another, or in a child. */
TEST(attach_once_more)
{
    int fds[CS_REPLY_FDS];
    attached();
    CHECK(give_it());
    struct cs_request q = {.call = CS_CALL_ATTACH};
    bool shown = ask(cs_self.control, q, fds, CS_REPLY_FDS).error == 0 && any_descriptor_shows(*private_page);
    int again = connect_again();
    shown |= again >= 0 && ask(again, q, fds, CS_REPLY_FDS).error == 0 && any_descriptor_shows(*private_page);
    pid_t pid = hostile_child();
    if (pid == 0) {
        again = connect_again();
        _exit(again >= 0 && ask(again, q, fds, CS_REPLY_FDS).error == 0 && any_descriptor_shows(*private_page));
    }
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    end_with(true, shown || status != 0);
}

/* A program that never runs the library's part of attaching. */
TEST(attach_by_its_own_rules)
{
    int fds[CS_REPLY_FDS];
    start_host_and_victim();
    int control = connect_again();
    CHECK(control >= 0);
    CHECK_EQ(ask(control, (struct cs_request){.call = CS_CALL_ATTACH}, fds, CS_REPLY_FDS).error, 0);
    bool shown = any_descriptor_shows(*private_page);
    CHECK_EQ(order_victim(NOT_GIVEN), NOTHING_CAME);
    end_with(true, shown);
}

TEST(take_it_from_the_manager)
{
    attached();
    CHECK(give_it());
    bool reached = false;
    char path[64];
    int pidfd = (int)syscall(SYS_pidfd_open, host.manager, 0);
    for (int fd = 0; fd < 64; fd++) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)host.manager, fd);
        reached |= open(path, O_RDWR) >= 0;
        reached |= syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0;
    }
    snprintf(path, sizeof path, "/proc/%d/mem", (int)host.manager);
    reached |= open(path, O_RDWR) >= 0;
    uint8_t byte;
    struct iovec to = {&byte, 1}, from = {(void *)our.addr, 1};
    reached |= process_vm_readv(host.manager, &to, 1, &from, 1, 0) == 1;
    end_with(true, reached);
}

TEST(corrupt_the_indices_of_a_ring)
{
    attached();
    struct cs_open *e = cs_find(our.fd);
    atomic_store(&e->tx.shared->produced, atomic_load(&e->tx.shared->produced) + 100000);
    cs_ring_manager();
    struct pollfd manager = {.fd = cs_self.control};
    end_noticed(poll(&manager, 1, SOON_MS) == 1); /* it hung up */
}

static void send_descriptor(struct cs_desc d)
{
    struct cs_open *e = cs_find(our.fd);
    *cs_ring_reserve(&e->tx) = d;
    cs_ring_submit(&e->tx);
    cs_ring_manager();
    WITHIN(SOON_MS, counted("drop_bad_descriptor") == 1);
}

TEST(name_bytes_beyond_the_container)
{
    attached();
    send_descriptor((struct cs_desc){.cid = (uint32_t)our.cid, .off = 1, .len = CS_PAGE_SIZE});
    end_noticed(true);
}

TEST(give_away_what_is_another_s)
{
    attached();
    send_descriptor((struct cs_desc){.cid = cs_cid(*private_page, cs_self.table->table[*private_page].generation), .len = 1});
    end_noticed(true);
}

TEST(name_a_stale_generation)
{
    attached();
    CHECK_EQ(cs_self.table->table[cs_cid_page((uint32_t)our.cid)].generation & CS_GENERATION_MASK,
             (uint32_t)our.cid >> CS_PAGE_BITS);
    send_descriptor((struct cs_desc){.cid = (uint32_t)our.cid - (1u << CS_PAGE_BITS), .len = 1});
    end_noticed(true);
}

TEST(change_the_table_of_containers)
{
    int fds[CS_REPLY_FDS];
    char path[32];
    attached();
    CHECK(give_it());
    const struct cs_container *mine = &cs_self.table->table[*private_page];
    uint32_t before = mine->generation;
    ask(cs_self.control, (struct cs_request){.call = CS_CALL_ATTACH}, fds, CS_REPLY_FDS);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fds[0]);
    int writable = open(path, O_RDWR);
    off_t at = (off_t)((const uint8_t *)mine - (const uint8_t *)cs_self.table);
    uint32_t wrong = before + 1;
    bool changed = writable >= 0 && pwrite(writable, &wrong, sizeof wrong, at) > 0;
    changed |= mmap(NULL, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, writable, 0) != MAP_FAILED;
    changed |= mprotect((void *)(uintptr_t)cs_self.table, CS_PAGE_SIZE, PROT_READ | PROT_WRITE) == 0;
    changed |= mine->generation != before;
    end_with(true, changed);
}

TEST(shrink_what_is_shared)
{
    attached();
    bool shrunk = false;
    int fds[CS_MAP_BATCH], more[CS_REPLY_FDS];
    ask(cs_self.control, (struct cs_request){.call = CS_CALL_MAP, .map = {(uint32_t)our.cid, 0}}, fds, CS_MAP_BATCH);
    ask(cs_self.control, (struct cs_request){.call = CS_CALL_ATTACH}, more, CS_REPLY_FDS);
    const int shared[] = {fds[0], more[0], more[2], cs_self.data_fd};
    for (int i = 0; i < 4; i++)
        shrunk |= shared[i] >= 0 && (ftruncate(shared[i], 0) == 0 || ftruncate(shared[i], 1 << 30) == 0);
    for (int i = 0; i < 3; i++)
        close(shared[i]);
    end_with(give_it(), shrunk);
}

/* Whoever may open a file may say who else may. */
TEST(lock_it_up_by_its_mode)
{
    attached();
    int fd = a_descriptor();
    fchmod(fd, 0);
    if (host.protection != CS_COOPERATIVE)
        close(fd);
    CHECK(give_it()); /* and the victim maps it */
    end_with(true, false);
}

/* The manager has it when this returns. */
static void free_at_once(uint32_t cid)
{
    int fds[CS_REPLY_FDS];
    if (cs_self.mapped)
        cs_hide(cid);
    struct cs_request q = {.call = CS_CALL_FREE, .free = {1, {cid}}};
    ask(cs_self.control, q, fds, CS_REPLY_FDS);
}

/* To open a file of which the manager has a lease has the kernel send it a signal. */
TEST(open_it_while_it_is_given_away)
{
    static int paths[PAGES];
    int cids[PAGES];
    void *addr;
    escape_the_shield();
    own_one();
    for (int i = 0; i < PAGES; i++) {
        char path[32];
        CHECK((cids[i] = cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW)) > 0);
        int before = our.cid;
        our.cid = cids[i];
        int fd = a_descriptor();
        our.cid = before;
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        paths[i] = open(path, O_PATH);
        if (host.protection != CS_COOPERATIVE)
            close(fd);
    }
    pid_t pid = hostile_child();
    for (int i = 0; pid == 0; i = (i + 1) % PAGES) {
        char path[32];
        snprintf(path, sizeof path, "/proc/self/fd/%d", paths[i]);
        close(open(path, O_RDWR | O_NONBLOCK));
    }
    for (int i = 0; i < PAGES; i++)
        free_at_once((uint32_t)cids[i]);
    kill(pid, SIGKILL);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    bool got = give_it();
    CHECK(got || noticed()); /* it is a race whether the manager meets an open file */
    end_as(tell_victim() == CHANGED ? POSSIBLE : PREVENTED);
}

/* What cannot be taken from it counts as its own, up to its share. */
TEST(hoard_what_it_gave_away)
{
    start_host_and_victim();
    own_one();
    for (int i = 0, cid; i < HOST_POOL / CS_MAP_BATCH; i++) {
        int fds[CS_MAP_BATCH];
        if ((cid = cs_alloc(CS_MAP_BATCH * CS_PAGE_SIZE, NULL, 0)) < 0)
            break;
        struct cs_request q = {.call = CS_CALL_MAP, .map = {(uint32_t)cid, 0}};
        ask(cs_self.control, q, fds, CS_MAP_BATCH);
        for (int k = 0; k < CS_MAP_BATCH && fds[k] >= 0; k++) {
            CHECK(mmap(NULL, CS_PAGE_SIZE, PROT_READ, MAP_SHARED, fds[k], 0) != MAP_FAILED);
            close(fds[k]);
        }
        free_at_once((uint32_t)cid);
    }
    CHECK_EQ(host.protection == CS_STRICT, counted("containers_withheld") > HOST_POOL / 4);
    end_with(give_it(), counted("containers_withheld") > HOST_POOL / 2);
}

TEST(hold_10000_descriptors)
{
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    attached();
    if (limit.rlim_max < MANY_DESCRIPTORS + 100)
        exit(77);
    limit.rlim_cur = MANY_DESCRIPTORS + 100;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int held = 0;
    while (held < MANY_DESCRIPTORS && dup(held % 2 ? cs_self.doorbell : cs_self.control) >= 0)
        held++;
    CHECK_EQ(held, MANY_DESCRIPTORS);
    end_with(give_it(), false);
}

/* A write to it waits from now on, if its flags are shared. */
static void fill_and_block(int doorbell)
{
    const uint64_t full = UINT64_MAX - 1;
    uint64_t rung;
    int flags = fcntl(doorbell, F_GETFL);
    CHECK_EQ(fcntl(doorbell, F_SETFL, flags | O_NONBLOCK), 0);
    CHECK(read(doorbell, &rung, sizeof rung) == sizeof rung || errno == EAGAIN || errno == EINVAL);
    CHECK(write(doorbell, &full, sizeof full) == sizeof full || errno == EINVAL);
    CHECK_EQ(fcntl(doorbell, F_SETFL, flags & ~O_NONBLOCK), 0);
}

TEST(stop_the_manager_by_its_own_doorbell)
{
    attached();
    struct cs_open *e = cs_find(our.fd);
    fill_and_block(our.fd);
    cs_ring_wait(&e->rx); /* the manager is to ring for whatever it does */
    cs_ring_crowd(&e->tx);
    bool got = give_it();
    struct cs_request q = {.version = CS_LAYOUT_VERSION, .call = CS_CALL_FREE};
    struct pollfd answer = {.fd = cs_self.control, .events = POLLIN};
    CHECK(cs_message_send(cs_self.control, &q, sizeof q, NULL, 0));
    end_with(got, poll(&answer, 1, SOON_MS) == 0);
}

static void ring_when_told(int told, int said)
{
    char word;
    CHECK_EQ(cs_attach(host.socket), 0);
    CHECK_EQ(write(said, "r", 1), 1);
    CHECK_EQ(read(told, &word, 1), 1);
    cs_ring_manager();
    CHECK_EQ(write(said, "d", 1), 1);
    pause();
}

/* While the manager does not run. */
TEST(hold_up_another_by_the_manager_s_doorbell)
{
    int orders[2], words[2], status;
    char word;
    start_host_and_victim();
    CHECK(pipe(orders) == 0 && pipe(words) == 0);
    pid_t third = child();
    if (third == 0)
        ring_when_told(orders[0], words[1]);
    CHECK_EQ(read(words[0], &word, 1), 1);
    own_one();
    CHECK_EQ(kill(host.manager, SIGSTOP), 0);
    CHECK_EQ(waitpid(host.manager, &status, WUNTRACED), host.manager);
    fill_and_block(cs_self.doorbell);
    CHECK_EQ(write(orders[1], "!", 1), 1);
    struct pollfd rung = {.fd = words[0], .events = POLLIN};
    bool held_up = poll(&rung, 1, SOON_MS) == 0;
    end_of(third);
    CHECK_EQ(kill(host.manager, SIGCONT), 0);
    end_with(give_it(), held_up);
}

/* A process that was stopped in the middle of giving. */
static void give_and_stop(void)
{
    own_one();
    CHECK_EQ(cs_write(our.fd, 1, &our.cid, NULL, NULL, 0), 0);
    raise(SIGSTOP);
}

/* Two more, who exchange messages meanwhile. */
static void talk(void)
{
    int fd = channel_end("talk", 5 * SOON_MS);
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK_EQ(write_pattern(fd, 0, 3000, i, 0), 0);
}

static void listen_to(void)
{
    int fd = channel_end("talk", 5 * SOON_MS);
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK_EQ(read_pattern(fd, BIG, 1, i, 0, 0), 3000);
}

TEST(stop_while_others_go_on)
{
    start_host_and_victim();
    pid_t pid = child();
    int status;
    if (pid == 0) {
        give_and_stop();
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    CHECK(WIFSTOPPED(status));
    bool got = tell_victim() == HAS_IT;
    pid_t speaker = other(talk), listener = other(listen_to);
    ended_well(speaker);
    ended_well(listener);
    bool intact = tell_victim() == INTACT;
    end_of(pid);
    WITHIN(SOON_MS, counted("containers_owned") > 0);
    end_of(victim.pid);
    WITHIN(SOON_MS, counted("containers_owned") + counted("containers_withheld") == 0);
    end_of(host.manager);
    unlink(host.socket);
    rmdir(host.directory);
    _exit(got && intact ? PREVENTED : POSSIBLE);
}
