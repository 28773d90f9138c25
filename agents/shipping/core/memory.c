/* The calls about memory: cs_map, cs_unmap, cs_alloc, cs_free. The manager is asked only for containers of a size that
 * the process has none of. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "cs.h"
#include "fault.h"
#include "process.h"

int64_t cs_mine(int cid)
{
    uint32_t page = cs_cid_page((uint32_t)cid);
    if (cid <= 0 || page >= cs_self.pages)
        return -EBADF;
    return cs_self.owned[page] == (uint32_t)cid ? (int64_t)page : -EPERM;
}

int cs_disown(int count, const int *cids)
{
    for (int i = 0; i < count; i++) {
        int64_t page = cs_mine(cids[i]);
        if (page >= 0) {
            cs_self.owned[page] = 0;
            continue;
        }
        for (int k = 0; k < i; k++) {
            cs_self.owned[cs_cid_page((uint32_t)cids[k])] = (uint32_t)cids[k];
            if (cids[k] == cids[i])
                page = -EINVAL;
        }
        return (int)page;
    }
    return 0;
}

void cs_comes_from(uint32_t cid, const struct cs_open *e)
{
    cs_self.from[cs_cid_page(cid)] = e->channel ? (uint8_t)(e - cs_self.open + 1) : 0;
}

void cs_own(const struct cs_desc *d, const struct cs_open *e)
{
    uint32_t page = cs_cid_page(d->cid);
    cs_self.owned[page] = d->cid;
    if (cs_self.extent)
        cs_self.extent[page] = (struct cs_extent){d->off, d->off + d->len};
    cs_comes_from(d->cid, e);
}

void cs_end_path(const struct cs_open *e)
{
    uint8_t from = (uint8_t)(e - cs_self.open + 1);
    for (uint32_t page = 0; e->channel && page < cs_self.pages; page++)
        if (cs_self.from[page] == from)
            cs_self.from[page] = 0;
    for (uint32_t i = 0; i < cs_self.spares; i++)
        if (cs_self.spare[i].from == from)
            cs_self.spare[i].from = 0;
}

static int all_mine(int count, const int *cids)
{
    if (count < 0 || (count > 0 && !cids))
        return -EINVAL;
    for (int i = 0; i < count; i++) {
        int64_t page = cs_mine(cids[i]);
        if (page < 0)
            return (int)page;
    }
    return 0;
}

int cs_map(int count, const int *cids, void **addrs, int options)
{
    (void)options;
    if (!cs_self.attached)
        return -ENOTCONN;
    int err = all_mine(count, cids);
    for (int i = 0; err == 0 && i < count; i++)
        err = cs_show((uint32_t)cids[i]);
    for (int i = 0; err == 0 && addrs && i < count; i++)
        addrs[i] = cs_address((uint32_t)cids[i]);
    CS_FAULT("map.done");
    return err;
}

int cs_unmap(int count, const int *cids)
{
    CS_FAULT("unmap.begun");
    int err = all_mine(count, cids);
    /* else the mapping stays and is recycled; from here on the address must not be used */
    for (int i = 0; err == 0 && cs_self.no_recycling && cs_self.mapped && i < count; i++)
        cs_hide((uint32_t)cids[i]);
    return err;
}

/* Through the ring of that endpoint, if it has room. */
static bool put_free(struct cs_open *e, uint32_t cid, uint32_t flags)
{
    if (e->fd < 0 || cs_ring_space(&e->tx) <= 0)
        return false;
    if (cs_self.mapped)
        cs_hide(cid);
    *cs_ring_reserve(&e->tx) = (struct cs_desc){.cid = cid, .flags = flags};
    CS_FAULT("free.described");
    cs_ring_submit(&e->tx);
    CS_FAULT("free.published");
    cs_written(e);
    return true;
}

static bool put_anywhere(struct cs_spare s)
{
    if (s.from && put_free(&cs_self.open[s.from - 1], s.cid, CS_DESC_FREE | CS_DESC_RECYCLE))
        return true;
    for (uint32_t i = 0; i < cs_self.opened; i++)
        if (put_free(&cs_self.open[i], s.cid, CS_DESC_FREE))
            return true;
    return false;
}

/* The oldest go back: to the channel they came from, else through any ring, else by a call. at_once: the manager has
 * them when this returns. */
static void give_back(uint32_t count, bool at_once)
{
    struct cs_request q = {.call = CS_CALL_FREE};
    struct cs_reply reply;
    for (uint32_t i = 0; i < count; i++) {
        cs_self.spare_pages -= cs_self.spare[i].pages;
        if (!at_once && put_anywhere(cs_self.spare[i]))
            continue;
        if (cs_self.mapped)
            cs_hide(cs_self.spare[i].cid);
        q.free.cids[q.free.count++] = cs_self.spare[i].cid;
        if (q.free.count == CS_ALLOC_BATCH) {
            cs_ask(&q, &reply, NULL); /* if the manager is gone, so is its pool */
            CS_FAULT("free.asked");
            q.free.count = 0;
        }
    }
    if (q.free.count > 0)
        cs_ask(&q, &reply, NULL);
    CS_FAULT("free.given");
    cs_self.spares -= count;
    memmove(cs_self.spare, cs_self.spare + count, cs_self.spares * sizeof *cs_self.spare);
    cs_flush();
}

/* Free pages are: what is kept for later, here, is missing there. */
static bool are_scarce(void)
{
    return atomic_load_explicit(&cs_self.table->scarce, memory_order_relaxed) != 0;
}

/* A process that only reads from a channel has no use for what it frees, and the other end waits for it. One that
 * allocates as much as it frees keeps it. */
void cs_keep(struct cs_spare s)
{
    if (cs_self.reuse > 0)
        cs_self.reuse--;
    else if (s.from && put_free(&cs_self.open[s.from - 1], s.cid, CS_DESC_FREE | CS_DESC_RECYCLE))
        return;
    uint32_t most = are_scarce() ? 0 : cs_self.keep_pages;
    while (cs_self.spares == CS_SPARES || (cs_self.spares > 0 && cs_self.spare_pages + s.pages > most))
        give_back((cs_self.spares + 1) / 2, false);
    CS_FAULT("keep.room");
    cs_self.spare[cs_self.spares++] = s;
    cs_self.spare_pages += s.pages;
    if (cs_self.no_recycling)
        give_back(cs_self.spares, false);
}

/* The next container that the other end of this channel gave back to us, still in the ring, or cid 0. */
static struct cs_spare next_recycled(const struct cs_open *e)
{
    if (cs_ring_ready(&e->back) <= 0)
        return (struct cs_spare){0};
    uint32_t cid = cs_ring_peek(&e->back, 0).cid;
    if (cs_cid_page(cid) >= cs_self.pages)
        return (struct cs_spare){0};
    return (struct cs_spare){cid, cs_pages_of(cid), cs_self.from[cs_cid_page(cid)], false};
}

/* Could it go there now, or will it never? */
static bool has_place(struct cs_spare s)
{
    const struct cs_open *from = &cs_self.open[s.from - 1];
    return cs_self.reuse > 0 || from->fd < 0 || cs_ring_space(&from->tx) != 0;
}

/* It never left the path between us and the other end: nobody else's data is in it. */
static void take_recycled(struct cs_open *e, uint32_t cid)
{
    cs_ring_release(&e->back, 1);
    if (cs_self.extent)
        cs_self.extent[cs_cid_page(cid)] = (struct cs_extent){0, UINT32_MAX};
}

void cs_return_recycled(struct cs_open *e)
{
    /* what finds no room waits in the ring it is in: as a spare it would soon go to the pool, and be missed */
    for (struct cs_spare s; (s = next_recycled(e)).from && has_place(s); cs_keep(s))
        take_recycled(e, s.cid);
}

void cs_return_all(void)
{
    for (uint32_t i = 0; i < cs_self.opened; i++)
        if (cs_self.open[i].fd >= 0 && cs_self.open[i].back.shared)
            cs_return_recycled(&cs_self.open[i]);
    cs_flush();
}

static cs_counter *recycled, *fetched; /* NULL: nobody counts */

void cs_count_allocations(struct cs_counters *c)
{
    recycled = cs_counter_get(c, "allocated_recycled");
    fetched = cs_counter_get(c, "allocated_pool");
}

static uint32_t found(uint32_t cid, bool in_the_pool)
{
    if (recycled)
        cs_count(in_the_pool ? fetched : recycled, 1);
    return cid;
}

/* A free container of exactly so many pages, the warmest first; 0: there is none. */
static uint32_t take_spare(uint32_t pages)
{
    for (uint32_t i = cs_self.spares; i-- > 0;) {
        struct cs_spare s = cs_self.spare[i];
        if (s.pages != pages)
            continue;
        memmove(&cs_self.spare[i], &cs_self.spare[i + 1], (--cs_self.spares - i) * sizeof *cs_self.spare);
        cs_self.spare_pages -= pages;
        CS_FAULT("alloc.spare");
        return found(s.cid, s.fetched);
    }
    for (uint32_t i = 0; i < cs_self.opened; i++) {
        struct cs_open *e = &cs_self.open[i];
        if (e->fd < 0 || !e->back.shared)
            continue;
        for (struct cs_spare s; (s = next_recycled(e)).cid; cs_keep(s)) {
            take_recycled(e, s.cid);
            CS_FAULT("alloc.recycled");
            if (s.pages == pages)
                return found(s.cid, false);
        }
    }
    return 0;
}

/* Pages one by one come in batches; of a size that is asked for again and again, more each time. */
static int ask_manager(uint32_t pages, uint32_t *cid)
{
    uint32_t most = are_scarce() ? 1 : cs_self.keep_pages / 2 / pages;
    uint32_t count = pages == 1 ? CS_ALLOC_BATCH : pages == cs_self.asked_pages ? 2 * cs_self.asked_count : 1;
    struct cs_request q = {.call = CS_CALL_ALLOC};
    struct cs_reply reply;
    if (count > most || cs_self.no_recycling)
        count = most && !cs_self.no_recycling ? most : 1;
    if (count > CS_ALLOC_BATCH)
        count = CS_ALLOC_BATCH;
    q.alloc.pages = cs_self.asked_pages = pages;
    q.alloc.count = cs_self.asked_count = count;
    int err = cs_ask(&q, &reply, NULL);
    if (err < 0)
        return err;
    *cid = found(reply.allocated.cids[0], true);
    CS_FAULT("alloc.asked");
    for (uint32_t i = 0; cs_self.extent && i < reply.allocated.count; i++)
        cs_self.extent[cs_cid_page(reply.allocated.cids[i])] = (struct cs_extent){0};
    for (uint32_t i = reply.allocated.count; i-- > 1;)
        cs_keep((struct cs_spare){reply.allocated.cids[i], pages, 0, true});
    return 0;
}

int cs_alloc(int size, void **addr, int options)
{
    uint32_t pages = ((uint32_t)size + (1u << cs_self.shift) - 1) >> cs_self.shift, cid;
    int err;
    if (!cs_self.attached)
        return -ENOTCONN;
    if (size <= 0 || pages > cs_self.pages)
        return -EINVAL;
    if ((cid = take_spare(pages)) == 0 && (err = ask_manager(pages, &cid)) < 0) {
        if (err != -ENOBUFS || cs_self.spares == 0)
            return err;
        give_back(cs_self.spares, true); /* what we keep of other sizes may be what is missing */
        if ((err = ask_manager(pages, &cid)) < 0)
            return err;
    }
    cs_self.owned[cs_cid_page(cid)] = cid;
    cs_self.from[cs_cid_page(cid)] = 0;
    if (cs_self.reuse < CS_SPARES)
        cs_self.reuse++;
    CS_FAULT("alloc.owned");
    if (options & CS_MAPNOW && (err = cs_show(cid)) < 0) {
        cs_free(1, &(int){(int)cid});
        return err;
    }
    if (addr)
        *addr = options & CS_MAPNOW ? cs_address(cid) : NULL;
    return (int)cid;
}

int cs_free(int count, const int *cids)
{
    if (count < 0 || (count > 0 && !cids))
        return -EINVAL;
    int err = cs_disown(count, cids);
    CS_FAULT("free.disowned");
    for (int i = 0; err == 0 && i < count; i++) {
        uint32_t cid = (uint32_t)cids[i];
        cs_keep((struct cs_spare){cid, cs_pages_of(cid), cs_self.from[cs_cid_page(cid)], false});
    }
    return err;
}
