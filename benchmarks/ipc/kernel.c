/* Ways through the kernel: a pipe, socket pairs, and pages put into a pipe without copying them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ways.h"

enum { PACKET = 128 << 10 }; /* the kernel keeps a packet in one piece, and large ones are hard to get */

const char *pages_of_splice = "";

static int nothing(struct link *l)
{
    (void)l;
    return 0;
}

static int prepare_pipe(struct link *l)
{
    if (pipe2(l->fd, O_CLOEXEC) < 0)
        return -errno;
    return fcntl(l->fd[1], F_SETPIPE_SZ, WAITING_BYTES) < 0 ? -errno : 0;
}

static int join_plain(struct link *l)
{
    close(l->fd[l->writes ? 0 : 1]);
    l->buffer = private_memory(l->size, NULL);
    l->data = l->touched ? l->buffer : NULL;
    return l->buffer ? 0 : -ENOMEM;
}

static int send_pipe(struct link *l)
{
    for (size_t done = 0; done < l->size;) {
        ssize_t n = write(l->fd[1], l->buffer + done, l->size - done);
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    return 0;
}

static int receive_pipe(struct link *l)
{
    for (size_t done = 0; done < l->size;) {
        ssize_t n = read(l->fd[0], l->buffer + done, l->size - done);
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        done += (size_t)n;
    }
    return 0;
}

const struct way way_pipe = {"pipe", prepare_pipe, join_plain, nothing, send_pipe, receive_pipe, nothing};

static int prepare_sockets(struct link *l, int type)
{
    const int bytes = WAITING_BYTES;
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, l->fd) < 0)
        return -errno;
    if (setsockopt(l->fd[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0 &&
        setsockopt(l->fd[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes) < 0)
        return -errno;
    return 0;
}

static int prepare_stream(struct link *l)
{
    return prepare_sockets(l, SOCK_STREAM);
}

const struct way way_stream = {"unix-stream", prepare_stream, join_plain, nothing, send_pipe, receive_pipe, nothing};

static int prepare_seqpacket(struct link *l)
{
    return prepare_sockets(l, SOCK_SEQPACKET);
}

static size_t packet(const struct link *l, size_t done)
{
    return l->size - done < PACKET ? l->size - done : PACKET;
}

static int send_seqpacket(struct link *l)
{
    for (size_t done = 0; done < l->size; done += packet(l, done))
        if (send(l->fd[1], l->buffer + done, packet(l, done), 0) < 0)
            return -errno;
    return 0;
}

static int receive_seqpacket(struct link *l)
{
    for (size_t done = 0; done < l->size; done += packet(l, done)) {
        ssize_t n = recv(l->fd[0], l->buffer + done, packet(l, done), 0);
        if (n != (ssize_t)packet(l, done))
            return n < 0 ? -errno : -EPIPE;
    }
    return 0;
}

const struct way way_seqpacket = {
    "unix-seqpacket", prepare_seqpacket, join_plain, nothing, send_seqpacket, receive_seqpacket, nothing};

/* The writer's pages are in the pipe until the reader has taken what is in them. A pipe holds at most
 * WAITING_BYTES / PAGE pages, a part of one counting as one, so a place may be written again after as many other
 * messages as can be in the pipe, wholly or in part. */
static size_t splice_places(const struct link *l)
{
    return WAITING_BYTES / (l->size < PAGE ? PAGE : l->size) + 4;
}

static int join_vmsplice(struct link *l)
{
    if (!l->writes && !l->touched) {
        close(l->fd[1]);
        return (l->fd[1] = open("/dev/null", O_WRONLY | O_CLOEXEC)) < 0 ? -errno : 0;
    }
    if (!l->writes)
        return join_plain(l);
    close(l->fd[0]);
    l->buffer_bytes = splice_places(l) * l->size;
    l->buffer = private_memory(l->buffer_bytes, &pages_of_splice);
    return l->buffer ? 0 : -ENOMEM;
}

static int begin_vmsplice(struct link *l)
{
    l->data = l->touched ? l->buffer + l->at : NULL;
    return 0;
}

static int send_vmsplice(struct link *l)
{
    for (size_t done = 0; done < l->size;) {
        struct iovec from = {l->buffer + l->at + done, l->size - done};
        ssize_t n = vmsplice(l->fd[1], &from, 1, 0);
        if (n < 0)
            return -errno;
        done += (size_t)n;
    }
    l->at = (l->at + l->size) % l->buffer_bytes;
    return 0;
}

/* Who looks at the bytes copies them once; who does not moves the pages on. */
static int receive_vmsplice(struct link *l)
{
    if (l->touched)
        return receive_pipe(l);
    for (size_t done = 0; done < l->size;) {
        ssize_t n = splice(l->fd[0], NULL, l->fd[1], NULL, l->size - done, SPLICE_F_MOVE);
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        done += (size_t)n;
    }
    return 0;
}

const struct way way_vmsplice = {"vmsplice",    prepare_pipe,     join_vmsplice, begin_vmsplice,
                                 send_vmsplice, receive_vmsplice, nothing};
