/* Where the containers of this process are in its memory. In the cooperative tier the pool is mapped once and for good,
 * unless recycling is switched off. In the others the manager lets a container in, one request for 64 pages. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cs.h"
#include "process.h"

static int place(void *at, size_t bytes, int protection, int flags, int fd, off_t off)
{
    void *got = mmap(at, bytes, protection, flags, fd, off);
    if (got == MAP_FAILED)
        return -errno;
    cs_self.data = cs_self.data ? cs_self.data : got;
    return 0;
}

int cs_map_pool(void)
{
    if (cs_self.data)
        return 0;
    if (!cs_self.mapped)
        return place(NULL, cs_pool_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, cs_self.data_fd, 0);
    cs_self.data = cs_reserve(cs_pool_bytes(), (size_t)1 << cs_self.shift);
    return cs_self.data ? 0 : -ENOMEM;
}

static void unmap(uint32_t cid)
{
    /* it cannot fail for want of anything: what it replaces is larger */
    mmap(cs_address(cid), cs_bytes_of(cid), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
         -1, 0);
}

/* Pages that the manager let in, of a container from that one on. Strict: a descriptor of each, and a child must not hold on to it. */
static int place_pages(uint32_t cid, uint32_t from, uint32_t pages, const int *fds)
{
    uint8_t *at = cs_address(cid) + ((size_t)from << cs_self.shift);
    if (cs_self.protection != CS_STRICT)
        return 0;
    for (uint32_t i = 0; i < pages; i++) {
        int err = place(at + ((size_t)i << cs_self.shift), (size_t)1 << cs_self.shift, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_FIXED | MAP_POPULATE, fds[i], 0);
        if (err < 0)
            return err;
    }
    return madvise(at, (size_t)pages << cs_self.shift, MADV_DONTFORK) < 0 ? -errno : 0;
}

static void add_ahead(struct cs_request *q, uint32_t cid, uint32_t pages)
{
    if (q->map.count < CS_MAP_AHEAD && cs_cid_page(cid) < cs_self.pages && cs_self.mapped[cs_cid_page(cid)] != cid &&
        cid != q->map.cid && cs_pages_of(cid) == pages)
        q->map.others[q->map.count++] = cid;
}

static void add_ring(struct cs_request *q, const struct cs_ring *r, uint32_t pages)
{
    int64_t ready = r->shared ? cs_ring_ready(r) : 0;
    for (int64_t i = 0; i < ready && q->map.count < CS_MAP_AHEAD; i++)
        add_ahead(q, cs_ring_peek(r, (uint32_t)i).cid, pages);
}

/* What else is ours, of that size, and likely to be wanted: what waits behind it to be read, or, where it was allocated, what came
 * back to be used again. One request for all: the way to the manager and back costs more than to map one. */
static void look_ahead(struct cs_request *q, uint32_t pages)
{
    uint8_t from = cs_self.from[cs_cid_page(q->map.cid)];
    if (from)
        add_ring(q, &cs_self.open[from - 1].rx, pages);
    for (uint32_t i = 0; !from && i < cs_self.opened; i++)
        if (cs_self.open[i].fd >= 0)
            add_ring(q, &cs_self.open[i].back, pages);
}

/* The pages of a container from that one on that the manager lets in at once; how many. */
static int let_in(uint32_t cid, uint32_t from)
{
    struct cs_request q = {.call = CS_CALL_MAP, .map = {.cid = cid, .from = from}};
    struct cs_reply reply;
    int fds[CS_MAP_BATCH];
    uint32_t pages = cs_pages_of(cid);
    if (2 * pages <= CS_MAP_BATCH)
        look_ahead(&q, pages);
    int err = cs_ask_many(&q, NULL, 0, &reply, fds, CS_MAP_BATCH);
    if (err < 0)
        return err;
    err = place_pages(cid, from, reply.granted, fds);
    for (uint32_t i = 0; i < reply.others && i < q.map.count && pages * (i + 2) <= CS_MAP_BATCH; i++) {
        uint32_t other = q.map.others[i];
        if (place_pages(other, 0, pages, fds + pages * (i + 1)) == 0)
            cs_self.mapped[cs_cid_page(other)] = other;
        else
            unmap(other);
    }
    for (uint32_t i = 0; i < CS_MAP_BATCH && fds[i] >= 0; i++)
        close(fds[i]);
    return err < 0 ? err : (int)reply.granted;
}

int cs_map_one(uint32_t cid)
{
    uint32_t pages = cs_pages_of(cid), *mapped = cs_self.mapped ? &cs_self.mapped[cs_cid_page(cid)] : NULL;
    int err = cs_map_pool();
    if (err < 0 || !mapped || *mapped == cid)
        return err;
    if (cs_self.protection == CS_COOPERATIVE)
        err = place(cs_address(cid), cs_bytes_of(cid), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, cs_self.data_fd,
                    (off_t)cs_cid_page(cid) << cs_self.shift);
    else
        for (uint32_t from = 0; err >= 0 && from < pages; from += err > 0 ? (uint32_t)err : pages)
            err = let_in(cid, from);
    if (err >= 0)
        *mapped = cid;
    else if (cs_self.protection == CS_STRICT)
        unmap(cid); /* what came before the one that failed */
    return err < 0 ? err : 0;
}

void cs_zero_edges(uint32_t cid)
{
    struct cs_extent *ours = &cs_self.extent[cs_cid_page(cid)];
    uint32_t bytes = (uint32_t)cs_bytes_of(cid);
    if (ours->to < bytes)
        memset(cs_address(cid) + ours->to, 0, bytes - ours->to);
    memset(cs_address(cid), 0, ours->from < bytes ? ours->from : bytes);
    *ours = (struct cs_extent){0, UINT32_MAX};
}

int cs_show(uint32_t cid)
{
    int err = cs_map_one(cid);
    if (err == 0 && cs_self.extent)
        cs_zero_edges(cid);
    return err;
}

void cs_hide(uint32_t cid)
{
    uint32_t *mapped = &cs_self.mapped[cs_cid_page(cid)];
    if (*mapped == cid && cs_self.protection != CS_WRITE_REVOKED)
        unmap(cid);
    *mapped = 0;
}

void cs_hide_ahead(const struct cs_ring *r)
{
    int64_t ready = cs_self.mapped && r->shared ? cs_ring_ready(r) : 0;
    for (int64_t i = 0; i < ready; i++) {
        uint32_t cid = cs_ring_peek(r, (uint32_t)i).cid;
        if (cs_cid_page(cid) < cs_self.pages && cs_self.mapped[cs_cid_page(cid)] == cid)
            cs_hide(cid);
    }
}
