/* Counters in shared memory that describe themselves: a reader needs no header file and costs the
 * writer nothing. One writer per segment, any number of readers. */
#ifndef CS_COUNTERS_H
#define CS_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#define CS_COUNTERS_MAGIC 0x31435354u /* "TSC1" */
#define CS_COUNTERS_BYTES 65536
#define CS_COUNTER_NAME 40

typedef _Atomic uint64_t cs_counter;

struct cs_counter_entry {
    char name[CS_COUNTER_NAME]; /* empty: released */
    cs_counter value;
};

struct cs_counters {
    uint32_t magic;
    _Atomic uint32_t count; /* entries valid; published with release after the entry is named */
    _Atomic uint64_t renames; /* grows before and after an entry gets another name: odd or changed, read again */
    struct cs_counter_entry entries[];
};

/* Map the segment behind fd and stamp it. NULL with errno set on failure. */
struct cs_counters *cs_counters_open(int fd);
void cs_counters_close(struct cs_counters *c);

/* The counter of that name, made on first use. With c NULL or full: a private dummy, so callers need no check. */
cs_counter *cs_counter_get(struct cs_counters *c, const char *name);
/* Nobody counts there any more: its place is for the next new name. */
void cs_counter_release(struct cs_counters *c, cs_counter *counter);

/* One writer: a plain add, stored so that a reader never sees half a value. */
static inline void cs_count(cs_counter *c, uint64_t n)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void cs_count_set(cs_counter *c, uint64_t n)
{
    atomic_store_explicit(c, n, memory_order_relaxed);
}

static inline uint64_t cs_count_value(cs_counter *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

#endif
