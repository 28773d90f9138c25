/* The six calls, on the side of the process. A call is a few loads and stores in shared memory; the manager
 * is asked only to allocate when the process has nothing to reuse. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cs.h"
#include "process.h"

static void ring_manager(void)
{
    const uint64_t one = 1;
    if (write(cs_self.doorbell, &one, sizeof one) < 0) {
        /* full: it has been rung */
    }
}

void cs_flush(void)
{
    bool ring = false;
    for (int i = 0; i < CS_OPEN_MAX; i++) {
        struct cs_open *e = &cs_self.open[i];
        if (e->unflushed) {
            e->unflushed = false;
            ring |= cs_ring_needs_doorbell(&e->tx);
        }
    }
    if (ring)
        ring_manager();
}

/* Has the manager hung up? */
static bool manager_gone(int wait_ms)
{
    struct pollfd manager = {.fd = cs_self.control, .events = 0};
    return poll(&manager, 1, wait_ms) > 0;
}

/* Sleep until the manager rings this endpoint. 0, -ETIMEDOUT, -EINTR, or -EPIPE when the manager is gone. */
static int await(struct cs_open *e)
{
    struct pollfd fds[2] = {{.fd = e->fd, .events = POLLIN}, {.fd = cs_self.control, .events = POLLIN}};
    uint64_t rung;
    int ready = poll(fds, 2, e->timeout_ms);
    if (ready < 0)
        return -errno;
    if (fds[1].revents & (POLLHUP | POLLERR))
        return -EPIPE;
    if (fds[0].revents && read(e->fd, &rung, sizeof rung) < 0 && errno != EAGAIN)
        return -errno;
    return ready ? 0 : -ETIMEDOUT;
}

/* Ask for the doorbell, then look again: how many descriptors are there after all; 0: it will ring for the next. */
static int64_t ask_for_doorbell(struct cs_open *e)
{
    cs_flush();
    cs_ring_wait(&e->rx);
    int64_t ready = cs_ring_ready(&e->rx);
    if (ready != 0)
        cs_ring_awake(&e->rx);
    else if (atomic_load_explicit(&e->rx.shared->crowded, memory_order_relaxed))
        ring_manager();
    return ready;
}

/* Wait for a descriptor to read; how many there are. */
static int64_t wait_readable(struct cs_open *e, int options)
{
    int64_t ready;
    int err = 0;
    while ((ready = cs_ring_ready(&e->rx)) == 0) {
        if (options & CS_DONTWAIT) {
            /* not at the end of each batch that was read: it costs a system call */
            bool look = e->idle;
            e->idle = true;
            return look && manager_gone(0) ? -EPIPE : -EAGAIN;
        }
        if (err < 0)
            return err;
        if (ask_for_doorbell(e) == 0) {
            err = await(e);
            cs_ring_awake(&e->rx);
        }
    }
    e->idle = false;
    return ready;
}

int cs_ready(int fd)
{
    struct cs_open *e = cs_find(fd);
    uint64_t rung;
    if (!e)
        return -EBADF;
    int64_t ready = cs_ring_ready(&e->rx);
    if (ready == 0) {
        /* before asking: what rings later is for later messages and must stay */
        if (read(e->fd, &rung, sizeof rung) < 0 && errno != EAGAIN)
            return -errno;
        ready = ask_for_doorbell(e);
    }
    struct pollfd manager = {.fd = cs_self.control};
    if (ready == 0 && poll(&manager, 1, 0) > 0)
        return -EPIPE;
    return ready < 0 ? (int)ready : ready > 0;
}

/* The page of a container that this process owns under exactly this identifier, or -EPERM / -EBADF. */
static int64_t mine(int cid)
{
    uint32_t page = cs_cid_page((uint32_t)cid);
    if (cid <= 0 || page >= cs_self.pages)
        return -EBADF;
    return cs_self.owned[page] == (uint32_t)cid ? (int64_t)page : -EPERM;
}

static int map_all(void)
{
    if (cs_self.data)
        return 0;
    void *data = mmap(NULL, (size_t)cs_self.pages * CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, cs_self.data_fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    cs_self.data = data;
    return 0;
}

int cs_read(int fd, int size, int maxcon, struct cs_args *args, int options)
{
    struct cs_open *e = cs_find(fd);
    int count = 0, err;
    if (!e)
        return -EBADF;
    if (size < 0 || maxcon <= 0 || !args || !args->cids)
        return -EINVAL;
    if (options & CS_MAPALL && (err = map_all()) < 0)
        return err;
    int64_t ready = wait_readable(e, options);
    if (ready < 0)
        return (int)ready;
    uint32_t flags = CS_DESC_MORE, used = 0;
    while (flags & CS_DESC_MORE && (int64_t)used < ready) {
        struct cs_desc d = cs_ring_peek(&e->rx, used++);
        uint32_t page = cs_cid_page(d.cid);
        flags = d.flags;
        if (page >= cs_self.pages)
            return -EPROTO;
        cs_self.owned[page] = d.cid;
        int cid = (int)d.cid, len = d.len < (uint32_t)size ? (int)d.len : size;
        if (count == maxcon || (len == 0 && count > 0)) {
            cs_free(1, &cid);
            continue;
        }
        args->cids[count] = cid;
        if (args->offs)
            args->offs[count] = (int)d.off;
        if (args->lens)
            args->lens[count] = len;
        if (args->sizes)
            args->sizes[count] = (int)(cs_self.table->table[page].pages * CS_PAGE_SIZE);
        if (args->addrs)
            args->addrs[count] = options & CS_MAPALL ? cs_self.data + (size_t)page * CS_PAGE_SIZE : NULL;
        size -= len;
        count++;
    }
    cs_ring_release(&e->rx, used);
    return count;
}

/* Wait for room for count descriptors in the ring to the manager. */
static int wait_writable(struct cs_open *e, int count, int options)
{
    int waited = 0;
    int64_t space;
    while ((space = cs_ring_space(&e->tx)) >= 0 && space < count) {
        if (options & CS_DONTWAIT)
            return manager_gone(0) ? -EPIPE : -EAGAIN;
        if (e->timeout_ms >= 0 && waited++ >= e->timeout_ms)
            return -ETIMEDOUT;
        /* the network holds the manager back; it looks again every millisecond, and so do we */
        e->unflushed = true;
        cs_flush();
        if (manager_gone(1))
            return -EPIPE;
    }
    return space < 0 ? (int)space : 0;
}

static int put(struct cs_open *e, int count, const int *cids, const int *offs, const int *lens, uint32_t flags)
{
    for (int i = 0; i < count; i++) {
        cs_self.owned[cs_cid_page((uint32_t)cids[i])] = 0;
        *cs_ring_reserve(&e->tx) = (struct cs_desc){
            .cid = (uint32_t)cids[i],
            .off = offs ? (uint32_t)offs[i] : 0,
            .len = lens ? (uint32_t)lens[i] : 0,
            .flags = flags | (flags == 0 && i + 1 < count ? CS_DESC_MORE : 0),
        };
    }
    cs_ring_submit(&e->tx);
    e->unflushed = true;
    return 0;
}

int cs_write(int fd, int count, const int *cids, const int *offs, const int *lens, int options)
{
    struct cs_open *e = cs_find(fd);
    int err;
    if (!e)
        return -EBADF;
    if (!e->has_peer)
        return -EDESTADDRREQ;
    if (count <= 0 || (uint32_t)count > e->tx.capacity || !cids || !offs || !lens)
        return -EINVAL;
    for (int i = 0; i < count; i++) {
        int64_t page = mine(cids[i]);
        if (page < 0)
            return (int)page;
        int64_t bytes = (int64_t)cs_self.table->table[page].pages * CS_PAGE_SIZE;
        if (offs[i] < 0 || lens[i] < 0 || (int64_t)offs[i] + lens[i] > bytes)
            return -EINVAL;
        for (int k = 0; k < i; k++)
            if (cids[k] == cids[i])
                return -EINVAL;
    }
    if ((err = wait_writable(e, count, options)) < 0)
        return err;
    put(e, count, cids, offs, lens, 0);
    if (!(options & CS_MORE))
        cs_flush();
    return 0;
}

int cs_map(int count, const int *cids, void **addrs, int options)
{
    (void)options;
    if (!cs_self.attached)
        return -ENOTCONN;
    for (int i = 0; i < count; i++) {
        int64_t page = mine(cids[i]);
        if (page < 0)
            return (int)page;
    }
    int err = map_all();
    for (int i = 0; err == 0 && i < count; i++)
        addrs[i] = cs_self.data + (size_t)cs_cid_page((uint32_t)cids[i]) * CS_PAGE_SIZE;
    return err;
}

int cs_unmap(int count, const int *cids)
{
    /* the mapping stays and is recycled; from here on the address must not be used */
    for (int i = 0; i < count; i++) {
        int64_t page = mine(cids[i]);
        if (page < 0)
            return (int)page;
    }
    return 0;
}

static int more_from_manager(uint32_t pages, uint32_t count, uint32_t *cids)
{
    struct cs_request q = {.call = CS_CALL_ALLOC, .alloc = {pages, count}};
    struct cs_reply reply;
    int err = cs_ask(&q, &reply, NULL);
    if (err < 0)
        return err;
    memcpy(cids, reply.allocated.cids, reply.allocated.count * sizeof *cids);
    return (int)reply.allocated.count;
}

int cs_alloc(int size, void **addr, int options)
{
    uint32_t pages = ((uint32_t)size + CS_PAGE_SIZE - 1) / CS_PAGE_SIZE, cid;
    int err;
    if (!cs_self.attached)
        return -ENOTCONN;
    if (size <= 0 || pages > cs_self.pages)
        return -EINVAL;
    if (options & CS_MAPNOW && (err = map_all()) < 0)
        return err;
    if (pages == 1 && cs_self.cached == 0) {
        if ((err = more_from_manager(1, CS_ALLOC_BATCH, cs_self.cache)) < 0)
            return err;
        cs_self.cached = (uint32_t)err;
    }
    if (pages == 1)
        cid = cs_self.cache[--cs_self.cached];
    else if ((err = more_from_manager(pages, 1, &cid)) < 0)
        return err;
    cs_self.owned[cs_cid_page(cid)] = cid;
    if (addr)
        *addr = options & CS_MAPNOW ? cs_self.data + (size_t)cs_cid_page(cid) * CS_PAGE_SIZE : NULL;
    return (int)cid;
}

/* A single page is kept for the next cs_alloc (recycling); the rest goes back through any open ring, or by asking where
 * none has room. So what is ours can always be freed, unless the manager is gone (-EPIPE), and all containers with it. */
int cs_free(int count, const int *cids)
{
    for (int i = 0; i < count; i++) {
        int64_t page = mine(cids[i]);
        if (page < 0)
            return (int)page;
        if (cs_self.table->table[page].pages == 1 && cs_self.cached < CS_CACHE) {
            cs_self.owned[page] = 0;
            cs_self.cache[cs_self.cached++] = (uint32_t)cids[i];
            continue;
        }
        struct cs_open *e = cs_self.open;
        while (e < cs_self.open + CS_OPEN_MAX && (e->fd < 0 || cs_ring_space(&e->tx) <= 0))
            e++;
        if (e < cs_self.open + CS_OPEN_MAX) {
            put(e, 1, &cids[i], NULL, NULL, CS_DESC_FREE);
            continue;
        }
        struct cs_request q = {.call = CS_CALL_FREE, .cid = (uint32_t)cids[i]};
        struct cs_reply reply;
        int err = cs_ask(&q, &reply, NULL);
        if (err < 0)
            return err;
        cs_self.owned[page] = 0;
    }
    return 0;
}
