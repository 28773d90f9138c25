/* core/ring.h between two processes, as C11 allows its memory to behave: descriptors arrive once, whole and in
 * order, across the wrap of the index; no wake-up is lost, neither for something to read nor for room; and who sees
 * the end has seen all that came before it. */
#include "c11.h"
#include "core/ring.h"

enum { ITEMS = 4, MOST = 2, PRODUCER = 0, CONSUMER = 1 };

/* Program counters, named for what is done next. */
enum { SPACE, PUT, LOOK, BELL, NO_ROOM, ROOM_AFTER_ALL, AWAIT_ROOM, HAS_ROOM, END, PRODUCER_DONE };
enum { READY, TAKE, OWES, ROOM_BELL, ENDED, LAST, WAIT, RECHECK, ENDED_AFTER_ALL, SLEEP, AWAKE, CONSUMER_DONE };

static struct program {
    _Alignas(64) uint8_t ring[sizeof(struct cs_ring_shared) + MOST * sizeof(struct cs_desc)];
    _Alignas(64) struct cs_ring producer, consumer;
    uint32_t at[2], batch[2];
    uint32_t produced, consumed;
    /* the eventfds: only their counts are relied on, not that they order memory */
    uint64_t doorbell, room_bell;
} program;

static const char *where(uint32_t thread);
static bool step(uint32_t thread);
static const char *wrong_end(void);

#include "explore.h"

static const char *where(uint32_t thread)
{
    static const char *const producer[] = {"producer: is there space?", "producer: put and submit",
                                           "producer: needs a doorbell?", "producer: ring the doorbell",
                                           "producer: say that it has no room", "producer: look for room again",
                                           "producer: sleep", "producer: has room", "producer: say that this was all"};
    static const char *const consumer[] = {"consumer: is anything ready?", "consumer: peek and release",
                                           "consumer: owes it room?", "consumer: ring for room", "consumer: was this all?",
                                           "consumer: look for the last time", "consumer: say that it waits",
                                           "consumer: look again", "consumer: was this all, after all?",
                                           "consumer: sleep", "consumer: awake"};
    return thread == PRODUCER ? producer[program.at[PRODUCER]] : consumer[program.at[CONSUMER]];
}

static uint32_t slot(const struct cs_ring *r, uint32_t ahead)
{
    return (r->next + ahead) & (r->capacity - 1);
}

static uint32_t produce_next(void)
{
    return program.produced < ITEMS ? SPACE : PRODUCER_DONE;
}

static bool produce(uint32_t *at, uint32_t *batch)
{
    struct cs_ring *r = &program.producer;
    uint32_t left = ITEMS - program.produced;
    switch (*at) {
    case SPACE: {
        int64_t space = cs_ring_space(r);
        if (space < 0)
            counterexample("the producer finds an impossible index");
        if (space == 0) {
            *at = NO_ROOM;
            return true;
        }
        *batch = 1 + choose(space < left ? (uint32_t)space : left);
        *at = PUT;
        return true;
    }
    case PUT:
        for (; *batch > 0; --*batch, program.produced++) {
            uint32_t n = program.produced;
            plain(slot(r, 0), true, "a descriptor is overwritten that may still be read");
            *cs_ring_reserve(r) = (struct cs_desc){n, n + 1, n + 2, n + 3};
        }
        cs_ring_submit(r);
        *at = program.produced < ITEMS ? LOOK : END;
        return true;
    case LOOK:
        *at = cs_ring_needs_doorbell(r) ? BELL : produce_next();
        return true;
    case BELL:
        program.doorbell = 1;
        *at = produce_next();
        return true;
    case NO_ROOM:
        cs_ring_crowd(r);
        *at = ROOM_AFTER_ALL;
        return true;
    case ROOM_AFTER_ALL:
        *at = cs_ring_space(r) ? HAS_ROOM : AWAIT_ROOM;
        return true;
    case AWAIT_ROOM:
        if (!program.room_bell)
            return false;
        program.room_bell = 0;
        *at = HAS_ROOM;
        return true;
    case HAS_ROOM:
        cs_ring_uncrowd(r);
        *at = SPACE;
        return true;
    case END:
        cs_ring_end(r, CS_NO_MORE);
        *at = LOOK;
        return true;
    default:
        return false;
    }
}

static bool consume(uint32_t *at, uint32_t *batch)
{
    struct cs_ring *r = &program.consumer;
    int64_t ready;
    switch (*at) {
    case READY:
    case LAST:
    case RECHECK:
        if ((ready = cs_ring_ready(r)) < 0)
            counterexample("the consumer finds an impossible index");
        if (*at == RECHECK) {
            *at = ready ? AWAKE : ENDED_AFTER_ALL;
            return true;
        }
        if (ready == 0 && *at == LAST && program.consumed < ITEMS)
            counterexample("a descriptor is missed: the end came before it");
        *batch = ready ? 1 + choose((uint32_t)ready) : 0;
        *at = ready ? TAKE : *at == LAST ? CONSUMER_DONE : ENDED;
        return true;
    case ENDED:
        *at = cs_ring_ended(r) ? LAST : WAIT;
        return true;
    case ENDED_AFTER_ALL:
        *at = cs_ring_ended(r) ? AWAKE : SLEEP;
        return true;
    case OWES:
        *at = cs_ring_owes_room(r) ? ROOM_BELL : READY;
        return true;
    case ROOM_BELL:
        program.room_bell = 1;
        *at = READY;
        return true;
    case TAKE:
        for (uint32_t i = 0; i < *batch; i++) {
            plain(slot(r, i), false, "a descriptor is read that may not be written yet");
            struct cs_desc d = cs_ring_peek(r, i);
            uint32_t n = program.consumed++;
            if (d.cid != n || d.off != n + 1 || d.len != n + 2 || d.flags != n + 3)
                counterexample("a descriptor is lost, doubled or torn");
        }
        cs_ring_release(r, *batch);
        *batch = 0;
        *at = OWES;
        return true;
    case WAIT:
        cs_ring_wait(r);
        *at = RECHECK;
        return true;
    case SLEEP:
        if (!program.doorbell)
            return false;
        program.doorbell = 0;
        *at = AWAKE;
        return true;
    case AWAKE:
        cs_ring_awake(r);
        *at = READY;
        return true;
    default:
        return false;
    }
}

static bool step(uint32_t thread)
{
    if (thread == PRODUCER)
        return produce(&program.at[PRODUCER], &program.batch[PRODUCER]);
    return thread == CONSUMER && consume(&program.at[CONSUMER], &program.batch[CONSUMER]);
}

static const char *wrong_end(void)
{
    return program.at[PRODUCER] != PRODUCER_DONE   ? "a wake-up is lost: the producer sleeps for ever"
           : program.at[CONSUMER] != CONSUMER_DONE ? "a wake-up is lost: the consumer sleeps for ever"
                                                   : NULL;
}

static void check_ring(uint32_t capacity, uint32_t start)
{
    memset(&program, 0, sizeof program);
    cs_ring_init(&program.producer, program.ring, capacity);
    cs_ring_init(&program.consumer, program.ring, capacity);
    program.producer.next = program.consumer.next = start;
    struct cs_ring_shared *shared = program.producer.shared;
    start_memory();
    add_word(&shared->produced, start, 3);
    add_word(&shared->consumed, start, 3);
    add_word(&shared->waiting, 0, 3);
    add_word(&shared->crowded, 0, 3);
    add_word(&shared->ended, 0, 3);
    explore();
}

int main(int argc, char **argv)
{
    options(argc, argv);
    for (uint32_t capacity = 1; capacity <= MOST; capacity *= 2)
        for (uint32_t before = 0; before < 4; before++) /* items until the index wraps */
            check_ring(capacity, 0u - before);
    return finish();
}
