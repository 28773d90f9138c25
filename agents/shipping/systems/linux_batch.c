/* `linux-batch`: the best conventional code of today. Many datagrams a call (recvmmsg(2), sendmmsg(2)), and runs
 * of equal size as one message that the kernel cuts up after its stack (UDP_SEGMENT, udp(7)). */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "udp_socket.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

/* What one message may carry: an IPv4 datagram's worth of payload (the kernel allows 64 segments and more). */
enum { RUN_BYTES = 65507 };

static int batch_read(struct io_channel *c, struct io_message *m, int max)
{
    struct mmsghdr header[IO_BATCH];
    struct iovec iov[IO_BATCH];
    int want = 0;
    for (int handle; want < max && want < IO_BATCH && (handle = io_buffers_take(&io_socket_buffers)) >= 0; want++) {
        io_message_one(&m[want], handle, 0, 0);
        iov[want] = (struct iovec){io_buffers_at(&io_socket_buffers, handle), c->wanted};
        header[want] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[want], .msg_iovlen = 1}};
    }
    if (want == 0)
        return -ENOBUFS;
    int got = recvmmsg(c->fd, header, (unsigned)want, MSG_WAITFORONE | MSG_TRUNC, NULL), err = errno;
    int kept = got < 0 ? 0 : got;
    for (int i = 0; i < kept; i++)
        m[i].part[0].len = (int)header[i].msg_len;
    for (int i = want - 1; i >= kept; i--)
        io_buffers_give(&io_socket_buffers, m[i].part[0].handle);
    if (got < 0 && err != EAGAIN && err != EINTR && err != ECONNREFUSED)
        return -err;
    return kept;
}

/* Messages that can leave as one: of one size, the last perhaps shorter. At least 1. */
static int run_length(const struct io_message *m, int count)
{
    int size = m[0].part[0].len, n = 1;
    while (n < count && (n + 1) * size <= RUN_BYTES && m[n].part[0].len <= size && m[n].part[0].len > 0)
        if (m[n++].part[0].len < size)
            break;
    return n;
}

struct run {
    struct iovec iov[IO_BATCH];
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control;
    int count;
};

static struct msghdr prepare(struct run *r, const struct io_message *m, int count)
{
    struct msghdr header = {.msg_iov = r->iov, .msg_iovlen = (size_t)count};
    r->count = count;
    for (int i = 0; i < count; i++)
        r->iov[i] = (struct iovec){io_buffers_at(&io_socket_buffers, m[i].part[0].handle) + m[i].part[0].off,
                                   (size_t)m[i].part[0].len};
    if (count > 1) {
        const uint16_t size = (uint16_t)m[0].part[0].len;
        header.msg_control = r->control.bytes;
        header.msg_controllen = sizeof r->control.bytes;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = IPPROTO_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(c), &size, sizeof size);
    }
    return header;
}

static int batch_write(struct io_channel *c, const struct io_message *m, int count)
{
    enum { RUNS = 8 };
    static _Thread_local struct run runs[RUNS];
    int done = 0;
    while (done < count) {
        struct mmsghdr header[RUNS];
        int n = 0, taken = done;
        for (; n < RUNS && taken < count; taken += runs[n++].count)
            header[n].msg_hdr = prepare(&runs[n], m + taken, run_length(m + taken, count - taken));
        int sent = sendmmsg(c->fd, header, (unsigned)n, 0);
        if (sent < 0) {
            if (errno == EINTR || errno == ECONNREFUSED)
                continue;
            return done ? done : errno == EAGAIN ? 0 : -errno;
        }
        for (int i = 0; i < sent; i++)
            for (int k = 0; k < runs[i].count; k++)
                io_buffers_give(&io_socket_buffers, m[done++].part[0].handle);
    }
    return count;
}

const struct io_system_ops io_linux_batch = {
    "linux-batch",   false,           io_socket_open, batch_read,      batch_write,
    io_socket_map, io_socket_alloc, io_socket_free, io_socket_close, NULL,
};
