/* Memory: a million random calls, after which it, descriptors and the pool are what they were; and what all of a host
 * has in memory beside the pool. */
#define _GNU_SOURCE
#include "station.h"

enum { STEPS = 1000000, WARM = STEPS / 10, ROUND = 5000, MOST_KB = 512 };

/* The other end of its channel, in the same process: reads all, and answers. */
static void answer(int fd)
{
    int cids[64], n;
    struct cs_args args = {.cids = cids};
    while ((n = cs_read(fd, 4 * MIX_MOST, 64, &args, CS_DONTWAIT)) > 0)
        CHECK_EQ(cs_free(n, cids), 0);
    if (below(4))
        return;
    void *addr;
    int len = (int)sizeof(struct mix_head) + (int)below(3000), zero = 0, cid = cs_alloc(len, &addr, CS_MAPNOW);
    CHECK(cid > 0);
    mix_fill(addr, &(struct mix_head){MIX_MAGIC, 1, (uint32_t)len}, 0, (uint32_t)len);
    if (cs_write(fd, 1, &cid, &zero, &len, CS_DONTWAIT) < 0)
        CHECK_EQ(cs_free(1, &cid), 0);
}

/* So many calls between attaching and detaching, with channels and endpoints that open and close. */
static void mix_for_a_round(uint32_t number)
{
    struct mix_record record = {.other_end = MIX_CHANNELS};
    char name[24], channel[40];
    snprintf(name, sizeof name, "steady%u", number);
    struct mix m = {.record = &record, .name = name, .port = HOST_PORT, .restless = 200};
    uint32_t opened = 0, attached = 0;
    int fd = -1;
    mix_attach(&m);
    for (uint32_t step = 0; step < ROUND; step++) {
        mix_step(&m);
        if (opened != m.next) {
            if (attached == m.attached)
                CHECK_EQ(cs_close(fd), 0);
            attached = m.attached;
            snprintf(channel, sizeof channel, "%s.%u", name, (opened = m.next) - 1);
            CHECK((fd = cs_open_channel(channel, CS_MIN_QUEUE, 0)) >= 0);
        }
        if (step % 8 == 0)
            answer(fd);
        if (step % 32 == 0) {
            station_serve();
            station_say(HOST_PORT);
        }
    }
    cs_detach();
    mix_remove_targets(&record, HOST_PORT);
}

TEST(nothing_grows_over_a_million_calls)
{
    long ours = 0, managers = 0;
    int our_descriptors = 0, managers_descriptors;
    host_start();
    mix_prepare();
    cs_detach();
    WITHIN(SOON_MS, counted("processes_attached") == 0);
    managers_descriptors = descriptors_of(host.manager);
    uint64_t free = counted("containers_free");
    for (uint32_t step = 0; step < STEPS; step += ROUND) {
        mix_for_a_round(step / ROUND);
        WITHIN(SOON_MS, (station_serve(), counted("containers_free") == free &&
                                              counted("processes_attached") + counted("endpoints_open") == 0));
        if (step == WARM) {
            ours = private_kb_of(getpid());
            managers = private_kb_of(host.manager);
            our_descriptors = descriptors_of(getpid());
        }
    }
    CHECK_EQ(descriptors_of(getpid()), our_descriptors);
    WITHIN(SOON_MS, descriptors_of(host.manager) == managers_descriptors);
    printf("this process %ld kB, then %ld; the manager %ld kB, then %ld\n", ours, private_kb_of(getpid()), managers,
           private_kb_of(host.manager));
    CHECK(private_kb_of(getpid()) - ours < MOST_KB);
    CHECK(private_kb_of(host.manager) - managers < MOST_KB);
    host_end();
}

enum { MESSAGES = 500, BESIDE_THE_POOL = 20 /* a twentieth of it */ };

/* Both ends of a channel, datagrams, a file, all of the pool mapped. */
static void use_the_host(void)
{
    char name[24];
    snprintf(name, sizeof name, "used%d", (int)getpid());
    int from = channel_end(name, SOON_MS), to = channel_end(name, SOON_MS);
    CHECK(cs_open_udp(frame_us.ip, 0, frame_them.ip, THEIR_PORT, HOST_QUEUE, 0) >= 0);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        CHECK_EQ(write_pattern(to, 0, BIG, i, 0), 0);
        CHECK_EQ(read_pattern(from, BIG, 1, i, 0, 0), BIG);
    }
    for (uint32_t page = 0; page < cs_self.pages; page++)
        *(volatile uint8_t *)(cs_self.data + (size_t)page * CS_PAGE_SIZE);
    int source = file_reader("source", SOON_MS), cid;
    CHECK_EQ(cs_read(source, BIG, 1, &(struct cs_args){.cids = &cid}, 0), 1);
}

TEST(a_host_needs_its_pool_and_less_than_a_twentieth_of_it_more)
{
    static const char *const names[] = {"manager", "process"};
    pid_t pids[2] = {0, getpid()};
    long pool = HOST_POOL * (CS_PAGE_SIZE / 1024), all = 0;
    host_start();
    file_make("source", BIG);
    pids[0] = host.manager;
    use_the_host();
    for (int i = 0; i < 2; i++) {
        printf("%s: %ld kB of its own, %ld kB with its part of what it shares\n", names[i], private_kb_of(pids[i]), part_kb_of(pids[i]));
        all += part_kb_of(pids[i]);
    }
    printf("all: %ld kB, the pool %ld kB: %.2f %% more\n", all, pool, 100.0 * (double)(all - pool) / (double)pool);
    CHECK(all - pool < pool / BESIDE_THE_POOL);
    host_end();
}
