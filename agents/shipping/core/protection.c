#define _GNU_SOURCE
#include "protection.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "guard.h"
#include "pool.h"

static const struct cs_guard_tier *const tiers[CS_PROTECTIONS] = {
    [CS_WRITE_REVOKED] = &cs_guard_write_revoked,
    [CS_STRICT] = &cs_guard_strict,
};

int cs_guard_open(struct cs_pool *p, enum cs_protection tier, struct cs_counters *counters, const char **attempt)
{
    struct cs_guard *g = calloc(1, sizeof *g);
    int err = -ENOMEM;
    *attempt = "allocate the guard of the pool";
    if (!g)
        return err;
    g->tier = tiers[tier];
    p->guard = g;
    if (!(g->page = calloc(p->pages, sizeof *g->page)))
        goto fail;
    /* nobody without privilege gets at our descriptors and memory (ptrace(2)), of whatever user it is */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) {
        err = -errno;
        goto fail;
    }
    g->zeroed = cs_counter_get(counters, "bytes_zeroed");
    g->still_mapped = cs_counter_get(counters, "revocations_failed");
    if ((err = g->tier->open(p, attempt)) == 0)
        return 0;
fail:
    cs_guard_close(p);
    return err;
}

void cs_guard_close(struct cs_pool *p)
{
    if (!p->guard)
        return;
    p->guard->tier->close(p);
    free(p->guard->page);
    free(p->guard);
    p->guard = NULL;
}

void cs_guard_enter(struct cs_guard *g, uint16_t owner)
{
    g->attachment[owner] = ++g->attachments;
}

void cs_guard_leave(struct cs_pool *p, uint16_t owner)
{
    for (uint32_t i = 0; i < p->pages; i++)
        if (p->guard->page[i].holder == owner)
            p->guard->page[i].holder = CS_GONE; /* it was not had, and another process may have its number soon */
    if (p->guard->tier->leave)
        p->guard->tier->leave(p, owner);
}

int cs_guard_adopt(struct cs_pool *p, uint16_t owner, int userfault, uint64_t base)
{
    return p->guard->tier->adopt ? p->guard->tier->adopt(p, owner, userfault, base) : -EINVAL;
}

static void zero(struct cs_pool *p, uint32_t page, uint32_t from, uint32_t to)
{
    if (from >= to)
        return;
    memset(cs_page_data(p, page) + from, 0, to - from);
    cs_count(p->guard->zeroed, to - from);
}

int cs_guard_grant(struct cs_pool *p, uint32_t page, uint32_t from, uint16_t owner, int *fds)
{
    struct cs_guard *g = p->guard;
    uint32_t pages = p->shared->table[page].pages, bytes = (uint32_t)cs_page_bytes(p);
    if (from >= pages)
        return -EINVAL;
    page += from;
    pages -= from;
    if (pages > CS_MAP_BATCH)
        pages = CS_MAP_BATCH;
    for (uint32_t i = page; i < page + pages; i++) {
        struct cs_page_guard *s = &g->page[i];
        if (s->holder && s->holder != owner) /* by some way that does not revoke */
            return -EBUSY;
        zero(p, i, 0, s->from);
        zero(p, i, s->to, bytes);
        *s = (struct cs_page_guard){.last = g->attachment[owner], .to = bytes, .holder = owner};
    }
    int err = g->tier->grant(p, page, pages, owner, fds);
    return err < 0 ? err : (int)pages;
}

bool cs_guard_shows_all(const struct cs_pool *p, uint32_t page)
{
    const struct cs_page_guard *s = &p->guard->page[page];
    for (uint32_t i = 0; i < p->shared->table[page].pages; i++)
        if (s[i].from > 0 || s[i].to < cs_page_bytes(p))
            return false;
    return true;
}

bool cs_guard_revoke(struct cs_pool *p, uint32_t page, uint32_t pages)
{
    struct cs_guard *g = p->guard;
    bool all = true;
    for (uint32_t i = page, run; i < page + pages; i += run) {
        uint16_t holder = g->page[i].holder;
        for (run = 1; i + run < page + pages && g->page[i + run].holder == holder; run++) {
            /* what is mapped to the same process is taken from it at once */
        }
        if (holder)
            all &= g->tier->revoke(p, i, run, holder);
    }
    if (!all)
        cs_count(g->still_mapped, 1);
    return all;
}

uint16_t cs_guard_holder(const struct cs_guard *g, uint32_t page)
{
    return g->page[page].holder;
}

void cs_guard_take(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t owner)
{
    for (uint32_t i = page; i < page + pages; i++) {
        struct cs_page_guard *s = &p->guard->page[i];
        s->from = 0; /* it had it last: no need */
        s->to = p->zero_all || (owner && s->last == p->guard->attachment[owner]) ? (uint32_t)cs_page_bytes(p) : 0;
    }
}

/* The part of that page of a container that lies in bytes [off, off + len) of the whole. */
static void part(const struct cs_pool *p, uint32_t number, uint32_t off, uint32_t len, uint32_t *from, uint32_t *to)
{
    uint32_t bytes = (uint32_t)cs_page_bytes(p);
    uint64_t start = (uint64_t)number << p->shift, end = (uint64_t)off + len;
    *from = off <= start ? 0 : off - start < bytes ? (uint32_t)(off - start) : bytes;
    *to = end <= start ? 0 : end - start < bytes ? (uint32_t)(end - start) : bytes;
}

void cs_guard_fill(struct cs_pool *p, uint32_t page, uint32_t off, uint32_t len)
{
    for (uint32_t i = 0; i < p->shared->table[page].pages; i++) {
        uint32_t from = 0, to = (uint32_t)cs_page_bytes(p);
        if (!p->zero_all)
            part(p, i, off, len, &from, &to);
        p->guard->page[page + i] = (struct cs_page_guard){.from = from, .to = from < to ? to : from};
    }
}

void cs_guard_narrow(struct cs_pool *p, uint32_t page, uint32_t off, uint32_t len)
{
    for (uint32_t i = 0; i < p->shared->table[page].pages; i++) {
        struct cs_page_guard *s = &p->guard->page[page + i];
        uint32_t from, to;
        part(p, i, off, len, &from, &to);
        s->from = s->from > from ? s->from : from;
        s->to = s->to < to ? s->to : to;
        if (s->from >= s->to)
            s->from = s->to = 0;
    }
}

void cs_guard_clean(struct cs_pool *p, uint32_t page, uint32_t off, uint32_t len)
{
    for (uint32_t i = 0; i < p->shared->table[page].pages; i++) {
        struct cs_page_guard *s = &p->guard->page[page + i];
        uint32_t from, to;
        part(p, i, off, len, &from, &to);
        zero(p, page + i, from, s->from < to ? s->from : to);
        zero(p, page + i, s->to > from ? s->to : from, to);
    }
}

void cs_guard_forget(struct cs_guard *g, uint32_t page)
{
    g->page[page].from = g->page[page].to = 0;
}
