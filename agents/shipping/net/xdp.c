/* AF_XDP with the pool as UMEM, shared by a host's interfaces. Generic (SKB) mode on veth: the kernel's copy
 * between frame and UMEM stands for the adapter's DMA. Multi-buffer (XDP_USE_SG): a 4300-byte datagram spans
 * two 4 KiB chunks. Sources: Documentation/networking/af_xdp.rst, xsk.h of libxdp. */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include "backend.h"

/* Newer than Debian 12's headers (Linux 6.6). */
#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef XDP_PKT_CONTD
#define XDP_PKT_CONTD (1 << 0)
#endif
#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

enum { DROP_NO_PAGE, DROP_RING_FULL, DROP_BAD_SEND, DROP_FRAGMENTS, DROPS };

struct xdp_state {
    struct xsk_umem *umem; /* owned by the interface that made it; libxdp counts its users */
    struct xsk_socket *socket;
    struct xsk_ring_cons rx, completed;
    struct xsk_ring_prod tx, fill;
    int map_fd, program_fd, link_fd;
    uint32_t filled; /* pages in the fill ring or in flight to rx */
    uint32_t in_tx;
    uint32_t tx_size;
    cs_counter *drops[DROPS];
};

/* Every frame of the interface to the socket: the whole program is bpf_redirect_map(map, rx_queue, XDP_PASS). */
static int load_program(struct xdp_state *s)
{
    const struct bpf_insn program[] = {
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct xdp_md, rx_queue_index)},
        {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = s->map_fd},
        {0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = BPF_F_XDP_HAS_FRAGS);
    return bpf_prog_load(BPF_PROG_TYPE_XDP, "transship", "GPL", program, sizeof program / sizeof *program, &options);
}

static int attach_program(struct cs_netif *n, struct xdp_state *s)
{
    int key = 0, fd = xsk_socket__fd(s->socket);
    if ((s->map_fd = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "transship", sizeof key, sizeof fd, 1, NULL)) < 0)
        return -errno;
    if (bpf_map_update_elem(s->map_fd, &key, &fd, 0) < 0)
        return -errno;
    if ((s->program_fd = load_program(s)) < 0)
        return s->program_fd;
    /* A link, not a netlink attachment: it goes with its descriptor, also when we are killed. */
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = XDP_FLAGS_SKB_MODE);
    s->link_fd = bpf_link_create(s->program_fd, (int)if_nametoindex(n->name), BPF_XDP, &options);
    return s->link_fd < 0 ? s->link_fd : 0;
}

static void xdp_close(struct cs_netif *n)
{
    struct xdp_state *s = n->state;
    if (!s)
        return;
    if (s->link_fd >= 0)
        close(s->link_fd);
    if (s->program_fd >= 0)
        close(s->program_fd);
    if (s->map_fd >= 0)
        close(s->map_fd);
    if (s->socket)
        xsk_socket__delete(s->socket);
    if (s->umem && !n->sharing)
        xsk_umem__delete(s->umem);
    free(s);
    n->state = NULL;
}

static uint32_t power_of_two(uint32_t n)
{
    uint32_t p = 64;
    while (p < n)
        p *= 2;
    return p;
}

static int xdp_open(struct cs_netif *n, uint32_t queue)
{
    struct xdp_state *s = calloc(1, sizeof *s);
    uint32_t size = power_of_two(2 * queue);
    int err;
    if (!s)
        return -ENOMEM;
    n->state = s;
    s->map_fd = s->program_fd = s->link_fd = -1;
    s->tx_size = size;
    const struct xsk_umem_config umem = {.fill_size = size, .comp_size = size, .frame_size = CS_PAGE_SIZE};
    const struct xsk_socket_config config = {
        .rx_size = size,
        .tx_size = size,
        .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
        .bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP | XDP_USE_SG,
    };
    if (n->sharing) {
        s->umem = ((struct xdp_state *)n->sharing->state)->umem;
        err = xsk_socket__create_shared(&s->socket, n->name, 0, s->umem, &s->rx, &s->tx, &s->fill, &s->completed, &config);
    } else {
        err = xsk_umem__create(&s->umem, n->pool->data, (uint64_t)n->pool->pages * CS_PAGE_SIZE, &s->fill,
                               &s->completed, &umem);
        if (!err)
            err = xsk_socket__create(&s->socket, n->name, 0, s->umem, &s->rx, &s->tx, &config);
    }
    if (!err) {
        /* what is queued in the network is charged to the socket until it has left */
        const int bytes = IO_SEND_BUFFER;
        if (setsockopt(xsk_socket__fd(s->socket), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
            err = -errno;
    }
    if (!err)
        err = attach_program(n, s);
    if (err) {
        xdp_close(n);
        return err;
    }
    n->fd = xsk_socket__fd(s->socket);
    snprintf(n->mode, sizeof n->mode, "AF_XDP generic, copy at the adapter, multi-buffer");
    static const char *const names[DROPS] = {"drop_xsk_no_page", "drop_xsk_ring_full", "drop_xsk_bad_send",
                                              "drop_xsk_fragments"};
    for (int i = 0; i < DROPS; i++) {
        char name[CS_COUNTER_NAME];
        snprintf(name, sizeof name, "%s_%s", names[i], n->name);
        s->drops[i] = cs_counter_get(n->counters, name);
    }
    return 0;
}

static int xdp_receive(struct cs_netif *n, struct cs_frame *frames, int max)
{
    struct xdp_state *s = n->state;
    uint32_t index, ready = xsk_ring_cons__peek(&s->rx, (uint32_t)max * 2, &index), used = 0;
    int count = 0;
    struct cs_frame *f = &frames[0];
    f->parts = 0;
    for (uint32_t i = 0; i < ready && count < max; i++) {
        const struct xdp_desc *d = xsk_ring_cons__rx_desc(&s->rx, index + i);
        if (f->parts < CS_FRAME_PARTS)
            f->part[f->parts] = (struct cs_part){(uint32_t)(d->addr / CS_PAGE_SIZE), d->addr % CS_PAGE_SIZE, d->len};
        f->parts++;
        if (d->options & XDP_PKT_CONTD)
            continue;
        if (f->parts > CS_FRAME_PARTS) { /* more than a frame can have here: its pages go back */
            for (uint32_t k = used; k <= i; k++)
                cs_pool_give(n->pool, (uint32_t)(xsk_ring_cons__rx_desc(&s->rx, index + k)->addr / CS_PAGE_SIZE));
            cs_count(s->drops[DROP_FRAGMENTS], 1);
            f->parts = 0;
        } else if (++count < max) {
            f++;
            f->parts = 0;
        }
        used = i + 1;
    }
    /* the rest belongs to a frame that we would cut in two, or is beyond max */
    if (used < ready)
        xsk_ring_cons__cancel(&s->rx, ready - used);
    if (used)
        xsk_ring_cons__release(&s->rx, used);
    s->filled -= used;
    return count;
}

static void reap(struct cs_netif *n, struct xdp_state *s)
{
    uint32_t index, done;
    while ((done = xsk_ring_cons__peek(&s->completed, 256, &index)) > 0) {
        for (uint32_t i = 0; i < done; i++)
            cs_pool_give(n->pool, (uint32_t)(*xsk_ring_cons__comp_addr(&s->completed, index + i) / CS_PAGE_SIZE));
        xsk_ring_cons__release(&s->completed, done);
        s->in_tx -= done;
    }
}

static void refill(struct cs_netif *n, struct xdp_state *s, uint32_t target)
{
    uint32_t index, want = target > s->filled ? target - s->filled : 0;
    if (want > n->pool->free_count)
        want = n->pool->free_count;
    if (want == 0 || xsk_ring_prod__reserve(&s->fill, want, &index) != want)
        return;
    for (uint32_t i = 0; i < want; i++)
        *xsk_ring_prod__fill_addr(&s->fill, index + i) = (uint64_t)cs_pool_take(n->pool, CS_RECEIVING) * CS_PAGE_SIZE;
    xsk_ring_prod__submit(&s->fill, want);
    s->filled += want;
}

static uint32_t pending(struct xdp_state *s)
{
    return s->tx_size - xsk_prod_nb_free(&s->tx, s->tx_size);
}

/* Generic mode sends in the caller's context, a batch a call. Without progress the network holds us back. */
static int transmit(struct cs_netif *n, struct xdp_state *s)
{
    uint32_t before = UINT32_MAX, left;
    for (left = pending(s); left > 0 && left < before; left = pending(s)) {
        before = left;
        if (sendto(xsk_socket__fd(s->socket), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
            errno != EBUSY && errno != ENOBUFS)
            return -errno;
    }
    n->sending = left > 0;
    return 0;
}

static int xdp_send(struct cs_netif *n, const struct cs_frame *const *frames, uint32_t count)
{
    struct xdp_state *s = n->state;
    uint32_t index, taken = 0;
    for (; taken < count && s->in_tx + frames[taken]->parts <= s->tx_size; taken++) {
        const struct cs_frame *f = frames[taken];
        if (xsk_ring_prod__reserve(&s->tx, f->parts, &index) != f->parts)
            break;
        for (uint32_t i = 0; i < f->parts; i++)
            *xsk_ring_prod__tx_desc(&s->tx, index + i) = (struct xdp_desc){
                .addr = (uint64_t)f->part[i].page * CS_PAGE_SIZE + f->part[i].off,
                .len = f->part[i].len,
                .options = i + 1 < f->parts ? XDP_PKT_CONTD : 0,
            };
        xsk_ring_prod__submit(&s->tx, f->parts);
        s->in_tx += f->parts;
    }
    int err = transmit(n, s);
    return err < 0 ? err : (int)taken;
}

static int xdp_kick(struct cs_netif *n, uint32_t receiving)
{
    struct xdp_state *s = n->state;
    int err = n->sending ? transmit(n, s) : 0;
    reap(n, s);
    refill(n, s, receiving);
    return err;
}

static void xdp_statistics(struct cs_netif *n)
{
    struct xdp_state *s = n->state;
    struct xdp_statistics st;
    socklen_t size = sizeof st;
    if (getsockopt(xsk_socket__fd(s->socket), SOL_XDP, XDP_STATISTICS, &st, &size) < 0)
        return;
    /* rx_dropped: no page was left for the frame. rx_fill_ring_empty_descs counts looks, not frames. */
    cs_count_set(s->drops[DROP_NO_PAGE], st.rx_dropped);
    cs_count_set(s->drops[DROP_RING_FULL], st.rx_ring_full);
    cs_count_set(s->drops[DROP_BAD_SEND], st.tx_invalid_descs);
}

const struct cs_backend cs_backend_xdp = {
    "xdp", xdp_open, xdp_receive, xdp_send, xdp_kick, xdp_statistics, xdp_close,
};
