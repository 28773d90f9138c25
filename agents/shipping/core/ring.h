/* A single-producer single-consumer ring of container descriptors in memory that two processes share.
 *
 * Ownership per field: `produced`, `crowded`, `ended` and the slots ahead of it belong to the producer; `consumed`
 * and `waiting` to the consumer. Who rings clears what asked for it: the producer `waiting`, the consumer `crowded`.
 * Indices run freely and wrap at 2^32; a slot is index & (capacity - 1).
 * The capacity is never read from shared memory: each side keeps its own, agreed when the ring was made.
 * The peer is untrusted: a count of waiting descriptors beyond the capacity is a broken ring. */
#ifndef CS_RING_H
#define CS_RING_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cs_desc_flags {
    CS_DESC_MORE = 1, /* the message goes on in the next descriptor */
    CS_DESC_FREE = 2, /* process to manager: take the container back */
    CS_DESC_RECYCLE = 4, /* with CS_DESC_FREE, on a channel: its other end may have the container again */
    CS_DESC_ASK = 8,     /* process to manager, on a file: read containers of len bytes; or say when all is written */
    CS_DESC_STATUS = 16, /* manager to process, on a file: no container; off is 0 (end, all written) or an errno value */
};

/* Of a channel, in its rx ring. */
enum cs_ended {
    CS_PEER_GONE = 1, /* nobody reads what is written */
    CS_NO_MORE = 2,   /* nothing will follow what is in the ring */
    CS_ENDED_ERROR = 8, /* above this bit: why nobody does, an errno value; 0: EPIPE */
};

struct cs_desc {
    uint32_t cid;
    uint32_t off;
    uint32_t len;
    uint32_t flags;
};

struct cs_ring_shared {
    _Alignas(64) _Atomic uint32_t produced;
    _Atomic uint32_t crowded; /* the producer holds back until the consumer has caught up and rings */
    _Atomic uint32_t ended;   /* enum cs_ended */
    _Alignas(64) _Atomic uint32_t consumed;
    _Atomic uint32_t waiting; /* the consumer sleeps, or is about to: ring its doorbell */
    _Alignas(64) struct cs_desc slots[];
};

struct cs_ring {
    struct cs_ring_shared *shared;
    uint32_t capacity; /* a power of two */
    uint32_t next;     /* this side's own index, ahead of the published one between reserve and submit */
};

static inline size_t cs_ring_bytes(uint32_t capacity)
{
    return sizeof(struct cs_ring_shared) + (size_t)capacity * sizeof(struct cs_desc);
}

static inline void cs_ring_init(struct cs_ring *r, void *memory, uint32_t capacity)
{
    r->shared = memory;
    r->capacity = capacity;
    r->next = 0;
}

/* Producer: free slots behind what was reserved, or -EPROTO if the peer's index is impossible. */
static inline int64_t cs_ring_space(const struct cs_ring *r)
{
    /* acquire: pairs with the release in cs_ring_release; the slots up to `consumed` are ours again */
    uint32_t used = r->next - atomic_load_explicit(&r->shared->consumed, memory_order_acquire);
    return used > r->capacity ? -EPROTO : (int64_t)(r->capacity - used);
}

static inline struct cs_desc *cs_ring_reserve(struct cs_ring *r)
{
    return &r->shared->slots[r->next++ & (r->capacity - 1)];
}

static inline void cs_ring_submit(struct cs_ring *r)
{
    /* release: pairs with the acquire in cs_ring_ready; the slots are written before they are seen */
    atomic_store_explicit(&r->shared->produced, r->next, memory_order_release);
}

/* Consumer: descriptors ready to be peeked, or -EPROTO if the peer's index is impossible. */
static inline int64_t cs_ring_ready(const struct cs_ring *r)
{
    /* acquire: pairs with the release in cs_ring_submit */
    uint32_t ready = atomic_load_explicit(&r->shared->produced, memory_order_acquire) - r->next;
    return ready > r->capacity ? -EPROTO : (int64_t)ready;
}

/* Copied out, so that a peer that scribbles later cannot change what was checked. */
static inline struct cs_desc cs_ring_peek(const struct cs_ring *r, uint32_t ahead)
{
    const volatile struct cs_desc *slot = &r->shared->slots[(r->next + ahead) & (r->capacity - 1)];
    return (struct cs_desc){slot->cid, slot->off, slot->len, slot->flags};
}

static inline void cs_ring_release(struct cs_ring *r, uint32_t count)
{
    r->next += count;
    /* release: pairs with the acquire in cs_ring_space; our reads are done before the slots are reused */
    atomic_store_explicit(&r->shared->consumed, r->next, memory_order_release);
}

/* Sleep and doorbell: the consumer says that it waits, then looks again; the producer submits, then
 * looks whether anybody waits. The two full fences order each side's store before its load, so at least
 * one of them sees the other (Dekker). */
static inline void cs_ring_wait(struct cs_ring *r)
{
    atomic_store_explicit(&r->shared->waiting, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static inline void cs_ring_awake(struct cs_ring *r)
{
    atomic_store_explicit(&r->shared->waiting, 0, memory_order_relaxed);
}

static inline bool cs_ring_needs_doorbell(struct cs_ring *r)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&r->shared->waiting, memory_order_relaxed) != 0 &&
           atomic_exchange_explicit(&r->shared->waiting, 0, memory_order_relaxed) != 0;
}

/* The same for a full ring: the producer says that it has no room, then looks again; the consumer releases, then
 * looks whether anybody has no room. It rings when half of the ring is free, so that one doorbell is worth many slots. */
static inline void cs_ring_crowd(struct cs_ring *r)
{
    atomic_store_explicit(&r->shared->crowded, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static inline void cs_ring_uncrowd(struct cs_ring *r)
{
    atomic_store_explicit(&r->shared->crowded, 0, memory_order_relaxed);
}

static inline bool cs_ring_owes_room(struct cs_ring *r)
{
    if (atomic_load_explicit(&r->shared->produced, memory_order_relaxed) - r->next > r->capacity / 2)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&r->shared->crowded, memory_order_relaxed) != 0 &&
           atomic_exchange_explicit(&r->shared->crowded, 0, memory_order_relaxed) != 0;
}

/* release: pairs with the acquire in cs_ring_ended; who sees the end sees all that was submitted before it */
static inline void cs_ring_end(struct cs_ring *r, uint32_t how)
{
    atomic_store_explicit(&r->shared->ended, how, memory_order_release);
}

static inline uint32_t cs_ring_ended(const struct cs_ring *r)
{
    return atomic_load_explicit(&r->shared->ended, memory_order_acquire);
}

/* Nobody reads what is written: -errno. */
static inline int cs_ring_end_error(const struct cs_ring *r)
{
    uint32_t error = cs_ring_ended(r) >> CS_ENDED_ERROR;
    return error ? -(int)error : -EPIPE;
}

#endif
