/* Reading a file: containers are filled ahead of the process, each with as many bytes as it last asked for. */
#include <errno.h>
#include <stdlib.h>

#include "../core/fault.h"
#include "file.h"

static uint32_t in_ring(const struct cs_endpoint *e)
{
    return e->rx.capacity - (uint32_t)cs_ring_space(&e->rx);
}

static uint32_t pages_for(const struct cs_manager *m, uint64_t bytes)
{
    return (uint32_t)((bytes + cs_page_bytes(&m->pool) - 1) >> m->pool.shift);
}

static uint64_t beyond(uint64_t position, uint32_t align)
{
    return align ? position % align : 0;
}

/* A sixteenth of the pool, so that two of them are no more than what may be under way. */
static uint32_t most_bytes(const struct cs_manager *m)
{
    uint64_t most = (uint64_t)m->pool.pages / (2 * CS_RECYCLE_SHARE) << m->pool.shift;
    return most < CS_PAGE_SIZE ? CS_PAGE_SIZE : most < CS_FILE_MOST ? (uint32_t)most : CS_FILE_MOST;
}

static bool take_requests(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_file *f = e->file;
    uint32_t ready = (uint32_t)cs_ring_ready(&e->tx), most = most_bytes(m);
    for (uint32_t i = 0; i < ready; i++) {
        struct cs_desc d = cs_ring_peek(&e->tx, i);
        if (!(d.flags & CS_DESC_ASK)) {
            cs_file_take_free(m, e, d);
            continue;
        }
        f->wanted = d.len == 0 ? 1 : d.len < most ? d.len : most;
        f->stopped = false;
    }
    cs_ring_release(&e->tx, ready);
    return ready > 0;
}

/* The next one begins there, and what was read ahead from elsewhere is of no use. */
static void go_to(struct cs_file *f, uint64_t position)
{
    for (struct cs_operation *o = f->first; o; o = o->next) {
        o->stale = true;
        if (o->state == CS_OPERATION_WAITING)
            o->state = CS_OPERATION_DONE;
    }
    f->position = position;
}

static void hand_over(struct cs_manager *m, struct cs_endpoint *e, const struct cs_operation *o, uint32_t bytes)
{
    uint32_t page = o->page[0], used = pages_for(m, o->skip + bytes);
    if (m->pool.guard)
        cs_guard_fill(&m->pool, page, o->skip, bytes);
    uint32_t cid = cs_pool_move(&m->pool, page, e->file->owner, CS_OWNED);
    CS_FAULT("manager.reading_moved");
    int64_t unused = cs_pool_cut(&m->pool, page, used); /* -EINVAL: all are used */
    if (unused > 0)
        cs_pool_give(&m->pool, cs_cid_page((uint32_t)unused));
    *cs_ring_reserve(&e->rx) = (struct cs_desc){.cid = cid, .off = o->skip, .len = bytes};
    cs_ring_submit(&e->rx);
    CS_FAULT("manager.reading_published");
    e->announce = true;
    cs_count(m->file_bytes_in, bytes);
    if (o->transfer.fd == e->file->fd)
        cs_count(m->file_bytes_buffered, bytes);
}

static bool deliver(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_file *f = e->file;
    bool worked = false;
    for (struct cs_operation *o; (o = f->first) && o->state == CS_OPERATION_DONE; worked = true) {
        int64_t got = o->transfer.result < 0 ? o->transfer.result : o->transfer.result - (int64_t)o->skip;
        uint64_t position = o->transfer.position + o->skip;
        uint32_t wanted = o->bytes, bytes = got < (int64_t)wanted ? (uint32_t)got : wanted;
        bool stale = o->stale, some = !stale && got > 0;
        if (some)
            hand_over(m, e, o, bytes);
        cs_operation_remove(m, f, &f->first, !some);
        if (stale || (some && bytes == wanted))
            continue;
        go_to(f, position + (some ? bytes : 0));
        if (!some) { /* told once: to ask again is to try again */
            f->stopped = true;
            cs_file_say(e, got < 0 ? (int)got : 0);
        }
    }
    return worked;
}

/* A container for so many pages, or for what its process's share affords, or for as many adjacent ones as can be had.
 * -ENOBUFS: its process has its share; -EAGAIN: the others have theirs. */
static int take_pages(struct cs_manager *m, const struct cs_file *f, uint32_t *pages)
{
    uint32_t affordable = cs_pool_affordable(&m->pool, f->owner, f->pages);
    if (affordable == 0)
        return -ENOBUFS;
    if (*pages > affordable)
        *pages = affordable;
    for (; *pages > 0; *pages /= 2) {
        int page = -EAGAIN;
        if (cs_pool_leaves_reserve(&m->pool, *pages) && cs_file_grants(m, f, *pages))
            page = cs_pool_take_run(&m->pool, *pages, 0);
        if (page >= 0)
            return page;
    }
    return -EAGAIN;
}

static int read_one(struct cs_manager *m, struct cs_file *f)
{
    uint64_t skip = beyond(f->position, f->align);
    uint32_t pages = pages_for(m, skip + f->wanted);
    struct cs_operation *o = cs_operation_new(1);
    if (!o)
        return -ENOMEM;
    int page = take_pages(m, f, &pages);
    if (page < 0) {
        free(o);
        return page;
    }
    cs_pool_move(&m->pool, (uint32_t)page, 0, CS_RECEIVING);
    CS_FAULT("manager.reading_taken");
    uint64_t room = ((uint64_t)pages << m->pool.shift) - skip;
    o->skip = (uint32_t)skip;
    o->bytes = f->wanted < room ? f->wanted : (uint32_t)room;
    o->count = 1;
    o->page[0] = (uint32_t)page;
    o->transfer.kind = CS_TRANSFER_READ;
    o->transfer.position = f->position - skip;
    o->transfer.count = 1;
    /* directly only whole blocks can be read: what is too much is not delivered */
    o->iov[0] = (struct iovec){cs_page_data(&m->pool, (uint32_t)page),
                               f->align ? (o->skip + o->bytes + f->align - 1) / f->align * f->align : o->bytes};
    cs_operation_add(m, f, o);
    f->position += o->bytes;
    return 0;
}

/* At least one is always under way; more up to a part of the pool, and of the ring, where an end must have room too. */
static bool may_go_ahead(struct cs_manager *m, const struct cs_endpoint *e)
{
    const struct cs_file *f = e->file;
    uint32_t ahead = f->operations + in_ring(e);
    if (ahead == 0)
        return true;
    return ahead + 1 < e->rx.capacity && (f->position < f->size || f->operations == 0) &&
           (ahead + 1) * pages_for(m, f->wanted) <= m->pool.pages / CS_RECYCLE_SHARE;
}

static bool read_ahead(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_file *f = e->file;
    bool worked = false;
    while (!f->stopped) {
        if (!may_go_ahead(m, e)) {
            cs_ring_crowd(&e->rx); /* its process rings when it has read half of it */
            if (!may_go_ahead(m, e))
                break;
        }
        int err = read_one(m, f);
        if (err == 0) {
            worked = true;
            continue;
        }
        cs_ring_crowd(&e->rx);
        if (f->operations > 0 || in_ring(e) > 0)
            break;
        if (err == -EAGAIN) {
            m->held_back = true; /* somebody may free something in any way, so look again */
            break;
        }
        f->stopped = worked = true;
        cs_file_say(e, err);
    }
    return worked;
}

bool cs_file_fill(struct cs_manager *m, struct cs_endpoint *e)
{
    bool asked = take_requests(m, e), delivered = deliver(m, e), ahead = read_ahead(m, e);
    return asked || delivered || ahead;
}
