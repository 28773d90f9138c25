/* Processes that are killed at every step of every call. TRANSSHIP_KILLS says how many are, TRANSSHIP_SEED which, and
 * TRANSSHIP_FIRST_KILL which of them is the first, to see one again. */
#define _GNU_SOURCE
#include "faults.h"

#include <sys/syscall.h>

#include "bystanders.h"
#include "station.h"

enum { KILLS = 400, HELD = 16 };

static const char *const gauges[] = {
    "containers_free", "containers_receiving", "containers_owned", "containers_sending", "pages_following",
    "processes_attached", "endpoints_open",
};
enum { FREE = 0, RECEIVING = 1, ATTACHED = 5, GAUGES = sizeof gauges / sizeof *gauges };

static struct {
    struct mix_record record;
    _Atomic int gone;
    _Atomic uint32_t received[MIX_CHANNELS];
} *shared;

static uint64_t seed;

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void run_victim(int signal)
{
    struct mix m = {.record = &shared->record, .name = "victim", .port = HOST_PORT, .timeout_ms = 2,
                    .restless = (uint32_t[]){10, 50, 300}[below(3)]};
    fault_armed.signal = signal;
    fault_armed.passages = fault_now.passages;
    fault_armed.point = fault_now.point;
    mix_attach(&m);
    for (;;)
        mix_step(&m);
}

static void peer_ended(struct mix *m)
{
    (void)m;
}

/* What the partner has received and still holds. */
static struct {
    int cid, off, len;
    struct mix_head head;
    uint32_t at;
} held[HELD];
static int held_count;

/* One message, whole, the next one; false: nothing came. The end of the channel: *ended. */
static bool take_message(int fd, uint32_t number, bool *ended)
{
    int cids[8], offs[8], lens[8];
    void *addrs[8];
    struct cs_args args = {cids, offs, lens, NULL, addrs};
    int n = cs_read(fd, 4 * MIX_MOST, 8, &args, CS_MAPALL);
    struct mix_head head;
    uint32_t at = 0;
    *ended = n == 0;
    CHECK(n >= 0 || n == -ETIMEDOUT);
    for (int i = 0; i < n; i++) {
        uint8_t *bytes = (uint8_t *)addrs[i] + offs[i];
        if (i == 0)
            head = mix_head_of(bytes, (uint32_t)lens[i]);
        mix_check(bytes, &head, at, (uint32_t)lens[i]);
        if (held_count < HELD && below(8) == 0) {
            held[held_count].cid = cids[i];
            held[held_count].off = offs[i];
            held[held_count].len = lens[i];
            held[held_count].head = head;
            held[held_count++].at = at;
        } else
            CHECK_EQ(cs_free(1, &cids[i]), 0);
        at += (uint32_t)lens[i];
    }
    if (n > 0) {
        CHECK_EQ(head.number, number);
        CHECK_EQ(at, head.bytes);
    }
    return n > 0;
}

/* The other end of the victim's channel of that number; false: there will be no other. */
static bool serve_channel(struct mix *m, uint32_t number)
{
    struct mix_record *r = &shared->record;
    uint32_t received = 0;
    bool ended = false, gone = false, more = true, lazy = below(3) == 0;
    uint64_t until = 0;
    mix_open_channel(m);
    atomic_store(&r->other_end, number + 1);
    while (!ended && more) {
        gone = atomic_load(&shared->gone);
        lazy ^= below(32) == 0;
        if (lazy && !gone && atomic_load(&r->channels) <= number + 1)
            poll(NULL, 0, 1);
        else if (take_message(m->channel, received, &ended))
            received++;
        else if (gone && !ended) {
            /* it never opened this one, or began to and had not written: no end will come */
            more = atomic_load(&r->channels) > number && atomic_load(&r->started[number]) > 0;
            until = until ? until : now_ms() + SOON_MS;
            CHECK(now_ms() < until);
        }
        if (!gone && below(3) == 0)
            mix_write(m, m->channel);
    }
    atomic_store(&shared->received[number], received);
    CHECK(received >= atomic_load(&r->finished[number]));
    CHECK(received <= atomic_load(&r->started[number]));
    while (!gone && !(gone = atomic_load(&shared->gone)) && atomic_load(&r->channels) == number + 1)
        poll(NULL, 0, 1); /* it dies, or opens the next */
    return atomic_load(&r->channels) > number + 1;
}

/* Pages that are this process's in the manager's book, and in its own: owned, kept for reuse, in its rings. */
static uint32_t pages_in_table(uint16_t owner)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < cs_self.pages; i++) {
        struct cs_container c = cs_self.table->table[i];
        sum += c.state == CS_OWNED && c.owner == owner ? c.pages : 0;
    }
    return sum;
}

static uint32_t pages_in_ring(const struct cs_ring *r)
{
    uint32_t sum = 0;
    for (uint32_t i = atomic_load(&r->shared->consumed); i != atomic_load(&r->shared->produced); i++)
        sum += cs_pages_of(r->shared->slots[i & (r->capacity - 1)].cid);
    return sum;
}

static uint32_t pages_in_book(const struct cs_open *e)
{
    uint32_t sum = cs_self.spare_pages + pages_in_ring(&e->tx) + pages_in_ring(&e->back);
    for (uint32_t i = 0; i < cs_self.pages; i++)
        sum += cs_self.owned[i] ? cs_pages_of(cs_self.owned[i]) : 0;
    return sum;
}

/* At the other end of the victim's channels. What was handed over when it died is ours or not: as both books say. */
static void run_partner(void)
{
    struct mix_record none = {.other_end = MIX_CHANNELS};
    struct mix m = {.record = &none, .name = "victim", .timeout_ms = 2, .ended = peer_ended};
    void *addr;
    CHECK_EQ(cs_attach(host.socket), 0);
    int mine = cs_alloc(1, NULL, 0);
    CHECK(mine > 0);
    uint16_t owner = cs_self.table->table[cs_cid_page((uint32_t)mine)].owner;
    for (uint32_t i = 0; serve_channel(&m, i); i++)
        CHECK_EQ(cs_close(m.channel), 0);
    WITHIN(SOON_MS, pages_in_table(owner) == pages_in_book(cs_find(m.channel)));
    for (int i = 0; i < held_count; i++) {
        CHECK_EQ(cs_map(1, &held[i].cid, &addr, 0), 0);
        mix_check((uint8_t *)addr + held[i].off, &held[i].head, held[i].at, (uint32_t)held[i].len);
    }
    cs_detach();
    _exit(0);
}

static pid_t start(void (*what)(int), int argument, uint64_t salt)
{
    pid_t pid = child();
    if (pid == 0) {
        random_state = (seed * 1000003 + fault_now.number) * 3 + salt;
        what(argument);
    }
    return pid;
}

static void partner(int unused)
{
    (void)unused;
    run_partner();
}

static bool has_exited(pid_t pid)
{
    int status;
    station_serve();
    pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid)
        CHECK_EQ(status, 0);
    return ended == pid;
}

/* Serve the wire until it dies at its point, or stops there and is killed. */
static void wait_for_death(pid_t pid)
{
    int status, life = (int)syscall(SYS_pidfd_open, pid, 0);
    uint64_t until = now_ms() + SOON_MS;
    CHECK(life >= 0);
    while (waitpid(pid, &status, WNOHANG | WUNTRACED) != pid) {
        struct pollfd fds[2] = {{.fd = life, .events = POLLIN}, {.fd = host.wire, .events = POLLIN}};
        poll(fds, 2, 1);
        station_serve();
        if (below(2))
            station_say(HOST_PORT);
        CHECK(now_ms() < until);
    }
    close(life);
    if (WIFSTOPPED(status)) {
        uint64_t rounds = bystanders_rounds();
        WITHIN(SOON_MS, bystanders_rounds() > rounds + 1);
        CHECK_EQ(kill(pid, SIGKILL), 0);
        CHECK_EQ(waitpid(pid, &status, 0), pid);
    }
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
}

/* What waits for the rest of its datagram is the network's, whoever died: it may have to wait for a second. */
static bool all_as_before(const uint64_t *before, int descriptors)
{
    station_serve();
    uint64_t waiting = counted("reassembly_backlog");
    for (int i = 0; i < GAUGES; i++)
        if (counted(gauges[i]) + (i == FREE ? waiting : 0) != before[i] + (i == RECEIVING ? waiting : 0))
            return false;
    return descriptors_of(host.manager) == descriptors;
}

static void show(const uint64_t *before, int descriptors)
{
    for (int i = 0; i < GAUGES; i++)
        fprintf(stderr, "%s: %llu, not %llu\n", gauges[i], (unsigned long long)counted(gauges[i]), (unsigned long long)before[i]);
    fprintf(stderr, "descriptors: %d, not %d\n", descriptors_of(host.manager), descriptors);
}

/* Did the last message go to the side that the victim's last step says? */
static void check_last_message(void)
{
    struct mix_record *r = &shared->record;
    uint32_t channels = atomic_load(&r->channels), last = channels - 1;
    if (channels == 0)
        return;
    if (fault_is(fault_now.point, "write.disowned") || fault_is(fault_now.point, "write.described"))
        CHECK_EQ(atomic_load(&shared->received[last]), atomic_load(&r->finished[last]));
    if (fault_is(fault_now.point, "write.published"))
        CHECK_EQ(atomic_load(&shared->received[last]), atomic_load(&r->started[last]));
}

/* What the victim gave to its last file, and that was taken, is there from the first byte on, whole. */
static void check_target(void)
{
    static uint8_t bytes[MIX_TARGET + 3 * 24 * CS_PAGE_SIZE];
    char name[40];
    mix_target_name(name, HOST_PORT, atomic_load(&shared->record.files));
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        CHECK_EQ(got, file_size(name));
        for (ssize_t i = 0; i < got; i++)
            CHECK_EQ(bytes[i], file_byte((uint64_t)i));
        close(fd);
    }
    mix_remove_targets(&shared->record, HOST_PORT);
}

/* One life and death. Returns how long it took until all was as before. */
static uint64_t one_kill(const uint64_t *before, int descriptors)
{
    memset(shared, 0, sizeof *shared);
    pid_t other = start(partner, 0, 1), victim = start(run_victim, below(8) ? SIGKILL : SIGSTOP, 2);
    wait_for_death(victim);
    uint64_t died = now_ms(), rounds = bystanders_rounds();
    WITHIN(SOON_MS, counted("processes_attached") == before[ATTACHED] + 1);
    uint64_t took = now_ms() - died;
    atomic_store(&shared->gone, 1);
    WITHIN(SOON_MS, has_exited(other));
    check_last_message();
    for (uint64_t until = now_ms() + SOON_MS; !all_as_before(before, descriptors); poll(NULL, 0, 1))
        if (now_ms() > until) {
            show(before, descriptors);
            CHECK(!"all as before");
        }
    check_target();
    WITHIN(SOON_MS, bystanders_rounds() > rounds + 1);
    return took;
}

TEST(whoever_is_killed_at_any_step_leaves_nothing_behind)
{
    int points[FAULTS], count, descriptors;
    uint64_t before[GAUGES], kills = number_from("TRANSSHIP_KILLS", KILLS), worst = 0;
    uint32_t first = (uint32_t)number_from("TRANSSHIP_FIRST_KILL", 0);
    seed = number_from("TRANSSHIP_SEED", 1);
    count = faults_find("manager.", false, points);
    CHECK(count <= KILLS); /* the suite sees each */
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    host_start();
    mix_prepare();
    cs_detach();
    bystanders_start();
    WITHIN(SOON_MS, bystanders_rounds() > 20);
    descriptors = descriptors_of(host.manager);
    for (int i = 0; i < GAUGES; i++)
        before[i] = counted(gauges[i]);
    WITHIN(SOON_MS, all_as_before(before, descriptors));
    for (uint32_t i = first; i < first + kills; i++) {
        random_state = (seed * 1000003 + i) * 3;
        fault_is_now(i, points[i % (uint32_t)count], 1 + below(1u << below(4)));
        uint64_t took = one_kill(before, descriptors);
        worst = took > worst ? took : worst;
    }
    printf("%llu kills from number %u on, at %d points, seed %llu: all came back, at the latest after %llu ms\n", (unsigned long long)kills,
           first, count, (unsigned long long)seed, (unsigned long long)worst);
    bystanders_end();
    host_end();
}
