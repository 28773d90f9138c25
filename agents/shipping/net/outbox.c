#define _GNU_SOURCE
#include "outbox.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "backend.h"

/* Newer than Debian 12's headers (Linux 6.2). */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
    SINGLES = 64,
    PREFETCHED = 512, /* bytes */
};

static bool open_socket(struct cs_netif *n)
{
    const int one = 1, bytes = IO_SEND_BUFFER;
    /* protocol 0: it never receives */
    const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(n->name)};
    n->out.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return n->out.fd >= 0 && setsockopt(n->out.fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) == 0 &&
           setsockopt(n->out.fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) == 0 &&
           bind(n->out.fd, (const struct sockaddr *)&address, sizeof address) == 0;
}

void cs_outbox_open(struct cs_netif *n, bool segmentation)
{
    char name[CS_COUNTER_NAME];
    snprintf(name, sizeof name, "drop_send_%s", n->name);
    n->out.drop_send = cs_counter_get(n->counters, name);
    snprintf(name, sizeof name, "segmented_%s", n->name);
    n->out.segmented = cs_counter_get(n->counters, name);
    n->out.first = n->out.count = 0;
    n->out.run_bytes = UINT32_MAX;
    n->out.fd = -1;
    if (segmentation && !open_socket(n))
        cs_outbox_close(n);
}

void cs_outbox_close(struct cs_netif *n)
{
    if (n->out.fd >= 0)
        close(n->out.fd);
    n->out.fd = -1;
}

uint32_t cs_outbox_room(const struct cs_outbox *out)
{
    return CS_OUTBOX_FRAMES - out->count;
}

static struct cs_outgoing *at(struct cs_outbox *out, uint32_t ahead)
{
    return &out->queue[(out->first + ahead) % CS_OUTBOX_FRAMES];
}

void cs_outbox_put(struct cs_outbox *out, const struct cs_part *part, uint32_t parts, uint32_t bytes,
                   const struct cs_flow *flow, uint16_t id)
{
    struct cs_outgoing *o = at(out, out->count++);
    o->frame.parts = parts;
    for (uint32_t i = 0; i < parts; i++)
        o->frame.part[i] = part[i];
    o->bytes = bytes;
    o->id = id;
    o->complete = !flow;
    o->flow = flow ? *flow : (struct cs_flow){0};
}

static void done_with(struct cs_outbox *out, uint32_t frames)
{
    out->count -= frames;
    /* from the start again where it can be: those places are in the cache */
    out->first = out->count ? (out->first + frames) % CS_OUTBOX_FRAMES : 0;
}

static bool same_flow(const struct cs_outgoing *a, const struct cs_outgoing *b)
{
    return a->flow.to.ip == b->flow.to.ip && a->flow.to_port == b->flow.to_port && a->flow.from_port == b->flow.from_port &&
           memcmp(a->flow.to.mac, b->flow.to.mac, sizeof a->flow.to.mac) == 0;
}

uint32_t cs_outbox_run(const struct cs_outbox *out, uint32_t from)
{
    const struct cs_outgoing *head = &out->queue[(out->first + from) % CS_OUTBOX_FRAMES];
    uint32_t sum = head->bytes, n = 1;
    if (out->fd < 0 || head->complete || head->bytes == 0)
        return 1;
    while (from + n < out->count && n < CS_OUTBOX_RUN) {
        const struct cs_outgoing *o = &out->queue[(out->first + from + n) % CS_OUTBOX_FRAMES];
        /* of one size; the last may be shorter */
        if (o->complete || o->bytes > head->bytes || o->bytes == 0 || (sum += o->bytes) > out->run_bytes || !same_flow(o, head))
            break;
        n++;
        if (o->bytes < head->bytes)
            break;
    }
    return n;
}

static void *address(struct cs_netif *n, const struct cs_part *p)
{
    return n->pool->data + (size_t)p->page * CS_PAGE_SIZE + p->off;
}

/* One message of `count` datagrams: one set of headers with the lengths of the whole, then only payload. */
static int send_run(struct cs_netif *n, uint32_t count)
{
    struct iovec iov[2 + CS_OUTBOX_RUN * CS_FRAME_PARTS];
    uint8_t headers[CS_UDP_HEADROOM];
    const struct cs_outgoing *head = at(&n->out, 0);
    uint32_t used = 2, payload = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct cs_outgoing *o = at(&n->out, i);
        uint32_t skip = CS_UDP_HEADROOM;
        for (uint32_t k = 0; k < o->frame.parts; k++, skip = 0) {
            const struct cs_part *p = &o->frame.part[k];
            if (p->len > skip)
                iov[used++] = (struct iovec){(uint8_t *)address(n, p) + skip, p->len - skip};
            /* waited for long, and is copied next: the first lines now, the hardware sees where it goes from there */
            for (uint32_t line = 0; line < PREFETCHED && line < p->len; line += 64)
                __builtin_prefetch((uint8_t *)address(n, p) + line, 0, 2);
        }
        payload += o->bytes;
    }
    cs_packet_udp(headers, &n->address, &head->flow.to, head->flow.from_port, head->flow.to_port, head->id, payload);
    cs_packet_offload(headers);
    const struct virtio_net_hdr offload = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
        .hdr_len = sizeof headers,
        .gso_size = (uint16_t)head->bytes,
        .csum_start = CS_ETH_BYTES + CS_IPV4_BYTES,
        .csum_offset = 6,
    };
    iov[0] = (struct iovec){(void *)&offload, sizeof offload};
    iov[1] = (struct iovec){headers, sizeof headers};
    const struct msghdr message = {.msg_iov = iov, .msg_iovlen = used};
    return sendmsg(n->out.fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void give_pages(struct cs_netif *n, uint32_t frames)
{
    for (uint32_t i = 0; i < frames; i++) {
        const struct cs_frame *f = &at(&n->out, i)->frame;
        for (uint32_t k = 0; k < f->parts; k++)
            cs_pool_give(n->pool, f->part[k].page);
    }
}

/* Frames before the next run, with their headers; 0: the next is a run. */
static uint32_t singles(struct cs_netif *n, const struct cs_frame **frames)
{
    uint32_t count = 0;
    for (; count < SINGLES && count < n->out.count && cs_outbox_run(&n->out, count) == 1; count++) {
        struct cs_outgoing *o = at(&n->out, count);
        if (!o->complete)
            cs_packet_udp(address(n, &o->frame.part[0]), &n->address, &o->flow.to, o->flow.from_port, o->flow.to_port, o->id,
                          o->bytes);
        o->complete = true;
        frames[count] = &o->frame;
    }
    return count;
}

int cs_outbox_flush(struct cs_netif *n)
{
    while (n->out.count > 0 && !n->sending) { /* a run must not overtake what has not left */
        const struct cs_frame *frames[SINGLES];
        uint32_t alone = singles(n, frames);
        if (alone > 0) {
            int taken = n->backend->send(n, frames, alone);
            if (taken < 0)
                return taken;
            done_with(&n->out, (uint32_t)taken);
            if ((uint32_t)taken < alone)
                break;
            continue;
        }
        uint32_t run = cs_outbox_run(&n->out, 0);
        int err = send_run(n, run);
        if (err == -EAGAIN || err == -ENOBUFS)
            break;
        if (err == -EMSGSIZE || err == -EINVAL) {
            if (n->out.run_bytes > CS_UDP_MOST) /* no more than an adapter would take */
                n->out.run_bytes = CS_UDP_MOST;
            else /* a kernel before 6.2 cannot cut up UDP here: one by one from now on */
                cs_outbox_close(n);
            continue;
        }
        cs_count(err < 0 ? n->out.drop_send : n->out.segmented, run);
        give_pages(n, run);
        done_with(&n->out, run);
    }
    return 0;
}
