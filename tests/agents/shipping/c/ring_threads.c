/* Two threads, one ring, real sleeping on both sides: every descriptor arrives once, in order, no wake-up is lost. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "core/ring.h"

enum { CAPACITY = 64, COUNT = 200000, LOST_MS = 60000 };

static _Alignas(64) uint8_t memory[sizeof(struct cs_ring_shared) + CAPACITY * sizeof(struct cs_desc)];
static int doorbell, room, rings, rooms;

static void sleep_on(int bell)
{
    struct pollfd fd = {.fd = bell, .events = POLLIN};
    uint64_t rung;
    CHECK_EQ(poll(&fd, 1, LOST_MS), 1);
    CHECK_EQ(read(bell, &rung, sizeof rung), sizeof rung);
}

static void ring(int bell)
{
    const uint64_t one = 1;
    CHECK_EQ(write(bell, &one, sizeof one), sizeof one);
}

static void *produce(void *unused)
{
    struct cs_ring r;
    cs_ring_init(&r, memory, CAPACITY);
    for (uint32_t n = 0; n < COUNT;) {
        int64_t space = cs_ring_space(&r);
        CHECK(space >= 0);
        if (space == 0) {
            cs_ring_crowd(&r);
            if (cs_ring_space(&r) == 0)
                sleep_on(room);
            cs_ring_uncrowd(&r);
            continue;
        }
        for (uint32_t batch = 1 + n % 7; space > 0 && batch > 0 && n < COUNT; space--, batch--, n++)
            *cs_ring_reserve(&r) = (struct cs_desc){n, n ^ 1, n ^ 2, n ^ 3};
        cs_ring_submit(&r);
        if (cs_ring_needs_doorbell(&r)) {
            ring(doorbell);
            rings++;
        }
    }
    return unused;
}

TEST(every_descriptor_arrives_once_and_no_wakeup_is_lost)
{
    struct cs_ring r;
    pthread_t producer;
    cs_ring_init(&r, memory, CAPACITY);
    doorbell = eventfd(0, EFD_NONBLOCK);
    room = eventfd(0, EFD_NONBLOCK);
    CHECK_EQ(pthread_create(&producer, NULL, produce, NULL), 0);
    for (uint32_t n = 0; n < COUNT;) {
        int64_t ready = cs_ring_ready(&r);
        CHECK(ready >= 0);
        if (ready == 0) {
            cs_ring_wait(&r);
            if (cs_ring_ready(&r) == 0)
                sleep_on(doorbell);
            cs_ring_awake(&r);
            continue;
        }
        for (int64_t i = 0; i < ready; i++, n++) {
            struct cs_desc d = cs_ring_peek(&r, (uint32_t)i);
            CHECK(d.cid == n && d.off == (n ^ 1) && d.len == (n ^ 2) && d.flags == (n ^ 3));
        }
        cs_ring_release(&r, (uint32_t)ready);
        if (cs_ring_owes_room(&r)) {
            ring(room);
            rooms++;
        }
    }
    CHECK_EQ(pthread_join(producer, NULL), 0);
    CHECK(rings > 0 && rooms > 0);
    close(doorbell);
    close(room);
}
