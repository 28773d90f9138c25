#include "counters.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

static cs_counter dummy;

struct cs_counters *cs_counters_open(int fd)
{
    struct cs_counters *c = mmap(NULL, CS_COUNTERS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (c == MAP_FAILED)
        return NULL;
    c->magic = CS_COUNTERS_MAGIC;
    return c;
}

void cs_counters_close(struct cs_counters *c)
{
    munmap(c, CS_COUNTERS_BYTES);
}

static void rename_entry(struct cs_counters *c, struct cs_counter_entry *e, const char *name)
{
    atomic_fetch_add(&c->renames, 1);
    strncpy(e->name, name, CS_COUNTER_NAME - 1);
    cs_count_set(&e->value, 0);
    atomic_fetch_add(&c->renames, 1);
}

cs_counter *cs_counter_get(struct cs_counters *c, const char *name)
{
    if (!c)
        return &dummy;
    uint32_t n = atomic_load_explicit(&c->count, memory_order_relaxed);
    struct cs_counter_entry *released = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (strncmp(c->entries[i].name, name, CS_COUNTER_NAME) == 0)
            return &c->entries[i].value;
        if (!c->entries[i].name[0])
            released = &c->entries[i];
    }
    if (released) {
        rename_entry(c, released, name);
        return &released->value;
    }
    if (sizeof *c + (n + 1) * sizeof c->entries[0] > CS_COUNTERS_BYTES)
        return &dummy;
    strncpy(c->entries[n].name, name, CS_COUNTER_NAME - 1);
    atomic_store_explicit(&c->count, n + 1, memory_order_release);
    return &c->entries[n].value;
}

void cs_counter_release(struct cs_counters *c, cs_counter *counter)
{
    if (counter != &dummy)
        rename_entry(c, (struct cs_counter_entry *)((char *)counter - offsetof(struct cs_counter_entry, value)), "");
}
