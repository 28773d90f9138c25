/* One request to the manager maps what is wanted and what will be wanted next, and nothing that is not ours. */
#define _GNU_SOURCE
#include "hostile.h"

enum { MESSAGES = 8, LEN = 2 * CS_PAGE_SIZE };

static void prepare(void)
{
    host.protection = (uint32_t)atoi(getenv("TIER"));
    host.zeroing = CS_ZERO_EDGES;
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
}

/* Requests of that many mappings: without a guard there is nothing to ask for. */
static uint64_t asked(uint64_t mappings)
{
    return host.protection == CS_COOPERATIVE ? 0 : mappings;
}

static void write_all(void)
{
    int fd = channel_end("way", SOON_MS);
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK_EQ(write_pattern(fd, 0, LEN, i, 0), 0);
    WITHIN(SOON_MS, counted("channel_messages") == MESSAGES); /* there is a reader, or they would be lost with us */
}

static int all_wait(void)
{
    prepare();
    host_start_manager();
    pid_t writer = other(write_all);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("way", SOON_MS);
    WITHIN(SOON_MS, counted("channel_messages") == MESSAGES);
    ended_well(writer);
    return fd;
}

static int next(int fd)
{
    int cid;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_read(fd, LEN, 1, &args, 0), 1);
    return cid;
}

TEST(what_waits_behind_it_is_mapped_by_the_same_request)
{
    int fd = all_wait();
    uint64_t before = counted("manager_requests");
    for (uint32_t i = 0; i < MESSAGES; i++) {
        void *addr;
        int cid = next(fd);
        CHECK_EQ(cs_map(1, &cid, &addr, 0), 0);
        for (uint32_t at = 0; at < LEN; at++)
            CHECK_EQ(((uint8_t *)addr)[at], pattern_byte(i, at));
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(counted("manager_requests") - before, asked(1));
    host_end();
}

TEST(so_it_is_with_a_read_that_maps)
{
    int fd = all_wait();
    uint64_t before = counted("manager_requests");
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK_EQ(read_pattern(fd, LEN, 1, i, 0, 0), LEN);
    CHECK_EQ(counted("manager_requests") - before, asked(1));
    host_end();
}

TEST(what_was_mapped_ahead_and_never_read_goes_back)
{
    int fd = all_wait(), cid = next(fd);
    void *addr;
    CHECK_EQ(cs_map(1, &cid, &addr, 0), 0);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(counted("containers_withheld"), 0);
    WITHIN(SOON_MS, counted("containers_owned") == 1);
    CHECK_EQ(counted("revocations_failed"), 0);
    CHECK_EQ(cs_free(1, &cid), 0);
    host_end();
}

/* Who writes gets its containers back, and writes with them again. */
TEST(what_came_back_is_mapped_with_the_first_of_it)
{
    prepare();
    host_start_manager();
    int words[2];
    char done;
    CHECK_EQ(pipe(words), 0);
    pid_t reader = child();
    if (reader == 0) {
        CHECK_EQ(cs_attach(host.socket), 0);
        int in = channel_end("way", SOON_MS);
        WITHIN(SOON_MS, counted("channel_messages") == MESSAGES); /* or some would be used twice */
        for (uint32_t i = 0; i < MESSAGES; i++)
            CHECK_EQ(read_pattern(in, LEN, 1, i, 0, 0), LEN);
        cs_flush();
        CHECK_EQ(write(words[1], "d", 1), 1);
        pause();
    }
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("way", SOON_MS);
    for (uint32_t i = 0; i < MESSAGES; i++)
        CHECK_EQ(write_pattern(fd, 0, LEN, i, 0), 0);
    CHECK_EQ(read(words[0], &done, 1), 1);
    WITHIN(SOON_MS, cs_ring_ready(&cs_find(fd)->back) == MESSAGES);
    while (cs_self.spares > 0) /* of the manager's, kept for later */
        CHECK(cs_alloc(LEN, NULL, 0) > 0);
    uint64_t before = counted("manager_requests");
    for (int i = 0; i < MESSAGES; i++) {
        void *addr;
        int cid = cs_alloc(LEN, &addr, CS_MAPNOW);
        CHECK(cid > 0);
        memset(addr, OURS, LEN);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
    }
    CHECK_EQ(counted("manager_requests") - before, asked(1));
    CHECK_EQ(kill(reader, SIGKILL), 0);
    CHECK_EQ(waitpid(reader, NULL, 0), reader);
    host_end();
}

/* To map is to zero what holds no data: that is not done for what nobody may ever look at. */
TEST(what_would_have_to_be_zeroed_is_not_mapped_ahead)
{
    int cids[MESSAGES];
    void *addr;
    prepare();
    host_start();
    for (int i = 0; i < MESSAGES; i++)
        CHECK((cids[i] = cs_alloc(LEN, NULL, 0)) > 0);
    CHECK_EQ(cs_map(1, cids, &addr, 0), 0);
    CHECK_EQ(counted("bytes_zeroed"), host.protection == CS_COOPERATIVE ? 0 : LEN);
    CHECK_EQ(cs_free(MESSAGES, cids), 0);
    host_end();
}

/* The victim has a page; it gives the attacker nothing that the attacker names it beside one of its own. */
TEST(what_is_not_ours_is_not_let_in_beside_what_is)
{
    struct cs_request q = {.call = CS_CALL_MAP};
    struct cs_reply reply = {0};
    int fds[CS_MAP_BATCH], shared[2];
    prepare();
    host_start_manager();
    CHECK_EQ(pipe(shared), 0);
    pid_t owner = child();
    if (owner == 0) {
        CHECK_EQ(cs_attach(host.socket), 0);
        int cid = cs_alloc(LEN, NULL, 0);
        CHECK_EQ(write(shared[1], &cid, sizeof cid), sizeof cid);
        pause();
    }
    CHECK_EQ(cs_attach(host.socket), 0);
    int theirs, ours = cs_alloc(LEN, NULL, 0), also = cs_alloc(LEN, NULL, 0);
    void *addr;
    CHECK_EQ(cs_map(1, &also, &addr, 0), 0); /* so that the manager would let it in again without zeroing */
    CHECK_EQ(read(shared[0], &theirs, sizeof theirs), sizeof theirs);
    q.map.cid = (uint32_t)ours;
    q.map.others[0] = (uint32_t)also;
    q.map.others[1] = (uint32_t)theirs;
    q.map.others[2] = (uint32_t)also;
    q.map.count = UINT32_MAX;
    int err = cs_ask_many(&q, NULL, 0, &reply, fds, CS_MAP_BATCH);
    CHECK_EQ(err, host.protection == CS_COOPERATIVE ? -ENOSYS : host.protection == CS_STRICT ? 0 : err);
    if (err == 0)
        CHECK_EQ(reply.others, 1);
    for (int i = 0; i < CS_MAP_BATCH; i++) {
        CHECK_EQ(fds[i] >= 0, host.protection == CS_STRICT && i < 2 * LEN / CS_PAGE_SIZE);
        if (fds[i] >= 0)
            close(fds[i]);
    }
    CHECK_EQ(kill(owner, SIGKILL), 0);
    CHECK_EQ(waitpid(owner, NULL, 0), owner);
    CHECK_EQ(cs_free(1, &ours), 0);
    CHECK_EQ(cs_free(1, &also), 0);
    host_end();
}
