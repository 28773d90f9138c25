/* A ring of bytes in memory that two processes share: one writes, one reads. Indices run freely. A side that finds
 * nothing to do says so and sleeps; who moves an index wakes a sleeper. */
#ifndef RING_H
#define RING_H

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct ring {
    _Alignas(64) _Atomic uint32_t head; /* the writer's */
    _Atomic uint32_t reader_sleeps;     /* set by the reader, cleared by either */
    _Alignas(64) _Atomic uint32_t tail; /* the reader's */
    _Atomic uint32_t writer_sleeps;     /* set by the writer, cleared by either */
    _Alignas(64) uint32_t capacity;     /* a power of two */
    _Alignas(64) uint8_t bytes[];
};

static inline uint32_t ring_used(struct ring *r)
{
    return atomic_load_explicit(&r->head, memory_order_acquire) - atomic_load_explicit(&r->tail, memory_order_acquire);
}

/* Sleep until *index, last seen to be `seen`, moves. The fence pairs with that in ring_move: either the mover sees that
 * we sleep, or we see that it has moved. What we sleep on is the flag itself, so that a mover who clears it just before
 * we do sleep keeps us awake. */
static inline void ring_sleep(_Atomic uint32_t *index, _Atomic uint32_t *sleeps, uint32_t seen)
{
    atomic_store_explicit(sleeps, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(index, memory_order_relaxed) == seen)
        syscall(SYS_futex, sleeps, FUTEX_WAIT, 1, NULL, NULL, 0);
    atomic_store_explicit(sleeps, 0, memory_order_relaxed);
}

static inline void ring_move(_Atomic uint32_t *index, _Atomic uint32_t *sleeps, uint32_t by)
{
    atomic_store_explicit(index, atomic_load_explicit(index, memory_order_relaxed) + by, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(sleeps, memory_order_relaxed) && atomic_exchange(sleeps, 0))
        syscall(SYS_futex, sleeps, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* Bytes that can be read, at least one. */
static inline uint32_t ring_wait_used(struct ring *r)
{
    uint32_t head;
    while ((head = atomic_load_explicit(&r->head, memory_order_acquire)) == atomic_load_explicit(&r->tail, memory_order_relaxed))
        ring_sleep(&r->head, &r->reader_sleeps, head);
    return ring_used(r);
}

/* Bytes that can be written, at least one. */
static inline uint32_t ring_wait_space(struct ring *r)
{
    uint32_t tail;
    while (atomic_load_explicit(&r->head, memory_order_relaxed) -
               (tail = atomic_load_explicit(&r->tail, memory_order_acquire)) == r->capacity)
        ring_sleep(&r->tail, &r->writer_sleeps, tail);
    return r->capacity - ring_used(r);
}

static inline void ring_submit(struct ring *r, uint32_t bytes)
{
    ring_move(&r->head, &r->reader_sleeps, bytes);
}

static inline void ring_release(struct ring *r, uint32_t bytes)
{
    ring_move(&r->tail, &r->writer_sleeps, bytes);
}

static inline uint8_t *ring_at(struct ring *r, uint32_t index)
{
    return r->bytes + (index & (r->capacity - 1));
}

#endif
