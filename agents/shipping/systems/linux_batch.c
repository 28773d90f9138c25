/* `linux-batch`: the best conventional code of today. Many datagrams a call (recvmmsg(2), sendmmsg(2)). */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "udp_socket.h"

struct batch {
    struct mmsghdr header[IO_BATCH];
    struct iovec iov[IO_BATCH];
};

static void prepare(struct batch *b, int i, uint8_t *memory, uint32_t bytes)
{
    b->iov[i] = (struct iovec){memory, bytes};
    b->header[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &b->iov[i], .msg_iovlen = 1}};
}

static int batch_read(struct io_channel *c, struct io_message *m, int max)
{
    struct batch b;
    int want = 0;
    for (int handle; want < max && want < IO_BATCH && (handle = io_buffers_take(&io_socket_buffers)) >= 0; want++) {
        m[want] = (struct io_message){.parts = 1, .part = {{handle, 0, 0}}};
        prepare(&b, want, io_buffers_at(&io_socket_buffers, handle), c->size);
    }
    if (want == 0)
        return -ENOBUFS;
    int got = recvmmsg(c->fd, b.header, (unsigned)want, MSG_WAITFORONE, NULL), err = errno;
    int kept = got < 0 ? 0 : got;
    for (int i = 0; i < kept; i++)
        m[i].part[0].len = (int)b.header[i].msg_len;
    for (int i = want - 1; i >= kept; i--)
        io_buffers_give(&io_socket_buffers, m[i].part[0].handle);
    if (got < 0 && err != EAGAIN && err != EINTR && err != ECONNREFUSED)
        return -err;
    return kept;
}

static int batch_write(struct io_channel *c, const struct io_message *m, int count)
{
    int done = 0;
    while (done < count) {
        struct batch b;
        int n = 0;
        for (; n < IO_BATCH && done + n < count; n++) {
            const struct io_part *p = &m[done + n].part[0];
            prepare(&b, n, io_buffers_at(&io_socket_buffers, p->handle) + p->off, (uint32_t)p->len);
        }
        int sent = sendmmsg(c->fd, b.header, (unsigned)n, 0);
        if (sent < 0) {
            if (errno == EINTR || errno == ECONNREFUSED)
                continue;
            return done ? done : errno == EAGAIN ? 0 : -errno;
        }
        for (int i = 0; i < sent; i++)
            io_buffers_give(&io_socket_buffers, m[done + i].part[0].handle);
        done += sent;
    }
    return count;
}

const struct io_system_ops io_linux_batch = {
    "linux-batch",   false,           io_socket_open, batch_read,      batch_write,
    io_socket_map, io_socket_alloc, io_socket_free, io_socket_close,
};
