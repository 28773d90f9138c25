/* `linux` on a local channel: an AF_UNIX stream socket, write(2) and read(2) of whole operations.
 *
 * The name is an abstract one of the network namespace. The first end to open it listens, the other connects; when both
 * are there the name is free again. Only what one connection needs is here: one process writes and one reads.
 *
 * Its frame buffer is memory of the display's own, to which it copies what it has read. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../devices/framebuffer.h"
#include "buffers.h"
#include "io_system.h"

enum { RENDEZVOUS_TRIES = 1000 };

struct io_channel {
    struct io_config config;
    int fd;       /* connected, or listening until the other end is there */
    bool waiting; /* it is the listening one */
    int handle;          /* of an operation that has come in part; -1: none */
    uint32_t have, sent; /* of the operation that is being read, and of that being written */
    struct cs_framebuffer_memory screen;
};

static struct io_buffers buffers;

/* The kernel charges a socket for its own structures too, and doubles what it is given for that (socket(7)). */
static int set_up(int fd, const struct io_config *c)
{
    struct timeval timeout = {.tv_sec = c->timeout_ms / 1000, .tv_usec = c->timeout_ms % 1000 * 1000};
    uint64_t want = (uint64_t)c->queue * c->size;
    int bytes = want > IO_SEND_BUFFER ? IO_SEND_BUFFER : (int)want;
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0)
        return -errno;
    return 0;
}

/* Connect to the end that is there, or be the one that waits. Between the bind and the listen of the other end neither
 * can be had. */
static int meet(struct io_channel *c, const struct sockaddr_un *name, socklen_t bytes)
{
    for (int tries = 0; tries < RENDEZVOUS_TRIES; tries++) {
        if (connect(c->fd, (const struct sockaddr *)name, bytes) == 0)
            return 0;
        if (errno != ECONNREFUSED)
            return -errno;
        if (bind(c->fd, (const struct sockaddr *)name, bytes) == 0) {
            c->waiting = true;
            return listen(c->fd, 1) < 0 ? -errno : 0;
        }
        if (errno != EADDRINUSE)
            return -errno;
        poll(NULL, 0, 1);
    }
    return -EADDRINUSE;
}

static void stream_close(struct io_channel *c)
{
    if (c->fd >= 0)
        close(c->fd);
    if (c->screen.shared)
        cs_framebuffer_free(&c->screen);
    io_buffers_close(&buffers);
    free(c);
}

static int open_socket(struct io_channel *c)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    static const char prefix[] = "transship-";
    size_t bytes = strlen(c->config.channel);
    if (sizeof prefix + bytes > sizeof name.sun_path)
        return -ENAMETOOLONG;
    memcpy(name.sun_path + 1, prefix, sizeof prefix - 1); /* a zero byte first: abstract (unix(7)) */
    memcpy(name.sun_path + sizeof prefix, c->config.channel, bytes);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int err = c->fd < 0 ? -errno : set_up(c->fd, &c->config);
    return err < 0 ? err : meet(c, &name, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof prefix + bytes));
}

static int stream_open(const struct io_config *config, struct io_channel **out)
{
    int err = io_buffers_open(&buffers, config->size, IO_OPERATION_BUFFERS);
    if (err < 0)
        return err;
    struct io_channel *c = calloc(1, sizeof *c);
    if (!c) {
        io_buffers_close(&buffers);
        return -ENOMEM;
    }
    *c = (struct io_channel){.config = *config, .fd = -1, .handle = -1};
    err = config->framebuffer ? cs_framebuffer_make(&c->screen, config->framebuffer) : open_socket(c);
    if (err < 0) {
        stream_close(c);
        return err;
    }
    *out = c;
    return 0;
}

/* 1: the other end is there; 0: not yet; or -errno. */
static int connected(struct io_channel *c)
{
    if (!c->waiting)
        return 1;
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    close(c->fd);
    c->fd = fd;
    c->waiting = false;
    int err = set_up(fd, &c->config); /* it has none of the listener's options */
    return err < 0 ? err : 1;
}

static int stream_read(struct io_channel *c, struct io_message *m, int max)
{
    (void)max;
    int there = connected(c);
    if (there <= 0)
        return there;
    if (c->handle < 0 && (c->handle = io_buffers_take(&buffers)) < 0)
        return -ENOBUFS;
    ssize_t got = recv(c->fd, io_buffers_at(&buffers, c->handle) + c->have, c->config.size - c->have,
                       c->config.pieces ? 0 : MSG_WAITALL);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (got == 0) /* what there may be of an operation is not one */
        return -ENODATA;
    c->have += (uint32_t)got;
    if (c->have < c->config.size && !c->config.pieces)
        return 0;
    *m = (struct io_message){.parts = 1, .part = {{c->handle, 0, (int)c->have}}};
    c->handle = -1;
    c->have = 0;
    return 1;
}

static int draw(struct io_channel *c, const struct io_message *m, int count)
{
    for (int i = 0; i < count; i++) {
        const struct io_part *p = &m[i].part[0];
        int err = cs_framebuffer_show(&c->screen, io_buffers_at(&buffers, p->handle) + p->off, (size_t)p->len, NULL);
        if (err < 0)
            return i ? i : err;
        io_buffers_give(&buffers, p->handle);
    }
    return count;
}

static int stream_write(struct io_channel *c, const struct io_message *m, int count)
{
    if (c->config.framebuffer)
        return draw(c, m, count);
    int there = connected(c);
    if (there <= 0)
        return there;
    for (int i = 0; i < count; i++) {
        const struct io_part *p = &m[i].part[0];
        while (c->sent < (uint32_t)p->len) { /* after a time-out it is called with the same operation again */
            ssize_t sent = send(c->fd, io_buffers_at(&buffers, p->handle) + p->off + c->sent, (size_t)p->len - c->sent,
                                MSG_NOSIGNAL);
            if (sent < 0) {
                int err = errno == ECONNRESET ? EPIPE : errno; /* a reader that left some unread has gone all the same */
                return err == EAGAIN || err == EINTR || i ? i : -err;
            }
            c->sent += (uint32_t)sent;
        }
        c->sent = 0;
        io_buffers_give(&buffers, p->handle);
    }
    return count;
}

static int stream_map(struct io_channel *c, const struct io_message *m, void **addrs)
{
    (void)c;
    addrs[0] = io_buffers_at(&buffers, m->part[0].handle);
    return 0;
}

static int stream_alloc(struct io_channel *c, int size, struct io_message *m)
{
    int handle = (uint32_t)size <= c->config.size ? io_buffers_take(&buffers) : -1;
    *m = (struct io_message){.parts = 1, .part = {{handle, 0, size}}};
    return handle < 0 ? -ENOBUFS : 0;
}

static void stream_free(struct io_channel *c, const struct io_message *m, int count)
{
    (void)c;
    for (int i = 0; i < count; i++)
        io_buffers_give(&buffers, m[i].part[0].handle);
}

const struct io_system_ops io_linux_stream = {
    "linux",    false,        stream_open, stream_read,  stream_write,
    stream_map, stream_alloc, stream_free, stream_close, NULL,
};
