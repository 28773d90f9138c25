/* What the XDP back end makes of the descriptors that the kernel puts into its receive ring: here we are the kernel. */
#define _GNU_SOURCE
#include "net/xdp.c"

#include <sys/mman.h>

#include "pool_check.h"

enum { PAGES = 256, RING = 128, PARTS = CS_FRAME_PARTS };

static struct cs_pool pool;
static struct cs_counters *counters;
static struct xdp_desc ring[RING];
static uint32_t produced, consumed;
static struct xdp_state state = {
    .rx = {.mask = RING - 1, .size = RING, .producer = &produced, .consumer = &consumed, .ring = ring}};
static struct cs_netif netif = {.pool = &pool, .state = &state};

static void start(void)
{
    counters = new_counters();
    CHECK_EQ(cs_pool_create(&pool, PAGES, CS_PAGE_SIZE, counters), 0);
    for (int i = 0; i < DROPS; i++)
        state.drops[i] = cs_counter_get(counters, (const char *[]){"no_page", "ring_full", "bad_send", "fragments"}[i]);
}

static void arrive(uint32_t fragments)
{
    for (uint32_t i = 0; i < fragments; i++) {
        int page = cs_pool_take(&pool, CS_RECEIVING);
        CHECK(page >= 0);
        ring[produced++ & (RING - 1)] = (struct xdp_desc){
            .addr = (uint64_t)page * CS_PAGE_SIZE + 256, .len = fragments, .options = i + 1 < fragments ? XDP_PKT_CONTD : 0};
        state.filled++;
    }
}

/* Takes in frames, checks that they have these numbers of parts, and gives them back. */
static void receive(int max, int count, const uint32_t *parts)
{
    struct cs_frame frames[64];
    CHECK_EQ(xdp_receive(&netif, frames, max), count);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(frames[i].parts, parts[i]);
        for (uint32_t k = 0; k < frames[i].parts; k++) {
            CHECK_EQ(frames[i].part[k].len, parts[i]);
            CHECK_EQ(frames[i].part[k].off, 256);
            cs_pool_give(&pool, frames[i].part[k].page);
        }
    }
    check_pool(&pool);
}

static void end(void)
{
    CHECK_EQ(pool.free_count, PAGES);
    CHECK_EQ(state.filled, 0);
    CHECK_EQ(consumed, produced);
    cs_pool_destroy(&pool);
    cs_counters_close(counters);
}

TEST(frames_of_one_and_more_fragments_arrive_whole)
{
    start();
    for (int round = 0; round < 50; round++) {
        arrive(1);
        arrive(2);
        arrive(PARTS);
        arrive(1);
        receive(64, 4, (const uint32_t[]){1, 2, PARTS, 1});
    }
    end();
}

TEST(a_frame_with_too_many_fragments_is_dropped_by_name_and_its_pages_go_back)
{
    start();
    for (int round = 1; round <= 50; round++) {
        arrive(2);
        arrive(PARTS + 1);
        arrive(1);
        arrive(PARTS + 9);
        receive(64, 2, (const uint32_t[]){2, 1});
        CHECK_EQ(cs_count_value(state.drops[DROP_FRAGMENTS]), 2 * round);
    }
    end();
}

TEST(a_frame_that_does_not_fit_into_the_batch_is_left_for_the_next)
{
    start();
    arrive(PARTS + 1);
    arrive(1);
    arrive(PARTS + 1);
    arrive(2);
    receive(18, 1, (const uint32_t[]){1}); /* looks at 36 descriptors: they end inside the last frame */
    CHECK_EQ(cs_count_value(state.drops[DROP_FRAGMENTS]), 2);
    receive(1, 1, (const uint32_t[]){2});
    end();
}
