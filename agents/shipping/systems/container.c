#include "container.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "cs.h"

/* Left free in front of new data, so that the manager needs no page of its own for the headers. */
enum { HEADROOM = 64 };

static int attachments;

static int open_framebuffer(const struct io_config *config)
{
    struct cs_framebuffer geometry = *config->framebuffer;
    int fd = cs_open_framebuffer(config->channel, config->timeout_ms);
    int err = fd < 0 ? fd : cs_ioctl(fd, CS_SET_FRAMEBUFFER, &geometry);
    if (err < 0 && fd >= 0)
        cs_close(fd);
    return err < 0 ? err : fd;
}

int io_container_open(const struct io_config *config, struct io_channel **out)
{
    struct io_channel *c = calloc(1, sizeof *c);
    int err = -ENOMEM;
    if (!c)
        return err;
    if (attachments == 0 && (err = cs_attach(config->manager_socket)) < 0) {
        free(c);
        return err;
    }
    attachments++;
    c->size = config->size;
    c->local = config->channel != NULL;
    c->ahead = !config->framebuffer ? -1 : config->shown ? 0 : (int)config->queue;
    c->timeout_ms = config->timeout_ms;
    c->fd = config->framebuffer ? open_framebuffer(config)
            : c->local          ? cs_open_channel(config->channel, (int)config->queue, config->timeout_ms)
                                : cs_open_udp(config->local, config->local_port, config->remote, config->remote_port,
                                              (int)config->queue, config->timeout_ms);
    if (c->fd < 0) {
        err = c->fd;
        io_container_close(c);
        return err;
    }
    *out = c;
    return 0;
}

void io_container_close(struct io_channel *c)
{
    if (c->fd >= 0)
        cs_close(c->fd);
    if (--attachments == 0)
        cs_detach();
    free(c);
}

int io_container_read(struct io_channel *c, struct io_message *m, int options)
{
    int cids[IO_PARTS], offs[IO_PARTS], lens[IO_PARTS];
    struct cs_args args = {.cids = cids, .offs = offs, .lens = lens};
    int n = cs_read(c->fd, (int)c->size, IO_PARTS, &args, options);
    if (n == 0)
        return -ENODATA;
    if (n < 0)
        return n == -EAGAIN || n == -ETIMEDOUT || n == -EINTR ? 0 : n;
    m->parts = n;
    for (int i = 0; i < n; i++)
        m->part[i] = (struct io_part){cids[i], offs[i], lens[i]};
    return 1;
}

int io_container_write(struct io_channel *c, const struct io_message *m, int options)
{
    int cids[IO_PARTS], offs[IO_PARTS], lens[IO_PARTS];
    for (int i = 0; i < m->parts; i++) {
        cids[i] = m->part[i].handle;
        offs[i] = m->part[i].off;
        lens[i] = m->part[i].len;
    }
    int err = cs_write(c->fd, m->parts, cids, offs, lens, options);
    if (err == 0 && c->ahead >= 0) {
        int drawn = cs_ioctl(c->fd, CS_DRAIN, &c->ahead);
        return drawn == 0 || drawn == -ETIMEDOUT || drawn == -EINTR ? 1 : drawn; /* written it is */
    }
    return err == 0 ? 1 : err == -EAGAIN || err == -ETIMEDOUT ? 0 : err;
}

int io_container_map(struct io_channel *c, const struct io_message *m, void **addrs)
{
    int cids[IO_PARTS];
    (void)c;
    for (int i = 0; i < m->parts; i++)
        cids[i] = m->part[i].handle;
    return cs_map(m->parts, cids, addrs, 0);
}

/* An operation is one container. When there is no memory for it, what is on its way has to come back first; nothing
 * rings for that, and it happens only where the pool is too small for the channel's queue. */
static int alloc_operation(struct io_channel *c, int size, struct io_message *m)
{
    int cid = cs_alloc(size, NULL, 0);
    for (int ms = 0; cid == -ENOBUFS && ms < c->timeout_ms; ms++) {
        cs_flush();
        poll(NULL, 0, 1);
        cid = cs_alloc(size, NULL, 0);
    }
    *m = (struct io_message){.parts = cid > 0, .part = {{cid, 0, size}}};
    return cid < 0 ? cid : 0;
}

int io_container_alloc(struct io_channel *c, int size, struct io_message *m)
{
    if (c->local)
        return alloc_operation(c, size, m);
    int left = size, off = HEADROOM;
    m->parts = 0;
    do { /* an empty datagram is a message too */
        int len = left < CS_PAGE_SIZE - off ? left : CS_PAGE_SIZE - off;
        int cid = m->parts < IO_PARTS ? cs_alloc(CS_PAGE_SIZE, NULL, 0) : -EMSGSIZE;
        if (cid < 0) {
            io_container_free(c, m, 1);
            return cid;
        }
        m->part[m->parts++] = (struct io_part){cid, off, len};
        left -= len;
        off = 0;
    } while (left > 0);
    return 0;
}

void io_container_free(struct io_channel *c, const struct io_message *m, int count)
{
    (void)c;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < m[i].parts; k++)
            cs_free(1, &m[i].part[k].handle);
}
