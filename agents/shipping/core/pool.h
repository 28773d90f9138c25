/* The pool of a host: pages of one size in one memory file, and the container table beside it.
 *
 * Only the manager writes the table; processes map it read-only, to refuse a stale identifier early.
 * What counts is the manager's own check. A container is named by its first page and the low bits of
 * its generation, which changes with every change of owner. */
#ifndef CS_POOL_H
#define CS_POOL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"
#include "cs.h"
#include "protection.h"

#define CS_LAYOUT_VERSION 3
#define CS_PAGE_BITS 20 /* at most 2^20 pages, 4 GiB of small ones */
#define CS_LARGE_PAGE (2u << 20)
#define CS_GENERATION_MASK 0x7ffu
#define CS_OWNERS 33 /* the manager, and each of its processes */
#define CS_RESERVE_SHARE 16 /* the part of the pool that is for the network alone */

/* Where a container is. Counted per state and exported; the sum is always the pool. CS_WITHHELD: given back, but still
 * within reach of the process that had it. */
enum cs_state { CS_FREE, CS_RECEIVING, CS_OWNED, CS_SENDING, CS_TAIL, CS_WITHHELD, CS_STATES };

struct cs_container {
    uint32_t generation;
    uint16_t owner; /* process slot + 1; 0 is the manager. Of what is WITHHELD: who holds it, while he is attached */
    uint16_t state;
    uint32_t pages; /* of the container whose first page this is */
    uint32_t shared; /* frames beyond the first that this page is in, while it is SENDING */
};

struct cs_pool_shared {
    uint32_t version;
    uint32_t pages;
    uint64_t page_bytes;
    _Atomic uint32_t scarce; /* the network's reserve is in use: keep nothing for later */
    uint32_t unused;
    struct cs_container table[];
};

struct cs_pool {
    int data_fd;        /* the pages */
    int table_fd;       /* the table, read-only reopening for processes */
    uint8_t *data;      /* the manager's mapping of the pages */
    struct cs_pool_shared *shared;
    uint32_t *free_list; /* single free pages, last in first out: the warmest page goes out next */
    uint32_t free_count;
    uint32_t *place;     /* of each free page in the list */
    uint32_t hint;       /* where the search for adjacent pages begins: what was given back last */
    uint32_t pages, shift; /* a page is 1 << shift bytes */
    bool huge;             /* each is one of the processor's too */
    uint32_t held[CS_OWNERS]; /* pages of each */
    cs_counter *states[CS_STATES];
    bool zero_all;          /* every page that leaves the list of the free is zeroed */
    struct cs_guard *guard; /* NULL in the cooperative tier */
};

static inline uint32_t cs_cid(uint32_t page, uint32_t generation)
{
    return (generation & CS_GENERATION_MASK) << CS_PAGE_BITS | page;
}

static inline uint32_t cs_cid_page(uint32_t cid)
{
    return cid & ((1u << CS_PAGE_BITS) - 1);
}

static inline size_t cs_page_bytes(const struct cs_pool *p)
{
    return (size_t)1 << p->shift;
}

static inline uint8_t *cs_page_data(const struct cs_pool *p, uint32_t page)
{
    return p->data + ((size_t)page << p->shift);
}

/* A sealed memory file: nobody can shrink it under a reader (SIGBUS). With more seals than that; of the processor's large
 * pages, or not. */
int cs_memory_file(const char *name, size_t bytes, int seals, bool huge);
/* Addresses for so many bytes, of that alignment, and nothing there. NULL: there are none. */
uint8_t *cs_reserve(size_t bytes, size_t alignment);
/* page_bytes: CS_PAGE_SIZE, or CS_LARGE_PAGE for containers that are large. */
int cs_pool_create(struct cs_pool *p, uint32_t pages, uint32_t page_bytes, struct cs_counters *counters);
void cs_pool_destroy(struct cs_pool *p);
static inline size_t cs_table_bytes(uint32_t pages)
{
    return sizeof(struct cs_pool_shared) + (size_t)pages * sizeof(struct cs_container);
}

/* Quarters of the pool up to which a process may come to own pages. One that has allocated all it can still receives. */
enum cs_share { CS_SHARE_ALLOCATED = 2, CS_SHARE_ARRIVED = 3 };

/* May the owner have so many pages more in that way? All that is asked for pages that go from one process to another:
 * whether these move must not depend on what others hold, or processes that do nothing wrong could wait for each other. */
static inline bool cs_pool_grants(const struct cs_pool *p, uint16_t owner, uint32_t pages, enum cs_share share)
{
    return (uint64_t)p->held[owner] + pages <= (uint64_t)p->pages * share / 4;
}

/* Of free pages one has to be left for each three that a process owns: who owns little gets what who owns much no longer
 * does, and however many are greedy, the last page goes to none of them. May `taken` be taken of the free ones so that
 * the owner gets `more`? */
static inline bool cs_pool_affords(const struct cs_pool *p, uint16_t owner, uint32_t more, uint32_t taken)
{
    return p->free_count >= taken && (uint64_t)p->held[owner] + more <= 3 * (uint64_t)(p->free_count - taken);
}

/* The most that may be taken of the free ones for the owner to get as many, and `also` more that were taken before. */
static inline uint32_t cs_pool_affordable(const struct cs_pool *p, uint16_t owner, uint32_t also)
{
    int64_t most = (3 * (int64_t)p->free_count - p->held[owner] - also) / 4; /* cs_pool_affords, solved for it */
    return most > 0 ? (uint32_t)most : 0;
}

/* The last of the free pages are for what arrives from the network: processes that allocate and hand on own little
 * each, and can take all others together. */
static inline bool cs_pool_leaves_reserve(const struct cs_pool *p, uint32_t taken)
{
    return p->free_count >= (uint64_t)taken + p->pages / CS_RESERVE_SHARE;
}

/* Take one page for the given state; its number, or -ENOBUFS. */
int cs_pool_take(struct cs_pool *p, enum cs_state state);
/* Take a container of count adjacent pages for an owner; its first page, or -ENOBUFS. */
int cs_pool_take_run(struct cs_pool *p, uint32_t count, uint16_t owner);
/* One more frame has this page, which is SENDING: it is free when it was given back for each. */
void cs_pool_share(struct cs_pool *p, uint32_t page);
/* Give a container (all its pages) back. */
void cs_pool_give(struct cs_pool *p, uint32_t page);
/* A new owner (or none) and state for a container; its identifier from now on. */
uint32_t cs_pool_move(struct cs_pool *p, uint32_t page, uint16_t owner, enum cs_state state);
/* Break an owned container into single pages, each SENDING: the device gives pages back one by one. */
void cs_pool_split(struct cs_pool *p, uint32_t page);
/* Cut an owned container in two, same owner: its first count pages keep the identifier; the rest's, or -EINVAL. */
int64_t cs_pool_cut(struct cs_pool *p, uint32_t page, uint32_t count);
/* The page a descriptor of that owner names, if identifier, owner, offset and length are right, else -EPERM. */
int64_t cs_pool_check(const struct cs_pool *p, uint32_t cid, uint32_t off, uint32_t len, uint16_t owner);
/* Like cs_pool_check, and its owner gives it away: whoever had it mapped no longer has. -EPERM also if that failed: then
 * it is withheld. */
static inline int64_t cs_pool_claim(struct cs_pool *p, uint32_t cid, uint32_t off, uint32_t len, uint16_t owner)
{
    int64_t page = cs_pool_check(p, cid, off, len, owner);
    if (page < 0 || !p->guard || cs_guard_revoke(p, (uint32_t)page, p->shared->table[page].pages))
        return page;
    cs_pool_give(p, (uint32_t)page);
    return -EPERM;
}
/* Look again at what is withheld. */
void cs_pool_retry(struct cs_pool *p);
/* Everything the owner still holds goes back: after a crash, within one pass. Returns the containers. */
uint32_t cs_pool_reclaim(struct cs_pool *p, uint16_t owner);

#endif
