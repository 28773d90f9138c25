/* Channels whose ends die or lie, and what recycling saves. */
#define _GNU_SOURCE
#include "channel.h"

#include <sched.h>

#include "core/process.h"

enum { EXCHANGES = 3000 };

static bool nothing_owned(void)
{
    return counted("containers_owned") + counted("pages_following") == 0;
}

static void fill_and_hold(void)
{
    fill_channel(channel_end("test", 20), 2 * CS_PAGE_SIZE, 5);
    CHECK(cs_alloc(BIG, NULL, 0) > 0);
}

TEST(what_a_killed_writer_had_written_is_read_and_the_rest_comes_back)
{
    host_start();
    int fd = channel_end("test", SOON_MS), got, messages = 0;
    end_of(neighbour(fill_and_hold));
    while ((got = read_pattern(fd, BIG, 1, 5, 0, 0)) > 0) {
        CHECK_EQ(got, 2 * CS_PAGE_SIZE);
        messages++;
    }
    CHECK_EQ(got, 0);
    CHECK(messages >= 2 * SHORT_QUEUE);
    CHECK_EQ(write_pattern(fd, 0, 1, 0, 0), -EPIPE);
    cs_detach();
    WITHIN(SOON_MS, nothing_owned());
    CHECK_EQ(cs_attach(host.socket), 0);
    host_end();
}

enum { PARTS = 3 };

static void fill_with_long_messages(void)
{
    int fd = channel_end("test", 20), err = 0;
    for (int written = 0; err == 0 || PARTS * written <= SHORT_QUEUE;) { /* the manager may be slow to take the first */
        int cids[PARTS], lens[PARTS] = {1, 1, 1};
        for (int i = 0; i < PARTS; i++)
            CHECK((cids[i] = cs_alloc(1, NULL, 0)) > 0);
        if ((err = cs_write(fd, PARTS, cids, NULL, lens, 0)) == 0)
            written++;
        else
            CHECK_EQ(cs_free(PARTS, cids), 0);
    }
    CHECK_EQ(err, -ETIMEDOUT);
}

TEST(what_a_killed_writer_had_written_comes_in_whole_messages)
{
    int cids[2 * SHORT_QUEUE], got, messages = 0, status;
    struct cs_args args = {.cids = cids};
    host_start();
    int fd = channel_end("test", SOON_MS);
    end_of(neighbour(fill_with_long_messages));
    WITHIN(SOON_MS, counted("endpoints_open") == 1);
    CHECK_EQ(kill(host.manager, SIGSTOP), 0); /* first what the ring holds, then the rest */
    CHECK_EQ(waitpid(host.manager, &status, WUNTRACED), host.manager);
    for (; (got = cs_read(fd, BIG, 2 * SHORT_QUEUE, &args, CS_DONTWAIT)) > 0; messages++)
        CHECK_EQ(got, PARTS);
    CHECK_EQ(got, -EAGAIN);
    CHECK_EQ(kill(host.manager, SIGCONT), 0);
    for (; (got = cs_read(fd, BIG, 2 * SHORT_QUEUE, &args, 0)) > 0; messages++)
        CHECK_EQ(got, PARTS);
    CHECK_EQ(got, 0);
    CHECK(PARTS * messages > SHORT_QUEUE); /* more than its ring had room for */
    host_end();
}

static void only_open(void)
{
    channel_end("test", -1);
}

TEST(a_writer_that_sleeps_hears_that_its_reader_was_killed)
{
    host_start();
    int fd = channel_end("test", SOON_MS), err;
    pid_t reader = neighbour(only_open), killer = child();
    if (killer == 0) {
        poll(NULL, 0, 100); /* the writer may as well not sleep yet; then it notices at once */
        kill(reader, SIGKILL);
        _exit(0);
    }
    while ((err = write_pattern(fd, 0, BIG, 0, 0)) == 0 || err == -ENOBUFS) {
    }
    CHECK_EQ(err, -EPIPE);
    CHECK_EQ(waitpid(killer, NULL, 0), killer);
    CHECK_EQ(waitpid(reader, NULL, 0), reader);
    CHECK_EQ(cs_close(fd), 0);
    cs_detach();
    WITHIN(SOON_MS, nothing_owned());
    CHECK_EQ(cs_attach(host.socket), 0);
    host_end();
}

static void write_for_ever(void)
{
    if (fork() > 0)
        return; /* the parent says that it began, and waits to be killed */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("test", SOON_MS);
    for (uint32_t i = 0;; i++)
        if (write_pattern(fd, 0, 4 * CS_PAGE_SIZE, 0, i % 4 ? CS_MORE : 0) < 0)
            _exit(0);
}

TEST(a_process_killed_in_the_middle_of_it_leaves_no_page_behind)
{
    host_start();
    for (int round = 0; round < 30; round++) {
        int fd = channel_end("test", SOON_MS), got = 1;
        pid_t writer = neighbour(write_for_ever);
        for (int i = 0; i < 1 + 10 * round && got > 0; i++)
            got = read_pattern(fd, BIG, 1, 0, 0, 0);
        end_of(writer); /* its child with it */
        while ((got = read_pattern(fd, BIG, 1, 0, 0, 0)) > 0) {
        }
        CHECK_EQ(got, 0);
        cs_detach();
        WITHIN(SOON_MS, nothing_owned());
        CHECK_EQ(cs_attach(host.socket), 0);
    }
    host_end();
}

static void hoard(void)
{
    int fd = channel_end("test", -1), cid;
    struct cs_args args = {.cids = &cid};
    while (cs_read(fd, BIG, 1, &args, 0) == 1) {
    }
}

TEST(a_reader_that_hoards_holds_its_writer_back_and_stops_nobody_else)
{
    host_start();
    int to = channel_end("test", 200), fd = host_open(HOST_PORT, SOON_MS), cid, err;
    struct cs_args args = {.cids = &cid};
    pid_t reader = other(hoard);
    while ((err = write_pattern(to, 0, BIG, 0, 0)) == 0) {
    }
    CHECK(err == -ETIMEDOUT || err == -ENOBUFS);
    CHECK(counted("containers_free") > HOST_POOL / 16);
    for (int i = 0; i < 200; i++) {
        station_send(HOST_PORT, 10);
        CHECK_EQ(cs_read(fd, 10, 1, &args, 0), 1);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    end_of(reader);
    host_end();
}

/* Descriptors of every kind, straight into the ring. */
static void lie(void)
{
    int fd = channel_end("test", SOON_MS), good = cs_alloc(2 * CS_PAGE_SIZE, NULL, 0);
    struct cs_ring *tx = &cs_find(fd)->tx;
    for (int i = 0; i < 2000; i++) {
        while (cs_ring_space(tx) < 8) {
            cs_ring_manager();
            sched_yield();
        }
        *cs_ring_reserve(tx) = (struct cs_desc){
            .cid = below(3) ? (uint32_t)good : (uint32_t)random64(),
            .off = below(2) ? 0 : (uint32_t)random64(),
            .len = below(2) ? 10 : (uint32_t)random64(),
            .flags = below(4) ? 0 : (uint32_t)random64(),
        };
        cs_ring_submit(tx);
        if (below(3) == 0)
            good = cs_alloc(1 + (int)below(3 * CS_PAGE_SIZE), NULL, 0);
    }
    cs_ring_manager();
}

TEST(a_lying_writer_harms_only_itself)
{
    host_start();
    int fd = channel_end("test", SOON_MS), here = channel_end("here", SOON_MS), there = channel_end("here", SOON_MS), n;
    int cids[64], offs[64], lens[64], bytes[64];
    struct cs_args args = {cids, offs, lens, bytes, NULL};
    pid_t liar = other(lie);
    while ((n = cs_read(fd, 1 << 30, 64, &args, 0)) > 0) { /* what arrives is right */
        for (int i = 0; i < n; i++)
            CHECK(offs[i] >= 0 && lens[i] >= 0 && (int64_t)offs[i] + lens[i] <= bytes[i]);
        CHECK_EQ(cs_free(n, cids), 0);
        CHECK_EQ(write_pattern(here, 0, 100, 1, 0), 0);
        CHECK_EQ(read_pattern(there, BIG, 1, 1, 0, 0), 100);
    }
    CHECK_EQ(n, 0);
    ended_well(liar);
    CHECK(counted("drop_bad_descriptor") > 100);
    host_end();
}

static void break_the_ring(void)
{
    int fd = channel_end("test", SOON_MS);
    atomic_store(&cs_find(fd)->rx.shared->consumed, 123456789);
    cs_ring_manager();
}

TEST(a_process_that_breaks_its_ring_loses_its_channel)
{
    host_start();
    int fd = channel_end("test", SOON_MS);
    pid_t pid = neighbour(break_the_ring);
    CHECK_EQ(read_pattern(fd, BIG, 1, 0, 0, 0), 0);
    end_of(pid);
    host_end();
}

static void read_and_free(void)
{
    int fd = channel_end("test", SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    while (cs_read(fd, BIG, 1, &args, 0) == 1)
        CHECK_EQ(cs_free(1, &cid), 0);
}

static void pass_on(void)
{
    int in = channel_end("first", SOON_MS), out = channel_end("test", SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    while (cs_read(in, BIG, 1, &args, 0) == 1)
        CHECK_EQ(cs_write(out, 1, &cid, NULL, NULL, 0), 0);
}

static uint64_t requests_of(int fd, int exchanges)
{
    uint64_t before = counted("manager_requests");
    for (int i = 0; i < exchanges; i++) {
        int cid = cs_alloc(BIG, NULL, 0);
        CHECK(cid > 0);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, i % 4 ? CS_MORE : 0), 0);
    }
    return counted("manager_requests") - before;
}

TEST(containers_come_back_to_their_writer_without_the_managers_socket)
{
    host_start();
    int fd = channel_end("test", SOON_MS);
    pid_t reader = other(read_and_free);
    requests_of(fd, 500);
    CHECK(requests_of(fd, EXCHANGES) < EXCHANGES / 8);
    CHECK_EQ(cs_close(fd), 0);
    ended_well(reader);
    host_end();
}

TEST(containers_come_back_through_a_relay_too)
{
    host_start();
    int fd = channel_end("first", SOON_MS);
    pid_t reader = other(read_and_free), relay = other(pass_on);
    requests_of(fd, 500);
    CHECK(requests_of(fd, EXCHANGES) < EXCHANGES / 8);
    CHECK_EQ(cs_close(fd), 0);
    ended_well(relay);
    ended_well(reader);
    host_end();
}

static void read_free_and_answer(void)
{
    int fd = channel_end("test", SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_read(fd, BIG, 1, &args, 0), 1);
    CHECK_EQ(cs_free(1, &cid), 0);
    CHECK_EQ(write_pattern(fd, 0, 1, 0, 0), 0);
}

TEST(a_reader_that_allocates_nothing_gives_back_at_once_what_it_frees)
{
    host_start();
    int fd = channel_end("test", SOON_MS), cid = cs_alloc(BIG, NULL, 0), page = cid & 0xfffff;
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
    pid_t reader = other(read_free_and_answer);
    CHECK_EQ(read_pattern(fd, 1, 1, 0, 0, 0), 1); /* the answer is behind what was freed */
    uint64_t before = counted("manager_requests");
    CHECK_EQ(cs_alloc(BIG, NULL, 0) & 0xfffff, page);
    CHECK_EQ(counted("manager_requests"), before);
    ended_well(reader);
    host_end();
}

TEST(a_size_that_was_freed_is_had_again_at_once)
{
    static const int sizes[] = {CS_PAGE_SIZE, 3 * CS_PAGE_SIZE, BIG};
    host_start();
    for (int i = 0; i < 3; i++) {
        int cid = cs_alloc(sizes[i], NULL, 0);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    uint64_t before = counted("manager_requests");
    for (int i = 0; i < 3000; i++) {
        int cid = cs_alloc(sizes[i % 3], NULL, 0);
        CHECK(cid > 0);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(counted("manager_requests"), before);
    host_end();
}

TEST(what_is_kept_for_reuse_is_a_small_part_of_the_pool_and_yields_when_needed)
{
    static int cids[4096];
    int n = 0;
    host_start();
    uint64_t pages = counted("containers_free");
    while (n < 4096 && (cids[n] = cs_alloc(3 * CS_PAGE_SIZE, NULL, 0)) > 0)
        n++;
    CHECK_EQ(cs_free(n, cids), 0); /* without any ring */
    CHECK(counted("containers_free") >= pages - pages / 8);
    CHECK(cs_alloc((int)(pages / 2) * CS_PAGE_SIZE, NULL, 0) > 0);
    host_end();
}

TEST(freeing_is_all_or_nothing)
{
    host_start();
    int cids[3] = {cs_alloc(BIG, NULL, 0), cs_alloc(BIG, NULL, 0), cs_alloc(BIG, NULL, 0)};
    CHECK_EQ(cs_free(3, (int[]){cids[0], cids[1], cids[0]}), -EINVAL);
    CHECK_EQ(cs_free(3, (int[]){cids[0], cids[1], cids[2] + (1 << 20)}), -EPERM);
    CHECK_EQ(cs_map(3, cids, NULL, 0), 0);
    CHECK_EQ(cs_free(3, cids), 0);
    CHECK_EQ(cs_free(1, cids), -EPERM);
    host_end();
}
