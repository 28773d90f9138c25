/* The six calls, on the side of the process. A call is a few loads and stores in shared memory; the manager
 * is asked over its socket only to open, close, and allocate when the process has nothing to reuse. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cs.h"
#include "protocol.h"
#include "ring.h"

enum { ENDPOINTS = 64, MAX_FD = 1024, CACHE = 256 };

struct endpoint {
    int fd; /* the doorbell; -1: unused */
    uint32_t number;
    struct cs_ring rx, tx;
    void *memory;
    size_t bytes;
    int timeout_ms;
    bool has_peer, unflushed;
};

/* The attachment. `owned` is this process's own book: the identifier under which it owns a page's container,
 * or 0. It makes -EPERM immediate; the manager's check is the one that protects others. */
static struct {
    bool attached;
    int control, data_fd, doorbell;
    uint32_t pages;
    const struct cs_pool_shared *table;
    uint8_t *data; /* NULL until something is mapped */
    uint32_t *owned;
    uint32_t cache[CACHE]; /* free single-page containers that are still ours, warmest last */
    uint32_t cached;
    struct endpoint endpoint[ENDPOINTS];
    uint8_t by_fd[MAX_FD]; /* fd -> endpoint + 1 */
} cs;

/* One request, one reply. fds: room for CS_REPLY_FDS, set to -1 where none came. */
static int ask(struct cs_request *q, struct cs_reply *reply, int *fds)
{
    union {
        char bytes[CMSG_SPACE(CS_REPLY_FDS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {reply, sizeof *reply};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    int none[CS_REPLY_FDS];
    if (!fds)
        fds = none;
    for (int i = 0; i < CS_REPLY_FDS; i++)
        fds[i] = -1;
    q->version = CS_LAYOUT_VERSION;
    if (send(cs.control, q, sizeof *q, MSG_NOSIGNAL) != sizeof *q)
        return -EPIPE;
    ssize_t got;
    do
        got = recvmsg(cs.control, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    if (got != sizeof *reply)
        return -EPIPE; /* the manager is gone */
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return reply->error;
}

int cs_attach(const char *manager_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct cs_request q = {.call = CS_CALL_ATTACH};
    struct cs_reply reply;
    int fds[CS_REPLY_FDS], err;
    if (cs.attached)
        return -EISCONN;
    if (strlen(manager_socket) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, manager_socket);
    cs.data_fd = cs.doorbell = -1;
    cs.control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (cs.control < 0)
        return -errno;
    for (int i = 0; i < ENDPOINTS; i++)
        cs.endpoint[i].fd = -1;
    cs.attached = true;
    if (connect(cs.control, (struct sockaddr *)&address, sizeof address) < 0)
        err = -errno;
    else
        err = ask(&q, &reply, fds);
    if (err < 0)
        goto fail;
    cs.data_fd = fds[0];
    cs.doorbell = fds[2];
    cs.pages = reply.pool_pages;
    void *table = mmap(NULL, cs_table_bytes(cs.pages), PROT_READ, MAP_SHARED, fds[1], 0);
    close(fds[1]);
    cs.table = table == MAP_FAILED ? NULL : table;
    cs.owned = calloc(cs.pages, sizeof *cs.owned);
    if (cs.table && cs.owned && cs.table->version == CS_LAYOUT_VERSION)
        return 0;
    err = -ENOMEM;
fail:
    cs_detach();
    return err;
}

static void forget(struct endpoint *e)
{
    if (e->memory)
        munmap(e->memory, e->bytes);
    if (e->fd >= 0) {
        cs.by_fd[e->fd] = 0;
        close(e->fd);
    }
    *e = (struct endpoint){.fd = -1};
}

void cs_detach(void)
{
    if (!cs.attached)
        return;
    cs_flush();
    for (int i = 0; i < ENDPOINTS; i++)
        forget(&cs.endpoint[i]);
    if (cs.table)
        munmap((void *)(uintptr_t)cs.table, cs_table_bytes(cs.pages));
    if (cs.data)
        munmap(cs.data, (size_t)cs.pages * CS_PAGE_SIZE);
    if (cs.data_fd >= 0)
        close(cs.data_fd);
    if (cs.doorbell >= 0)
        close(cs.doorbell);
    close(cs.control);
    free(cs.owned);
    memset(&cs, 0, sizeof cs);
}

static struct endpoint *find(int fd)
{
    if (!cs.attached || fd < 0 || fd >= MAX_FD || cs.by_fd[fd] == 0)
        return NULL;
    return &cs.endpoint[cs.by_fd[fd] - 1];
}

int cs_open_udp(uint32_t local, uint16_t local_port, uint32_t remote, uint16_t remote_port, int queue, int timeout_ms)
{
    struct cs_request q = {.call = CS_CALL_OPEN_UDP, .udp = {local, remote, local_port, remote_port, (uint32_t)queue}};
    struct cs_reply reply;
    int fds[CS_REPLY_FDS], err, i = 0;
    if (!cs.attached)
        return -ENOTCONN;
    while (i < ENDPOINTS && cs.endpoint[i].fd >= 0)
        i++;
    if (i == ENDPOINTS)
        return -EMFILE;
    if ((err = ask(&q, &reply, fds)) < 0)
        return err;
    struct endpoint *e = &cs.endpoint[i];
    size_t rx = (cs_ring_bytes(reply.opened.rx_capacity) + 63) & ~(size_t)63;
    size_t bytes = rx + ((cs_ring_bytes(reply.opened.tx_capacity) + 63) & ~(size_t)63);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fds[0], 0);
    err = memory == MAP_FAILED ? -errno : fds[1] >= MAX_FD ? -EMFILE : 0;
    close(fds[0]);
    if (err < 0) {
        close(fds[1]);
        q = (struct cs_request){.call = CS_CALL_CLOSE, .endpoint = reply.opened.endpoint};
        ask(&q, &reply, NULL);
        return err;
    }
    *e = (struct endpoint){
        .fd = fds[1], .number = reply.opened.endpoint, .memory = memory, .bytes = bytes, .timeout_ms = timeout_ms,
        .has_peer = remote != 0};
    cs_ring_init(&e->rx, memory, reply.opened.rx_capacity);
    cs_ring_init(&e->tx, (char *)memory + rx, reply.opened.tx_capacity);
    cs.by_fd[e->fd] = (uint8_t)(i + 1);
    return e->fd;
}

int cs_close(int fd)
{
    struct endpoint *e = find(fd);
    struct cs_request q = {.call = CS_CALL_CLOSE};
    struct cs_reply reply;
    if (!e)
        return -EBADF;
    cs_flush();
    q.endpoint = e->number;
    forget(e);
    return ask(&q, &reply, NULL);
}

static void ring_manager(void)
{
    const uint64_t one = 1;
    if (write(cs.doorbell, &one, sizeof one) < 0) {
        /* full: it has been rung */
    }
}

void cs_flush(void)
{
    bool ring = false;
    for (int i = 0; i < ENDPOINTS; i++) {
        struct endpoint *e = &cs.endpoint[i];
        if (e->unflushed) {
            e->unflushed = false;
            ring |= cs_ring_needs_doorbell(&e->tx);
        }
    }
    if (ring)
        ring_manager();
}

/* Sleep until the manager rings this endpoint. 0, -ETIMEDOUT, -EINTR, or -EPIPE when the manager is gone. */
static int await(struct endpoint *e)
{
    struct pollfd fds[2] = {{.fd = e->fd, .events = POLLIN}, {.fd = cs.control, .events = POLLIN}};
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

/* Wait for a descriptor to read; how many there are. */
static int64_t wait_readable(struct endpoint *e, int options)
{
    int64_t ready;
    int err = 0;
    while ((ready = cs_ring_ready(&e->rx)) == 0) {
        if (options & CS_DONTWAIT)
            return -EAGAIN;
        if (err < 0)
            return err;
        cs_flush();
        cs_ring_wait(&e->rx);
        if (cs_ring_ready(&e->rx) == 0) {
            if (atomic_load_explicit(&e->rx.shared->crowded, memory_order_relaxed))
                ring_manager();
            err = await(e);
        }
        cs_ring_awake(&e->rx);
    }
    return ready;
}

/* The page of a container that this process owns under exactly this identifier, or -EPERM / -EBADF. */
static int64_t mine(int cid)
{
    uint32_t page = cs_cid_page((uint32_t)cid);
    if (cid <= 0 || page >= cs.pages)
        return -EBADF;
    return cs.owned[page] == (uint32_t)cid ? (int64_t)page : -EPERM;
}

static int map_all(void)
{
    if (cs.data)
        return 0;
    void *data = mmap(NULL, (size_t)cs.pages * CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, cs.data_fd, 0);
    if (data == MAP_FAILED)
        return -errno;
    cs.data = data;
    return 0;
}

int cs_read(int fd, int size, int maxcon, struct cs_args *args, int options)
{
    struct endpoint *e = find(fd);
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
        if (page >= cs.pages)
            return -EPROTO;
        cs.owned[page] = d.cid;
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
            args->sizes[count] = (int)(cs.table->table[page].pages * CS_PAGE_SIZE);
        if (args->addrs)
            args->addrs[count] = options & CS_MAPALL ? cs.data + (size_t)page * CS_PAGE_SIZE : NULL;
        size -= len;
        count++;
    }
    cs_ring_release(&e->rx, used);
    return count;
}

/* Wait for room for count descriptors in the ring to the manager. */
static int wait_writable(struct endpoint *e, int count, int options)
{
    int waited = 0;
    int64_t space;
    while ((space = cs_ring_space(&e->tx)) >= 0 && space < count) {
        if (options & CS_DONTWAIT)
            return -EAGAIN;
        if (e->timeout_ms >= 0 && waited++ >= e->timeout_ms)
            return -ETIMEDOUT;
        /* the network holds the manager back; it looks again every millisecond, and so do we */
        e->unflushed = true;
        cs_flush();
        struct pollfd manager = {.fd = cs.control, .events = 0};
        if (poll(&manager, 1, 1) > 0)
            return -EPIPE;
    }
    return space < 0 ? (int)space : 0;
}

static int put(struct endpoint *e, int count, const int *cids, const int *offs, const int *lens, uint32_t flags)
{
    for (int i = 0; i < count; i++) {
        cs.owned[cs_cid_page((uint32_t)cids[i])] = 0;
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
    struct endpoint *e = find(fd);
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
        int64_t bytes = (int64_t)cs.table->table[page].pages * CS_PAGE_SIZE;
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
    if (!cs.attached)
        return -ENOTCONN;
    for (int i = 0; i < count; i++) {
        int64_t page = mine(cids[i]);
        if (page < 0)
            return (int)page;
    }
    int err = map_all();
    for (int i = 0; err == 0 && i < count; i++)
        addrs[i] = cs.data + (size_t)cs_cid_page((uint32_t)cids[i]) * CS_PAGE_SIZE;
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
    int err = ask(&q, &reply, NULL);
    if (err < 0)
        return err;
    memcpy(cids, reply.allocated.cids, reply.allocated.count * sizeof *cids);
    return (int)reply.allocated.count;
}

int cs_alloc(int size, void **addr, int options)
{
    uint32_t pages = ((uint32_t)size + CS_PAGE_SIZE - 1) / CS_PAGE_SIZE, cid;
    int err;
    if (!cs.attached)
        return -ENOTCONN;
    if (size <= 0 || pages > cs.pages)
        return -EINVAL;
    if (options & CS_MAPNOW && (err = map_all()) < 0)
        return err;
    if (pages == 1 && cs.cached == 0) {
        if ((err = more_from_manager(1, CS_ALLOC_BATCH, cs.cache)) < 0)
            return err;
        cs.cached = (uint32_t)err;
    }
    if (pages == 1)
        cid = cs.cache[--cs.cached];
    else if ((err = more_from_manager(pages, 1, &cid)) < 0)
        return err;
    cs.owned[cs_cid_page(cid)] = cid;
    if (addr)
        *addr = options & CS_MAPNOW ? cs.data + (size_t)cs_cid_page(cid) * CS_PAGE_SIZE : NULL;
    return (int)cid;
}

/* A single page is kept for the next cs_alloc (recycling); the rest goes back through any open ring. */
int cs_free(int count, const int *cids)
{
    for (int i = 0; i < count; i++) {
        int64_t page = mine(cids[i]);
        if (page < 0)
            return (int)page;
        if (cs.table->table[page].pages == 1 && cs.cached < CACHE) {
            cs.owned[page] = 0;
            cs.cache[cs.cached++] = (uint32_t)cids[i];
            continue;
        }
        struct endpoint *e = cs.endpoint;
        while (e < cs.endpoint + ENDPOINTS && (e->fd < 0 || cs_ring_space(&e->tx) <= 0))
            e++;
        if (e == cs.endpoint + ENDPOINTS)
            return -EAGAIN;
        put(e, 1, &cids[i], NULL, NULL, CS_DESC_FREE);
    }
    return 0;
}
