#define _GNU_SOURCE
#include "fake_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum { FILL = 8192, ROOM = 256 };

struct wire {
    int fd;
    uint32_t filled;
    uint32_t page[FILL];
    cs_counter *no_page;
};

int wire_ends[8], wires_opened;
uint32_t wire_first_part = CS_PAGE_SIZE - WIRE_HEADROOM, wire_room = ROOM;
_Atomic int *wire_stop;

static uint8_t *at(const struct cs_netif *n, const struct cs_part *p)
{
    return n->pool->data + (size_t)p->page * CS_PAGE_SIZE + p->off;
}

static int wire_open(struct cs_netif *n, uint32_t queue)
{
    struct wire *w = calloc(1, sizeof *w);
    (void)queue;
    if (!w)
        return -ENOMEM;
    w->fd = n->fd = wire_ends[wires_opened++];
    w->no_page = cs_counter_get(n->counters, "drop_wire_no_page");
    n->state = w;
    snprintf(n->mode, sizeof n->mode, "no network");
    return 0;
}

static int wire_receive(struct cs_netif *n, struct cs_frame *frames, int max)
{
    struct wire *w = n->state;
    int count = 0;
    while (count < max) {
        uint8_t bytes[CS_FRAME_PARTS * CS_PAGE_SIZE];
        ssize_t got = recv(w->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got <= 0)
            break;
        uint32_t left = (uint32_t)got, from = 0, room = wire_first_part;
        struct cs_frame *f = &frames[count];
        uint32_t rest = left > room ? left - room : 0, full = CS_PAGE_SIZE - WIRE_HEADROOM;
        if (1 + (rest + full - 1) / full > w->filled) {
            cs_count(w->no_page, 1);
            continue;
        }
        for (f->parts = 0; left > 0; room = full) {
            struct cs_part *p = &f->part[f->parts++];
            *p = (struct cs_part){w->page[--w->filled], WIRE_HEADROOM, left < room ? left : room};
            memcpy(at(n, p), bytes + from, p->len);
            from += p->len;
            left -= p->len;
        }
        count++;
    }
    return count;
}

static int wire_send(struct cs_netif *n, const struct cs_frame *const *frames, uint32_t count)
{
    struct wire *w = n->state;
    uint32_t sent = 0;
    for (; sent < count && sent < wire_room; sent++) {
        const struct cs_frame *f = frames[sent];
        struct iovec iov[CS_FRAME_PARTS];
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = f->parts};
        for (uint32_t i = 0; i < f->parts; i++)
            iov[i] = (struct iovec){at(n, &f->part[i]), f->part[i].len};
        if (sendmsg(w->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EAGAIN)
            break;
        for (uint32_t i = 0; i < f->parts; i++)
            cs_pool_give(n->pool, f->part[i].page);
    }
    return (int)sent;
}

static int wire_kick(struct cs_netif *n, uint32_t receiving)
{
    struct wire *w = n->state;
    for (int page; w->filled < receiving && w->filled < FILL && (page = cs_pool_take(n->pool, CS_RECEIVING)) >= 0;)
        w->page[w->filled++] = (uint32_t)page;
    if (wire_stop)
        *wire_stop = 1;
    return 0;
}

static void wire_statistics(struct cs_netif *n)
{
    (void)n;
}

static void wire_close(struct cs_netif *n)
{
    free(n->state);
    n->state = NULL;
}

const struct cs_backend cs_backend_xdp = {
    "wire", wire_open, wire_receive, wire_send, wire_kick, wire_statistics, wire_close,
};
