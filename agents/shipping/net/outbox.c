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

#include "io_system.h"
#include "packet_format.h"

/* Newer than Debian 12's headers (Linux 6.2). */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
    RUN_BYTES = 65507, /* an IPv4 datagram's worth of payload */
    RUN_FRAMES = 64,   /* segments that every kernel takes (udp(7)) */
    SINGLES = 64,
};

void cs_outbox_open(struct cs_outbox *out, struct cs_pool *pool, struct cs_counters *counters, const char *interface,
                    bool segmentation)
{
    const int one = 1, bytes = IO_SEND_BUFFER;
    /* protocol 0: it never receives */
    const struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
    char name[CS_COUNTER_NAME];
    out->pool = pool;
    out->first = out->count = 0;
    out->fd = -1;
    snprintf(name, sizeof name, "drop_send_%s", interface);
    out->drop_send = cs_counter_get(counters, name);
    snprintf(name, sizeof name, "segmented_%s", interface);
    out->segmented = cs_counter_get(counters, name);
    if (!segmentation || (out->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        return;
    if (setsockopt(out->fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0 ||
        setsockopt(out->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0 ||
        bind(out->fd, (const struct sockaddr *)&address, sizeof address) < 0)
        cs_outbox_close(out);
}

void cs_outbox_close(struct cs_outbox *out)
{
    if (out->fd >= 0)
        close(out->fd);
    out->fd = -1;
}

uint32_t cs_outbox_room(const struct cs_outbox *out)
{
    return CS_OUTBOX_FRAMES - out->count;
}

static const struct cs_frame *frame_at(const struct cs_outbox *out, uint32_t ahead)
{
    return &out->frame[(out->first + ahead) % CS_OUTBOX_FRAMES];
}

void cs_outbox_put(struct cs_outbox *out, const struct cs_frame *frame)
{
    struct cs_frame *to = &out->frame[(out->first + out->count++) % CS_OUTBOX_FRAMES];
    to->parts = frame->parts;
    to->flow = frame->flow;
    memcpy(to->part, frame->part, frame->parts * sizeof frame->part[0]);
}

static void done_with(struct cs_outbox *out, uint32_t frames)
{
    out->first = (out->first + frames) % CS_OUTBOX_FRAMES;
    out->count -= frames;
}

uint32_t cs_outbox_run(const struct cs_outbox *out, uint32_t from)
{
    const struct cs_frame *head = frame_at(out, from);
    uint32_t size = cs_frame_bytes(head) - CS_UDP_HEADROOM, sum = size, n = 1;
    if (out->fd < 0 || head->flow == 0 || size == 0)
        return 1;
    while (from + n < out->count && n < RUN_FRAMES) {
        const struct cs_frame *f = frame_at(out, from + n);
        uint32_t bytes = cs_frame_bytes(f) - CS_UDP_HEADROOM;
        /* of one size; the last may be shorter */
        if (f->flow != head->flow || bytes > size || bytes == 0 || (sum += bytes) > RUN_BYTES)
            break;
        n++;
        if (bytes < size)
            break;
    }
    return n;
}

/* One message of `count` frames: the first one's headers with the lengths of the whole, then only payload. */
static int send_run(struct cs_outbox *out, uint32_t count)
{
    struct iovec iov[2 + RUN_FRAMES * CS_FRAME_PARTS];
    uint8_t headers[CS_UDP_HEADROOM];
    const struct cs_frame *head = frame_at(out, 0);
    uint32_t n = 2, payload = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct cs_frame *f = frame_at(out, i);
        uint32_t skip = CS_UDP_HEADROOM; /* they are in the first part, whole */
        for (uint32_t k = 0; k < f->parts; k++, skip = 0) {
            if (f->part[k].len == skip)
                continue;
            iov[n++] = (struct iovec){out->pool->data + (size_t)f->part[k].page * CS_PAGE_SIZE + f->part[k].off + skip,
                                      f->part[k].len - skip};
            payload += f->part[k].len - skip;
        }
    }
    memcpy(headers, out->pool->data + (size_t)head->part[0].page * CS_PAGE_SIZE + head->part[0].off, sizeof headers);
    cs_packet_segmented(headers, payload);
    const struct virtio_net_hdr offload = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = VIRTIO_NET_HDR_GSO_UDP_L4,
        .hdr_len = sizeof headers,
        .gso_size = (uint16_t)(cs_frame_bytes(head) - CS_UDP_HEADROOM),
        .csum_start = CS_ETH_BYTES + CS_IPV4_BYTES,
        .csum_offset = 6,
    };
    iov[0] = (struct iovec){(void *)&offload, sizeof offload};
    iov[1] = (struct iovec){headers, sizeof headers};
    const struct msghdr message = {.msg_iov = iov, .msg_iovlen = n};
    return sendmsg(out->fd, &message, MSG_DONTWAIT) < 0 ? -errno : 0;
}

static void give_pages(struct cs_outbox *out, uint32_t frames)
{
    for (uint32_t i = 0; i < frames; i++) {
        const struct cs_frame *f = frame_at(out, i);
        for (uint32_t k = 0; k < f->parts; k++)
            cs_pool_give(out->pool, f->part[k].page);
    }
}

/* Frames before the next run; 0: the next is one. */
static uint32_t singles(const struct cs_outbox *out, const struct cs_frame **frames)
{
    uint32_t n = 0;
    for (; n < SINGLES && n < out->count && cs_outbox_run(out, n) == 1; n++)
        frames[n] = frame_at(out, n);
    return n;
}

int cs_outbox_flush(struct cs_outbox *out, struct cs_netif *n, const struct cs_frames_out *by)
{
    while (out->count > 0 && !by->busy(n)) {
        const struct cs_frame *frames[SINGLES];
        uint32_t alone = singles(out, frames);
        if (alone > 0) {
            int taken = by->send(n, frames, alone);
            if (taken < 0)
                return taken;
            done_with(out, (uint32_t)taken);
            if ((uint32_t)taken < alone)
                break;
            continue;
        }
        uint32_t run = cs_outbox_run(out, 0);
        int err = send_run(out, run);
        if (err == -EAGAIN || err == -ENOBUFS)
            break;
        if (err == -EINVAL) { /* a kernel before 6.2 cannot cut up UDP here: one by one from now on */
            cs_outbox_close(out);
            continue;
        }
        cs_count(err < 0 ? out->drop_send : out->segmented, run);
        give_pages(out, run);
        done_with(out, run);
    }
    return 0;
}
