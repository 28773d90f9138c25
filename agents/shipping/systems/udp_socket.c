#define _GNU_SOURCE
#include "udp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

struct io_buffers io_socket_buffers;

/* What a waiting datagram is charged: kmalloc rounds the data up to a power of two (a 4300-byte one occupies
 * 8 KiB), and the skb itself comes on top. An estimate on the large side: too small a figure makes the queue short. */
static int charge(uint32_t size)
{
    uint32_t data = 1024;
    while (data < size + 512)
        data *= 2;
    return (int)(data + 1024);
}

static int set_up(int fd, const struct io_config *c)
{
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(c->local_port), .sin_addr.s_addr = htonl(c->local)};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(c->remote_port), .sin_addr.s_addr = htonl(c->remote)};
    struct timeval timeout = {.tv_sec = c->timeout_ms / 1000, .tv_usec = c->timeout_ms % 1000 * 1000};
    int64_t want = (int64_t)c->queue * charge(c->size) / 2; /* the kernel doubles it (socket(7)) */
    int receive = want > INT32_MAX / 2 ? INT32_MAX / 2 : (int)want, send = IO_SEND_BUFFER;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof receive) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof send) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0 ||
        bind(fd, (struct sockaddr *)&local, sizeof local) < 0)
        return -errno;
    if (c->remote && connect(fd, (struct sockaddr *)&remote, sizeof remote) < 0)
        return -errno;
    return 0;
}

int io_socket_open(const struct io_config *config, struct io_channel **out)
{
    struct io_channel *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    int err = io_buffers_open(&io_socket_buffers, config->size, IO_DATAGRAM_BUFFERS);
    if (err < 0) {
        free(c);
        return err;
    }
    c->size = config->size;
    c->wanted = config->wanted && config->wanted < config->size ? config->wanted : config->size;
    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    err = c->fd < 0 ? -errno : set_up(c->fd, config);
    if (err < 0) {
        io_socket_close(c);
        return err;
    }
    *out = c;
    return 0;
}

int io_socket_map(struct io_channel *c, const struct io_message *m, void **addrs)
{
    (void)c;
    addrs[0] = io_buffers_at(&io_socket_buffers, m->part[0].handle);
    return 0;
}

int io_socket_alloc(struct io_channel *c, int size, struct io_message *m)
{
    int handle = (uint32_t)size <= c->size ? io_buffers_take(&io_socket_buffers) : -1;
    io_message_one(m, handle, 0, size);
    return handle < 0 ? -ENOBUFS : 0;
}

void io_socket_free(struct io_channel *c, const struct io_message *m, int count)
{
    (void)c;
    for (int i = 0; i < count; i++)
        io_buffers_give(&io_socket_buffers, m[i].part[0].handle);
}

void io_socket_close(struct io_channel *c)
{
    if (c->fd >= 0)
        close(c->fd);
    io_buffers_close(&io_socket_buffers);
    free(c);
}
