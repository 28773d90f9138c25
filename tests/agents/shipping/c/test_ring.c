#include "check.h"
#include "core/ring.h"

enum { CAPACITY = 16 };

static _Alignas(64) uint8_t memory[4096];

static void pair(struct cs_ring *producer, struct cs_ring *consumer, uint32_t start)
{
    memset(memory, 0, sizeof memory);
    CHECK(cs_ring_bytes(CAPACITY) <= sizeof memory);
    cs_ring_init(producer, memory, CAPACITY);
    cs_ring_init(consumer, memory, CAPACITY);
    producer->next = consumer->next = start;
    producer->shared->produced = producer->shared->consumed = start;
}

static void put(struct cs_ring *r, uint32_t cid)
{
    *cs_ring_reserve(r) = (struct cs_desc){.cid = cid, .off = cid + 1, .len = cid + 2, .flags = CS_DESC_MORE};
}

TEST(descriptors_come_out_in_order_across_the_wrap_of_the_index)
{
    struct cs_ring p, c;
    pair(&p, &c, UINT32_MAX - 20);
    for (uint32_t n = 0; n < 60; n += 3) {
        for (uint32_t k = 0; k < 3; k++)
            put(&p, n + k);
        cs_ring_submit(&p);
        CHECK_EQ(cs_ring_ready(&c), 3);
        CHECK_EQ(cs_ring_space(&p), CAPACITY - 3);
        for (uint32_t k = 0; k < 3; k++) {
            struct cs_desc d = cs_ring_peek(&c, k);
            CHECK_EQ(d.cid, n + k);
            CHECK_EQ(d.off, n + k + 1);
            CHECK_EQ(d.len, n + k + 2);
            CHECK_EQ(d.flags, CS_DESC_MORE);
        }
        cs_ring_release(&c, 3);
    }
    CHECK(p.next < 60); /* it did wrap */
}

TEST(a_new_ring_is_empty_and_a_filled_one_full)
{
    struct cs_ring p, c;
    pair(&p, &c, 0);
    CHECK_EQ(cs_ring_ready(&c), 0);
    CHECK_EQ(cs_ring_space(&p), CAPACITY);
    for (uint32_t i = 0; i < CAPACITY; i++)
        put(&p, i);
    CHECK_EQ(cs_ring_space(&p), 0);
    CHECK_EQ(cs_ring_ready(&c), 0); /* reserved is not submitted */
    cs_ring_submit(&p);
    CHECK_EQ(cs_ring_ready(&c), CAPACITY);
    cs_ring_release(&c, 1);
    CHECK_EQ(cs_ring_space(&p), 1);
}

TEST(a_ring_can_be_full_across_the_wrap)
{
    struct cs_ring p, c;
    pair(&p, &c, UINT32_MAX - CAPACITY / 2);
    for (uint32_t i = 0; i < CAPACITY; i++)
        put(&p, i);
    cs_ring_submit(&p);
    CHECK_EQ(cs_ring_space(&p), 0);
    CHECK_EQ(cs_ring_ready(&c), CAPACITY);
}

TEST(an_impossible_consumed_index_is_refused)
{
    const uint32_t wrong[] = {1, 2, CAPACITY, 1u << 31, UINT32_MAX - CAPACITY};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cs_ring p, c;
        pair(&p, &c, 7);
        p.shared->consumed = 7 + wrong[i]; /* says that it took what was never there */
        CHECK_EQ(cs_ring_space(&p), -EPROTO);
        p.shared->consumed = 7 - CAPACITY - wrong[i]; /* or that more waits than the ring holds */
        CHECK_EQ(cs_ring_space(&p), -EPROTO);
    }
}

TEST(an_impossible_produced_index_is_refused)
{
    const uint32_t wrong[] = {CAPACITY + 1, CAPACITY * 2, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cs_ring p, c;
        pair(&p, &c, 7);
        c.shared->produced = 7 + wrong[i];
        CHECK_EQ(cs_ring_ready(&c), -EPROTO);
    }
}

TEST(the_doorbell_is_due_once_for_each_time_the_consumer_waits)
{
    struct cs_ring p, c;
    pair(&p, &c, 0);
    CHECK(!cs_ring_needs_doorbell(&p));
    cs_ring_wait(&c);
    CHECK(cs_ring_needs_doorbell(&p));
    CHECK(!cs_ring_needs_doorbell(&p));
    cs_ring_wait(&c);
    cs_ring_awake(&c);
    CHECK(!cs_ring_needs_doorbell(&p));
}
