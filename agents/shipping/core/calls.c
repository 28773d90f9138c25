/* cs_read and cs_write: a few loads and stores in shared memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cs.h"
#include "fault.h"
#include "process.h"

static void give_to_caller(const struct cs_args *args, int at, uint32_t cid, uint32_t off, int len, int options)
{
    args->cids[at] = (int)cid;
    if (args->offs)
        args->offs[at] = (int)off;
    if (args->lens)
        args->lens[at] = len;
    if (args->sizes)
        args->sizes[at] = (int)cs_bytes_of(cid);
    if (options & CS_MAPALL && cs_self.extent)
        cs_zero_edges(cid);
    if (args->addrs)
        args->addrs[at] = options & CS_MAPALL ? cs_address(cid) : NULL;
}

/* A datagram: what was not asked for is cut off. */
static int read_datagram(struct cs_open *e, int64_t ready, int size, int maxcon, const struct cs_args *args, int options)
{
    uint32_t flags = CS_DESC_MORE, used = 0;
    int count = 0;
    while (flags & CS_DESC_MORE && (int64_t)used < ready) {
        struct cs_desc d = cs_ring_peek(&e->rx, used++);
        flags = d.flags;
        if (cs_cid_page(d.cid) >= cs_self.pages)
            return -EPROTO;
        cs_own(&d, e);
        CS_FAULT("datagram.owned");
        int cid = (int)d.cid, len = d.len < (uint32_t)size ? (int)d.len : size;
        if (count == maxcon || (len == 0 && count > 0)) {
            cs_free(1, &cid);
            CS_FAULT("datagram.cut_off");
            continue;
        }
        give_to_caller(args, count++, d.cid, d.off, len, options);
        size -= len;
    }
    cs_ring_release(&e->rx, used);
    CS_FAULT("datagram.released");
    return count;
}

/* Take at most size of a container's bytes, leaving the rest of them for the next read: the whole pages among them by
 * cutting the container, or less than a page as a copy. */
static int divide(struct cs_open *e, struct cs_desc *d, uint32_t size)
{
    uint32_t whole = (d->off + size) >> cs_self.shift;
    e->rest = *d;
    if (whole > d->off >> cs_self.shift) {
        struct cs_request q = {.call = CS_CALL_CUT, .cut = {d->cid, whole}};
        struct cs_reply reply;
        int err = cs_ask(&q, &reply, NULL);
        if (err < 0)
            return err;
        CS_FAULT("divide.cut");
        d->len = (whole << cs_self.shift) - d->off;
        e->rest.cid = reply.allocated.cids[0];
        if (cs_self.mapped && cs_self.mapped[cs_cid_page(d->cid)] == d->cid)
            cs_self.mapped[cs_cid_page(e->rest.cid)] = e->rest.cid;
        e->rest.off = 0;
    } else {
        void *to;
        int err = cs_map_one(d->cid), cid = err < 0 ? err : cs_alloc((int)size, &to, CS_MAPNOW);
        if (cid < 0)
            return cid;
        memcpy(to, cs_address(d->cid) + d->off, size);
        CS_FAULT("divide.copied");
        *d = (struct cs_desc){.cid = (uint32_t)cid, .len = size};
        e->rest.off += size;
    }
    e->rest.len -= d->len;
    return 0;
}

/* A message of a channel: what was not asked for stays for the next read. */
static int read_message(struct cs_open *e, int64_t ready, int size, int maxcon, const struct cs_args *args, int options)
{
    uint32_t used = 0;
    int count = 0, err = 0;
    for (bool more = true; more && count < maxcon && ready > 0 && (size > 0 || count == 0); ready--) {
        struct cs_desc d = e->rest.cid ? e->rest : cs_ring_peek(&e->rx, used++);
        if (cs_cid_page(d.cid) >= cs_self.pages)
            return -EPROTO;
        more = d.flags & CS_DESC_MORE;
        e->rest = (struct cs_desc){0};
        if (d.len > (uint32_t)size) {
            if ((err = divide(e, &d, (uint32_t)size)) < 0)
                break; /* all of it stays */
            more = false;
        }
        if (cs_mine((int)d.cid) < 0) /* a copy is ours already */
            cs_own(&d, e);
        CS_FAULT("message.owned");
        give_to_caller(args, count++, d.cid, d.off, (int)d.len, options);
        size -= (int)d.len;
    }
    cs_ring_release(&e->rx, used);
    CS_FAULT("message.released");
    if (cs_ring_owes_room(&e->rx))
        cs_ring_manager();
    return count > 0 ? count : err;
}

/* Where mapping can fail, do it first: a read that fails has taken nothing. */
static int map_ahead(const struct cs_open *e, int64_t ready, int maxcon)
{
    uint32_t used = 0;
    bool more = true;
    for (int i = 0; more && i < maxcon && i < ready; i++) {
        struct cs_desc d = i == 0 && e->rest.cid ? e->rest : cs_ring_peek(&e->rx, used++);
        if (cs_cid_page(d.cid) >= cs_self.pages)
            return -EPROTO;
        cs_comes_from(d.cid, e);
        int err = cs_map_one(d.cid);
        if (err < 0)
            return err;
        more = d.flags & CS_DESC_MORE;
    }
    return 0;
}

int cs_read(int fd, int size, int maxcon, struct cs_args *args, int options)
{
    struct cs_open *e = cs_find(fd);
    int err;
    if (!e)
        return -EBADF;
    if (e->write_only)
        return -EOPNOTSUPP;
    bool whole = !e->channel && !e->file; /* messages, not a stream */
    if (size < (whole ? 0 : 1) || maxcon <= 0 || !args || !args->cids)
        return -EINVAL;
    if (options & CS_MAPALL && (err = cs_map_pool()) < 0)
        return err;
    if (e->file && (err = cs_file_ask(e, size, options)) < 0)
        return err;
    int64_t ready = cs_wait_readable(e, options);
    if (ready <= 0)
        return (int)ready;
    CS_FAULT("read.begun");
    if (e->file && (err = cs_file_status(e)) <= 0)
        return err;
    if (options & CS_MAPALL && cs_self.mapped && (err = map_ahead(e, ready, maxcon)) < 0)
        return err;
    return (whole ? read_datagram : read_message)(e, ready, size, maxcon, args, options);
}

static int check_extents(int count, const int *cids, const int *offs, const int *lens)
{
    for (int i = 0; i < count; i++) {
        int64_t page = cs_mine(cids[i]);
        if (page < 0)
            return (int)page;
        int64_t bytes = (int64_t)cs_bytes_of((uint32_t)cids[i]);
        int off = offs ? offs[i] : 0, len = lens ? lens[i] : 0;
        if (off < 0 || len < 0 || (int64_t)off + len > bytes)
            return -EINVAL;
    }
    return 0;
}

int cs_write(int fd, int count, const int *cids, const int *offs, const int *lens, int options)
{
    struct cs_open *e = cs_find(fd);
    int err;
    if (!e)
        return -EBADF;
    if (e->file == CS_FILE_READS)
        return -EBADF;
    if (!e->has_peer)
        return -EDESTADDRREQ;
    if (count <= 0 || (uint32_t)count > e->tx.capacity || (e->most && (uint32_t)count > e->most) || !cids)
        return -EINVAL;
    if (e->back.shared)
        cs_return_recycled(e);
    CS_FAULT("write.begun");
    if ((err = check_extents(count, cids, offs, lens)) < 0 || (err = cs_wait_writable(e, count, options)) < 0 ||
        (err = cs_disown(count, cids)) < 0)
        return err;
    CS_FAULT("write.disowned");
    for (int i = 0; cs_self.mapped && i < count; i++)
        cs_hide((uint32_t)cids[i]);
    for (int i = 0; i < count; i++) {
        uint32_t off = offs ? (uint32_t)offs[i] : 0, all = (uint32_t)cs_bytes_of((uint32_t)cids[i]) - off;
        *cs_ring_reserve(&e->tx) = (struct cs_desc){
            .cid = (uint32_t)cids[i],
            .off = off,
            .len = lens ? (uint32_t)lens[i] : all,
            .flags = i + 1 < count ? CS_DESC_MORE : 0,
        };
        CS_FAULT("write.described");
    }
    cs_ring_submit(&e->tx);
    CS_FAULT("write.published");
    cs_written(e);
    if (!(options & CS_MORE))
        cs_flush();
    CS_FAULT("write.done");
    return 0;
}
