/* Nothing grows: a million random calls, after which memory, descriptors and the pool are what they were. */
#define _GNU_SOURCE
#include "station.h"
#include "usage.h"

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
}

TEST(nothing_grows_over_a_million_calls)
{
    long ours = 0, managers = 0;
    int our_descriptors = 0, managers_descriptors = 0;
    host_start();
    mix_make_screens();
    cs_detach();
    uint64_t free = counted("containers_free");
    for (uint32_t step = 0; step < STEPS; step += ROUND) {
        mix_for_a_round(step / ROUND);
        WITHIN(SOON_MS, (station_serve(), counted("containers_free") == free &&
                                              counted("processes_attached") + counted("endpoints_open") == 0));
        if (step == WARM) {
            ours = private_kb_of(getpid());
            managers = private_kb_of(host.manager);
            our_descriptors = descriptors_of(getpid());
            managers_descriptors = descriptors_of(host.manager);
        }
    }
    CHECK_EQ(descriptors_of(getpid()), our_descriptors);
    CHECK_EQ(descriptors_of(host.manager), managers_descriptors);
    printf("this process %ld kB, then %ld; the manager %ld kB, then %ld\n", ours, private_kb_of(getpid()), managers,
           private_kb_of(host.manager));
    CHECK(private_kb_of(getpid()) - ours < MOST_KB);
    CHECK(private_kb_of(host.manager) - managers < MOST_KB);
    host_end();
}
