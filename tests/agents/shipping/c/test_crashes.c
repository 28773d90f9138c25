/* Processes that die, stop or misbehave: what the others see. */
#define _GNU_SOURCE
#include "core/process.h"
#include "host.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/un.h>

TEST(a_dead_manager_is_noticed_by_a_sleeping_reader)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    pid_t killer = child();
    if (killer == 0) {
        poll(NULL, 0, 100); /* the reader may as well not sleep yet; then it notices at once */
        kill(host.manager, SIGKILL);
        _exit(0);
    }
    CHECK_EQ(cs_read(fd, 10, 1, &args, 0), -EPIPE);
    CHECK_EQ(waitpid(killer, NULL, 0), killer);
    CHECK_EQ(waitpid(host.manager, NULL, 0), host.manager);
    CHECK_EQ(cs_alloc(1, NULL, 0), -EPIPE);
    CHECK_EQ(cs_open_udp(frame_us.ip, 1, 0, 0, 64, 0), -EPIPE);
    cs_detach();
    unlink(host.socket);
    rmdir(host.directory);
}

TEST(a_dead_manager_is_noticed_by_a_writer_that_is_held_back)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), zero = 0, one = 1, err = 0;
    CHECK_EQ(kill(host.manager, SIGKILL), 0);
    CHECK_EQ(waitpid(host.manager, NULL, 0), host.manager);
    for (int i = 0; err == 0 && i < 1000; i++) {
        int cid = cs_alloc(1, NULL, 0);
        err = cid < 0 ? cid : cs_write(fd, 1, &cid, &zero, &one, 0);
    }
    CHECK_EQ(err, -EPIPE);
    cs_detach();
    unlink(host.socket);
    rmdir(host.directory);
}

TEST(a_dead_manager_is_noticed_by_one_who_never_waits)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), zero = 0, one = 1, cid, cids[200];
    struct cs_args args = {.cids = &cid};
    for (int i = 0; i < 200; i++)
        CHECK((cids[i] = cs_alloc(1, NULL, 0)) > 0);
    station_send(HOST_PORT, 10);
    WITHIN(SOON_MS, counted("datagrams_in") == 1);
    CHECK_EQ(kill(host.manager, SIGKILL), 0);
    CHECK_EQ(waitpid(host.manager, NULL, 0), host.manager);
    CHECK_EQ(cs_read(fd, 10, 1, &args, CS_DONTWAIT), 1); /* what had arrived is still there */
    WITHIN(SOON_MS, cs_read(fd, 10, 1, &args, CS_DONTWAIT) == -EPIPE);
    int written = 0, err = 0;
    while (written < 200 && (err = cs_write(fd, 1, &cids[written], &zero, &one, CS_DONTWAIT)) == 0)
        written++;
    CHECK_EQ(err, -EPIPE);
    cs_detach();
    unlink(host.socket);
    rmdir(host.directory);
}

static void take_much(void)
{
    int fd = host_open(HOST_PORT, SOON_MS), cids[8], sum = 0;
    struct cs_args args = {.cids = cids};
    for (int i = 0; i < 5; i++)
        station_send(HOST_PORT, 4300);
    while (sum < 6) {
        int n = cs_read(fd, FRAME_MAX, 8, &args, 0);
        CHECK(n > 0);
        sum += n;
    }
    for (int i = 0; i < 100; i++)
        CHECK(cs_alloc(4096, NULL, 0) > 0);
    CHECK(cs_alloc(50000, NULL, 0) > 0);
    WITHIN(SOON_MS, counted("containers_owned") == 10 + 128 + 1);
}

TEST(what_a_killed_process_held_comes_back)
{
    host_start();
    uint64_t free = counted("containers_free");
    pid_t pid = neighbour(take_much);
    CHECK_EQ(counted("containers_owned"), 10 + 128 + 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
    WITHIN(SOON_MS, counted("processes_attached") == 1); /* the last that is counted of its end */
    CHECK_EQ(counted("containers_owned"), 0);
    CHECK_EQ(counted("containers_free"), free);
    CHECK_EQ(counted("containers_reclaimed"), 10 + 128 + 1);
    CHECK_EQ(counted("drop_closed"), 2); /* the datagrams it had not read */
    CHECK_EQ(counted("containers_receiving"), 2 * HOST_QUEUE);
    host_end();
}

static void take_all_there_is(void)
{
    while (cs_alloc(4096, NULL, 0) > 0) {
    }
}

TEST(a_process_that_takes_all_it_can_stops_no_arrival_and_no_other)
{
    host_start();
    pid_t pid = neighbour(take_all_there_is);
    int fd = host_open(HOST_PORT, SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    for (int i = 0; i < 500; i++) { /* nothing is given back meanwhile */
        station_send(HOST_PORT, 10);
        CHECK_EQ(cs_read(fd, 10, 1, &args, 0), 1);
        CHECK(cs_alloc(2 * 4096, NULL, 0) > 0);
    }
    end_of(pid);
    host_end();
}

static void listen_only(void)
{
    host_open(HOST_PORT + 1, -1);
}

/* More than fits into its queue, and more than the manager keeps pages for. */
static void flood(int count)
{
    for (int i = 0; i < count; i++) {
        station_send(HOST_PORT + 1, 100);
        if (i % 32 == 31) {
            uint64_t seen = (uint64_t)i + 1;
            WITHIN(SOON_MS, counted("datagrams_in") + counted("drop_endpoint_queue") + counted("drop_wire_no_page") >= seen);
        }
    }
}

static void check_others_read(int count)
{
    int fd = host_open(HOST_PORT, SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    for (int i = 0; i < count; i++) {
        station_send(HOST_PORT, 10);
        CHECK_EQ(cs_read(fd, 10, 1, &args, 0), 1);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
}

/* Queues that could hold all of the pool between them. */
static void listen_with_large_queues(void)
{
    for (uint16_t port = HOST_PORT + 1; port <= HOST_PORT + 4; port++)
        CHECK(cs_open_udp(frame_us.ip, port, 0, 0, HOST_POOL / 4, -1) >= 0);
}

TEST(a_process_that_takes_nothing_from_large_queues_does_not_stop_the_others)
{
    host_start();
    pid_t pid = neighbour(listen_with_large_queues);
    for (uint32_t i = 0; i < HOST_POOL; i++) {
        station_send((uint16_t)(HOST_PORT + 1 + i % 4), 10);
        if (i % 32 == 31)
            WITHIN(SOON_MS, counted("datagrams_in") + counted("drop_endpoint_queue") + counted("drop_wire_no_page") > i);
    }
    CHECK(counted("containers_owned") > HOST_POOL / 2); /* and as one in three of these is free */
    CHECK(counted("containers_free") > HOST_POOL / 6);
    check_others_read(100);
    end_of(pid);
    host_end();
}

TEST(a_stopped_reader_does_not_stop_the_others)
{
    host_start();
    pid_t pid = neighbour(listen_only);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    flood(HOST_QUEUE);
    check_others_read(100);
    end_of(pid);
    host_end();
}

TEST(a_stopped_reader_with_a_full_queue_does_not_stop_the_others)
{
    host_start();
    pid_t pid = neighbour(listen_only);
    CHECK_EQ(kill(pid, SIGSTOP), 0);
    flood(4 * HOST_QUEUE);
    check_others_read(100);
    end_of(pid);
    host_end();
}

TEST(more_processes_than_there_is_room_for_are_refused_and_the_others_stay)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int sockets[2 * CS_PROCESSES];
    char byte;
    host_start();
    strcpy(address.sun_path, host.socket);
    for (int i = 0; i < 2 * CS_PROCESSES; i++) {
        sockets[i] = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(sockets[i], (struct sockaddr *)&address, sizeof address), 0);
    }
    CHECK_EQ(recv(sockets[2 * CS_PROCESSES - 1], &byte, 1, 0), 0); /* hung up on */
    check_others_read(20);
    for (int i = 0; i < 2 * CS_PROCESSES; i++)
        close(sockets[i]);
    end_of(neighbour(listen_only)); /* and there is room again */
    host_end();
}

/* The lowest number under which the manager has no descriptor open: with that as its limit it gets no other. */
static rlim_t descriptors_of_the_manager(void)
{
    char path[64];
    rlim_t n = 0;
    do
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)host.manager, (int)n++);
    while (access(path, F_OK) == 0);
    return n - 1;
}

/* How often the manager wakes up in so many milliseconds, of however many more it took to look. */
static uint64_t wakeups_in(int ms)
{
    uint64_t began = now_ms(), before = counted("wakeups");
    poll(NULL, 0, ms);
    return (counted("wakeups") - before) * (uint64_t)ms / (now_ms() - began);
}

TEST(a_manager_without_descriptors_sleeps_refuses_and_recovers)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct rlimit before, few;
    char byte;
    host_start();
    CHECK(cs_alloc(1, NULL, 0) > 0); /* what was duplicated for us to attach is closed by now */
    rlim_t used = descriptors_of_the_manager();
    CHECK_EQ(prlimit(host.manager, RLIMIT_NOFILE, NULL, &before), 0);
    for (few = before, few.rlim_cur = used + 3; few.rlim_cur-- > used;) { /* an endpoint needs three */
        CHECK_EQ(prlimit(host.manager, RLIMIT_NOFILE, &few, NULL), 0);
        CHECK_EQ(cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_QUEUE, 0), -EMFILE);
    }
    int waits = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, host.socket);
    CHECK_EQ(connect(waits, (struct sockaddr *)&address, sizeof address), 0);
    CHECK(wakeups_in(300) < 30);
    CHECK_EQ(poll(&(struct pollfd){.fd = waits, .events = POLLIN}, 1, 0), 0);
    CHECK_EQ(prlimit(host.manager, RLIMIT_NOFILE, &before, NULL), 0);
    end_of(neighbour(listen_only)); /* behind the one who waits */
    CHECK_EQ(recv(waits, &byte, 1, MSG_DONTWAIT), -1); /* not hung up on */
    CHECK_EQ(errno, EAGAIN);
    close(waits);
    check_others_read(20);
    host_end();
}

TEST(a_message_without_an_end_wakes_nobody_until_it_ends)
{
    uint8_t payload[FRAME_MAX];
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cids[2] = {cs_alloc(1, NULL, 0), cs_alloc(1, NULL, 0)}, zero = 0, ten = 10;
    struct cs_open *e = cs_find(fd); /* the library writes whole messages only */
    *cs_ring_reserve(&e->tx) = (struct cs_desc){(uint32_t)cids[0], 0, 10, CS_DESC_MORE};
    cs_ring_submit(&e->tx);
    cs_written(e);
    cs_flush();
    WITHIN(SOON_MS, atomic_load(&e->tx.shared->waiting)); /* it looked, and sleeps */
    CHECK(wakeups_in(300) < 30);
    CHECK_EQ(cs_write(fd, 1, &cids[1], &zero, &ten, 0), 0);
    CHECK_EQ(station_receive(payload, SOON_MS), 20);
    host_end();
}

/* It writes all the time, so that the manager is woken all the time. */
static void write_on_and_on(void)
{
    if (fork() > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = host_open(HOST_PORT + 2, -1), zero = 0, one = 1;
    for (;;) {
        int cid = cs_alloc(1, NULL, 0);
        if (cid <= 0 || cs_write(fd, 1, &cid, &zero, &one, 0) < 0)
            _exit(0);
        poll(NULL, 0, 0);
        sched_yield();
    }
}

TEST(a_stopped_reader_and_a_busy_writer_do_not_stop_the_others)
{
    uint8_t payload[FRAME_MAX];
    host_start();
    pid_t stopped = neighbour(listen_only), writer = neighbour(write_on_and_on);
    CHECK(station_receive(payload, SOON_MS) == 1);
    CHECK_EQ(kill(stopped, SIGSTOP), 0);
    pid_t drain = child(); /* takes what the writer sends off the wire */
    if (drain == 0)
        for (;;)
            station_receive(payload, SOON_MS);
    flood(HOST_QUEUE + 64);
    check_others_read(50);
    end_of(drain);
    end_of(writer);
    end_of(stopped);
    host_end();
}

/* Its side of the rings' memory, found by its name: it has no other way to break the rules. */
static void break_the_ring(void)
{
    host_open(HOST_PORT + 1, -1);
    char line[512], *at;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    while (fgets(line, sizeof line, maps))
        if ((at = strstr(line, "transship-endpoint"))) {
            struct cs_ring_shared *rx = (struct cs_ring_shared *)strtoull(line, NULL, 16);
            atomic_store(&rx->consumed, 123456789);
        }
    fclose(maps);
}

TEST(a_process_that_breaks_its_ring_is_cut_off_and_nobody_else)
{
    host_start();
    pid_t pid = neighbour(break_the_ring);
    for (; counted("drop_no_port") == 0; poll(NULL, 0, 5)) /* until its port is closed */
        station_send(HOST_PORT + 1, 10);
    check_others_read(20);
    end_of(pid);
    host_end();
}
