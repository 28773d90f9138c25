/* AF_PACKET, where AF_XDP cannot be had: frames are received into pairs of pool pages and sent from them with
 * scatter lists (packet(7)). The kernel's own stack sees every frame too, so a port in use gets a kernel
 * socket that drops all; that work is an honest cost of this back end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backend.h"

enum { BATCH = 64, HEADROOM = 256 };

struct packet_state {
    int fd;
    cs_counter *drop_full;
};

static void packet_close(struct cs_netif *n)
{
    struct packet_state *s = n->state;
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s);
    n->state = NULL;
}

static int packet_open(struct cs_netif *n, uint32_t queue)
{
    if (n->mtu + CS_ETH_BYTES > 2 * (CS_PAGE_SIZE - HEADROOM))
        return -EMSGSIZE; /* a frame is received into two pages */
    struct packet_state *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    n->state = s;
    /* protocol 0: nothing arrives before bind, so no frame of another interface gets in */
    s->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int bytes = (int)(queue * 2 * CS_PAGE_SIZE), send = IO_SEND_BUFFER, one = 1;
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(ETH_P_ALL),
        .sll_ifindex = (int)if_nametoindex(n->name),
    };
    if (address.sll_ifindex == 0) { /* it would mean all of them */
        packet_close(n);
        return -ENODEV;
    }
    if (s->fd < 0 || setsockopt(s->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0 ||
        setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &send, sizeof send) < 0 ||
        setsockopt(s->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) < 0 ||
        bind(s->fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int err = -errno;
        packet_close(n);
        return err;
    }
    n->fd = s->fd;
    snprintf(n->mode, sizeof n->mode, "AF_PACKET, copied into and out of the pool");
    char name[CS_COUNTER_NAME];
    snprintf(name, sizeof name, "drop_packet_full_%s", n->name);
    s->drop_full = cs_counter_get(n->counters, name);
    return 0;
}

static int packet_receive(struct cs_netif *n, struct cs_frame *frames, int max)
{
    struct packet_state *s = n->state;
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH][2];
    int count = 0;
    if (max > BATCH)
        max = BATCH;
    for (; count < max && n->pool->free_count >= 2; count++) {
        struct cs_frame *f = &frames[count];
        for (int i = 0; i < 2; i++) {
            f->part[i] = (struct cs_part){(uint32_t)cs_pool_take(n->pool, CS_RECEIVING), HEADROOM, CS_PAGE_SIZE - HEADROOM};
            iov[count][i] = (struct iovec){n->pool->data + (size_t)f->part[i].page * CS_PAGE_SIZE + HEADROOM,
                                           f->part[i].len};
        }
        messages[count] = (struct mmsghdr){.msg_hdr = {.msg_iov = iov[count], .msg_iovlen = 2}};
    }
    int got = count ? recvmmsg(s->fd, messages, (unsigned)count, MSG_DONTWAIT, NULL) : 0;
    if (got < 0)
        got = 0;
    for (int i = 0; i < count; i++) {
        struct cs_frame *f = &frames[i];
        uint32_t bytes = i < got ? messages[i].msg_len : 0, first = f->part[0].len;
        f->parts = i >= got ? 0 : bytes > first ? 2 : 1;
        f->part[0].len = bytes < first ? bytes : first;
        f->part[1].len = bytes < first ? 0 : bytes - first;
        for (uint32_t unused = f->parts; unused < 2; unused++)
            cs_pool_give(n->pool, f->part[unused].page);
    }
    return got;
}

static int packet_send(struct cs_netif *n, const struct cs_frame *const *frames, uint32_t count)
{
    struct packet_state *s = n->state;
    struct mmsghdr messages[BATCH];
    struct iovec iov[BATCH][CS_FRAME_PARTS];
    if (count > BATCH)
        count = BATCH;
    for (uint32_t k = 0; k < count; k++) {
        const struct cs_frame *f = frames[k];
        for (uint32_t i = 0; i < f->parts; i++)
            iov[k][i] = (struct iovec){
                n->pool->data + (size_t)f->part[i].page * CS_PAGE_SIZE + f->part[i].off, f->part[i].len};
        messages[k] = (struct mmsghdr){.msg_hdr = {.msg_iov = iov[k], .msg_iovlen = f->parts}};
    }
    int sent = sendmmsg(s->fd, messages, count, MSG_DONTWAIT);
    if (sent < 0) {
        if (errno == EAGAIN)
            return 0;
        /* the device refused this one frame */
        cs_count(n->out.drop_send, 1);
        sent = 1;
    }
    for (int i = 0; i < sent; i++)
        for (uint32_t part = 0; part < frames[i]->parts; part++)
            cs_pool_give(n->pool, frames[i]->part[part].page);
    return sent;
}

/* What it takes has left, and pages for arrivals are taken when they arrive. */
static int packet_kick(struct cs_netif *n, uint32_t receiving)
{
    (void)n;
    (void)receiving;
    return 0;
}

static void packet_statistics(struct cs_netif *n)
{
    struct packet_state *s = n->state;
    struct tpacket_stats st;
    socklen_t size = sizeof st;
    /* reading resets them (packet(7)) */
    if (getsockopt(s->fd, SOL_PACKET, PACKET_STATISTICS, &st, &size) == 0)
        cs_count(s->drop_full, st.tp_drops);
}

const struct cs_backend cs_backend_packet = {
    "packet", packet_open, packet_receive, packet_send, packet_kick, packet_statistics, packet_close,
};
