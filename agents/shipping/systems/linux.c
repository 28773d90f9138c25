/* `linux`: what Unix programs do. One datagram a call, into and out of the process's own memory. */
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#include "udp_socket.h"

static int linux_read(struct io_channel *c, struct io_message *m, int max)
{
    (void)max;
    int handle = io_buffers_take(&io_socket_buffers);
    if (handle < 0)
        return -ENOBUFS;
    ssize_t got = recv(c->fd, io_buffers_at(&io_socket_buffers, handle), c->wanted, MSG_TRUNC);
    if (got < 0) {
        int err = errno;
        io_buffers_give(&io_socket_buffers, handle);
        /* an ICMP error for something sent earlier (udp(7)) is not an error of this read */
        return err == EAGAIN || err == EINTR || err == ECONNREFUSED ? 0 : -err;
    }
    io_message_one(m, handle, 0, (int)got);
    return 1;
}

static int linux_write(struct io_channel *c, const struct io_message *m, int count)
{
    for (int i = 0; i < count; i++) {
        const struct io_part *p = &m[i].part[0];
        ssize_t sent;
        do
            sent = send(c->fd, io_buffers_at(&io_socket_buffers, p->handle) + p->off, (size_t)p->len, 0);
        while (sent < 0 && (errno == EINTR || errno == ECONNREFUSED));
        if (sent < 0)
            return i ? i : errno == EAGAIN ? 0 : -errno;
        io_buffers_give(&io_socket_buffers, p->handle);
    }
    return count;
}

const struct io_system_ops io_linux = {
    "linux",         false,           io_socket_open, linux_read,      linux_write,
    io_socket_map, io_socket_alloc, io_socket_free, io_socket_close, NULL,
};
