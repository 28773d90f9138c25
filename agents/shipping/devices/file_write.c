/* Writing a file: each message at the place behind the one before it. After an error nothing more is written. */
#include <errno.h>

#include "../core/fault.h"
#include "file.h"

enum { OPERATIONS = 32 }; /* of one file under way */

/* From here on the process's calls fail with it, and nothing is started any more that has its place behind this one. */
static void fail(struct cs_manager *m, struct cs_endpoint *e, struct cs_file *f, const struct cs_operation *at, int error)
{
    cs_count(m->file_errors, 1);
    if (!f->failed)
        f->failed = error;
    for (struct cs_operation *o = at ? at->next : NULL; o; o = o->next)
        if (o->state == CS_OPERATION_WAITING) {
            o->state = CS_OPERATION_DONE;
            cs_count(m->file_errors, 1);
        }
    if (!e)
        return;
    cs_ring_end(&e->rx, (uint32_t)-f->failed << CS_ENDED_ERROR | CS_PEER_GONE);
    e->announce = true;
}

/* Make a message's containers ours. -EPERM: one is not its owner's, so there is no such message, and its good ones
 * go back: their owner said that he gave them away. */
static int claim(struct cs_manager *m, struct cs_endpoint *e, uint32_t from, uint32_t count, struct cs_operation *o)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct cs_desc d = cs_ring_peek(&e->tx, from + i);
        int64_t page = cs_pool_claim(&m->pool, d.cid, d.off, d.len, e->file->owner);
        if (page < 0)
            continue;
        if (m->pool.guard)
            cs_guard_clean(&m->pool, (uint32_t)page, d.off, d.len);
        cs_pool_move(&m->pool, (uint32_t)page, 0, CS_SENDING);
        CS_FAULT("manager.writing_claimed");
        o->page[o->count++] = (uint32_t)page;
        bytes += d.len;
        if (d.len > 0)
            o->iov[o->transfer.count++] =
                (struct iovec){cs_page_data(&m->pool, (uint32_t)page) + d.off, d.len};
    }
    if (o->count < count)
        return -EPERM;
    return bytes > INT64_MAX - e->file->position ? -EFBIG : (o->bytes = (uint32_t)bytes, 0);
}

static void write_message(struct cs_manager *m, struct cs_endpoint *e, uint32_t from, uint32_t count)
{
    struct cs_file *f = e->file;
    struct cs_operation *o = cs_operation_new(count);
    int err = o ? claim(m, e, from, count, o) : -ENOMEM;
    if (err == -EPERM)
        cs_count(m->drops[CS_DROP_BAD_DESCRIPTOR], 1);
    if (err == 0) {
        o->transfer.kind = CS_TRANSFER_WRITE;
        o->transfer.position = f->position;
        f->position += o->bytes;
        o->state = o->transfer.count ? CS_OPERATION_WAITING : CS_OPERATION_DONE;
    }
    if (o) {
        o->state = err ? CS_OPERATION_DONE : o->state;
        cs_operation_add(m, f, o);
    }
    if (err < 0)
        fail(m, e, f, NULL, err);
}

static void give_up(struct cs_manager *m, struct cs_endpoint *e, uint32_t from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        cs_file_take_free(m, e, cs_ring_peek(&e->tx, from + i));
    cs_count(m->file_errors, 1);
}

static bool has_room(struct cs_manager *m, struct cs_endpoint *e, uint32_t from, uint32_t count)
{
    return e->file->operations < OPERATIONS && cs_file_grants(m, e->file, cs_endpoint_pages(m, e, from, count));
}

void cs_file_wrote(struct cs_manager *m, struct cs_file *f, struct cs_operation *o)
{
    struct cs_transfer *t = &o->transfer;
    int64_t done = t->result;
    if (done <= 0) {
        o->state = CS_OPERATION_DONE;
        fail(m, cs_file_endpoint(m, f), f, o, done < 0 ? (int)done : -EIO);
        return;
    }
    cs_count(m->file_bytes_out, (uint64_t)done);
    if (t->fd == f->fd)
        cs_count(m->file_bytes_buffered, (uint64_t)done);
    t->position += (uint64_t)done;
    for (; t->count > 0 && done >= (int64_t)t->iov->iov_len; t->count--)
        done -= (int64_t)t->iov++->iov_len;
    if (t->count == 0)
        return;
    /* a part: why not all comes out with the rest */
    t->iov->iov_base = (uint8_t *)t->iov->iov_base + done;
    t->iov->iov_len -= (size_t)done;
    o->state = CS_OPERATION_WAITING;
}

bool cs_file_take(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_file *f = e->file;
    uint32_t used = 0, ready = (uint32_t)cs_ring_ready(&e->tx), count;
    bool worked = false;
    for (struct cs_operation **at = &f->first; *at;)
        if ((*at)->state == CS_OPERATION_DONE) {
            cs_operation_remove(m, f, at, true);
            worked = true;
        } else
            at = &(*at)->next;
    e->blocked = false;
    e->unfinished = 0;
    for (; used < ready; used += count) {
        struct cs_desc d = cs_ring_peek(&e->tx, used);
        count = 1;
        if (d.flags & CS_DESC_ASK)
            f->asked = true;
        else if (d.flags & CS_DESC_FREE)
            cs_file_take_free(m, e, d);
        else if ((count = cs_endpoint_message(e, used, ready)) == 0) {
            e->unfinished = ready - used; /* its writer rings when the rest is there */
            break;
        } else if (f->failed)
            give_up(m, e, used, count);
        else if (has_room(m, e, used, count))
            write_message(m, e, used, count);
        else {
            e->blocked = true; /* until a transfer is over */
            m->held_back |= f->operations == 0;
            break;
        }
    }
    if (used > 0)
        cs_ring_release(&e->tx, used);
    CS_FAULT("manager.writing_released");
    if (f->asked && !f->first) {
        f->asked = false;
        cs_file_say(e, f->failed);
    }
    return worked || used > 0;
}
