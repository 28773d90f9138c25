/* The bound of `bench forwarding`: what a forwarder over AF_XDP costs when it does nothing else.
 *
 * One process, two sockets, one UMEM. Descriptors go straight from the receive ring of one interface to the
 * transmit ring of the other; the addresses of each datagram are rewritten where it lies. There is no owner of a
 * page, no second process, no UDP path, no ARP (the kernel answers that: only IPv4 is redirected), and nothing is
 * checked. What does matter to speed is as in agents/shipping/net/xdp.c: generic mode, multi-buffer, blocking
 * poll when idle, batches, pages reused last in first out, the same queues.
 *
 * raw NETNS IN OUT FROM_MAC TO_MAC FROM_IP TO_IP QUEUE
 * "ready" on standard output, then the counts as a JSON object after SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xdp/xsk.h>

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

enum { PAGE = 4096, PARTS = 2, BATCH = 64, IDLE_MS = 100, RETRY_MS = 1 };
enum { ETHERNET_BYTES = 14, AT_CHECKSUM = 10, AT_FROM = 12, AT_UDP_CHECKSUM = 26 }; /* the latter in the IP header */

struct port {
    struct xsk_socket *socket;
    struct xsk_ring_cons rx, completed;
    struct xsk_ring_prod tx, fill;
    uint32_t filled, in_tx;
};

static struct port in, out;
static uint32_t ring_size, free_pages, *free_list;
static uint8_t *data, macs[12];     /* destination, then source: as the frame has them */
static uint16_t ips[4];             /* source, then destination */
static volatile sig_atomic_t stopped;
static uint64_t received, sent, wakeups, sends;

static void fail(const char *attempt, int error)
{
    fprintf(stderr, "raw forwarder: cannot %s: %s\n", attempt, strerror(error));
    exit(1);
}

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

/* bpf_redirect_map(map, rx_queue, XDP_PASS) for IPv4; everything else goes to the kernel. */
static void attach(struct port *p, const char *name)
{
    int key = 0, socket = xsk_socket__fd(p->socket), map, loaded;
    if ((map = bpf_map_create(BPF_MAP_TYPE_XSKMAP, "raw", sizeof key, sizeof socket, 1, NULL)) < 0 ||
        bpf_map_update_elem(map, &key, &socket, 0) < 0)
        fail("make a socket map", errno);
    const struct bpf_insn program[] = {
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct xdp_md, data)},
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 3, .src_reg = 1, .off = offsetof(struct xdp_md, data_end)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 4, .src_reg = 2},
        {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 4, .imm = ETHERNET_BYTES},
        {.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = 4, .src_reg = 3, .off = 8},
        {.code = BPF_LDX | BPF_MEM | BPF_H, .dst_reg = 5, .src_reg = 2, .off = 12},
        {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 5, .off = 6, .imm = htons(0x0800)},
        {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct xdp_md, rx_queue_index)},
        {.code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map},
        {0},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map},
        {.code = BPF_JMP | BPF_EXIT},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
        {.code = BPF_JMP | BPF_EXIT},
    };
    LIBBPF_OPTS(bpf_prog_load_opts, load, .prog_flags = BPF_F_XDP_HAS_FRAGS);
    LIBBPF_OPTS(bpf_link_create_opts, link, .flags = XDP_FLAGS_SKB_MODE);
    if ((loaded = bpf_prog_load(BPF_PROG_TYPE_XDP, "raw", "GPL", program, sizeof program / sizeof *program, &load)) < 0)
        fail("load the XDP program", errno);
    if (bpf_link_create(loaded, (int)if_nametoindex(name), BPF_XDP, &link) < 0)
        fail("attach the XDP program", errno);
}

static void open_ports(const char *in_name, const char *out_name, uint32_t queue)
{
    const uint32_t pages = 2 * queue * 4 + 4096; /* as the manager's pool */
    struct xsk_umem *umem;
    int err, bytes = (int)(queue * PARTS * PAGE);
    for (ring_size = 64; ring_size < PARTS * queue;)
        ring_size *= 2;
    const struct xsk_umem_config memory = {.fill_size = ring_size, .comp_size = ring_size, .frame_size = PAGE};
    const struct xsk_socket_config config = {
        .rx_size = ring_size,
        .tx_size = ring_size,
        .libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD,
        .bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP | XDP_USE_SG,
    };
    data = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    free_list = calloc(pages, sizeof *free_list);
    if (data == MAP_FAILED || !free_list)
        fail("allocate pages", errno);
    for (uint32_t i = 0; i < pages; i++)
        free_list[free_pages++] = pages - 1 - i;
    if ((err = xsk_umem__create(&umem, data, (uint64_t)pages * PAGE, &in.fill, &in.completed, &memory)))
        fail("register the pages", -err);
    if ((err = xsk_socket__create(&in.socket, in_name, 0, umem, &in.rx, &in.tx, &config)))
        fail("open the receiving socket", -err);
    if ((err = xsk_socket__create_shared(&out.socket, out_name, 0, umem, &out.rx, &out.tx, &out.fill, &out.completed,
                                         &config)))
        fail("open the sending socket", -err);
    if (setsockopt(xsk_socket__fd(out.socket), SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        fail("set the send buffer", errno);
    attach(&in, in_name);
}

/* New addresses, and the IP header's checksum brought up to date with them (RFC 1624). The UDP checksum is left to
 * the adapter by the sender, so what stands there is not one: 0 means none (RFC 768). */
static void rewrite(uint8_t *frame)
{
    uint16_t *ip = (uint16_t *)(void *)(frame + ETHERNET_BYTES);
    uint32_t sum = (uint16_t)~ip[AT_CHECKSUM / 2];
    memcpy(frame, macs, sizeof macs);
    for (int i = 0; i < 4; i++) {
        sum += (uint16_t)~ip[AT_FROM / 2 + i] + (uint32_t)ips[i];
        ip[AT_FROM / 2 + i] = ips[i];
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum += sum >> 16;
    ip[AT_CHECKSUM / 2] = (uint16_t)~sum;
    ip[AT_UDP_CHECKSUM / 2] = 0;
}

static uint32_t forward(void)
{
    uint32_t room = ring_size - out.in_tx, want = room < PARTS * BATCH ? room : PARTS * BATCH, from, to;
    uint32_t ready = xsk_ring_cons__peek(&in.rx, want, &from), whole = ready;
    while (whole > 0 && xsk_ring_cons__rx_desc(&in.rx, from + whole - 1)->options & XDP_PKT_CONTD)
        whole--;
    if (whole < ready)
        xsk_ring_cons__cancel(&in.rx, ready - whole);
    if (whole == 0 || xsk_ring_prod__reserve(&out.tx, whole, &to) != whole)
        return 0;
    bool first = true;
    for (uint32_t i = 0; i < whole; i++) {
        const struct xdp_desc *d = xsk_ring_cons__rx_desc(&in.rx, from + i);
        if (first)
            rewrite(data + d->addr);
        first = !(d->options & XDP_PKT_CONTD);
        received += first;
        *xsk_ring_prod__tx_desc(&out.tx, to + i) = (struct xdp_desc){d->addr, d->len, d->options & XDP_PKT_CONTD};
    }
    xsk_ring_prod__submit(&out.tx, whole);
    xsk_ring_cons__release(&in.rx, whole);
    in.filled -= whole;
    out.in_tx += whole;
    return whole;
}

static uint32_t pending(void)
{
    return ring_size - xsk_prod_nb_free(&out.tx, ring_size);
}

/* Generic mode sends in the caller's context, a batch a call; without progress the network holds us back. */
static uint32_t kick(void)
{
    uint32_t before = UINT32_MAX, left;
    for (left = pending(); left > 0 && left < before; left = pending()) {
        before = left;
        sends++;
        if (sendto(xsk_socket__fd(out.socket), NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
            errno != EBUSY && errno != ENOBUFS)
            fail("send", errno);
    }
    return left;
}

static void recycle(uint32_t target)
{
    uint32_t at, done;
    while ((done = xsk_ring_cons__peek(&out.completed, 256, &at)) > 0) {
        for (uint32_t i = 0; i < done; i++)
            free_list[free_pages++] = (uint32_t)(*xsk_ring_cons__comp_addr(&out.completed, at + i) / PAGE);
        xsk_ring_cons__release(&out.completed, done);
        out.in_tx -= done;
    }
    uint32_t want = target - in.filled < free_pages ? target - in.filled : free_pages;
    if (want == 0 || xsk_ring_prod__reserve(&in.fill, want, &at) != want)
        return;
    for (uint32_t i = 0; i < want; i++)
        *xsk_ring_prod__fill_addr(&in.fill, at + i) = (uint64_t)free_list[--free_pages] * PAGE;
    xsk_ring_prod__submit(&in.fill, want);
    in.filled += want;
}

static void arguments(char **a)
{
    struct ether_addr mac;
    int netns = open(a[1], O_RDONLY | O_CLOEXEC);
    if (netns < 0 || setns(netns, CLONE_NEWNET) < 0)
        fail("enter the host's network namespace", errno);
    if (!ether_aton_r(a[5], &mac))
        fail("understand the next MAC", EINVAL);
    memcpy(macs, &mac, 6);
    if (!ether_aton_r(a[4], &mac))
        fail("understand the own MAC", EINVAL);
    memcpy(macs + 6, &mac, 6);
    if (inet_pton(AF_INET, a[6], &ips[0]) != 1 || inet_pton(AF_INET, a[7], &ips[2]) != 1)
        fail("understand the addresses", EINVAL);
}

int main(int count, char **a)
{
    const pid_t parent = getppid();
    if (count != 9) {
        fprintf(stderr, "usage: raw NETNS IN OUT FROM_MAC TO_MAC FROM_IP TO_IP QUEUE\n");
        return 2;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        return 1;
    const struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    arguments(a);
    const uint32_t target = PARTS * (uint32_t)atoi(a[8]);
    open_ports(a[2], a[3], (uint32_t)atoi(a[8]));
    recycle(target);
    puts("ready");
    fflush(stdout);
    while (!stopped) {
        uint32_t worked = forward(), left = kick();
        recycle(target);
        if (worked)
            continue;
        /* with a full transmit ring the datagrams that wait must not keep us awake */
        struct pollfd wait = {.fd = xsk_socket__fd(in.socket), .events = out.in_tx < ring_size ? POLLIN : 0};
        if (poll(&wait, 1, left ? RETRY_MS : IDLE_MS) < 0 && errno != EINTR)
            fail("wait", errno);
        wakeups++;
    }
    struct xdp_statistics s;
    socklen_t size = sizeof s;
    if (getsockopt(xsk_socket__fd(in.socket), SOL_XDP, XDP_STATISTICS, &s, &size) < 0)
        fail("read the statistics", errno);
    sent = received;
    printf("{\"received\": %llu, \"sent\": %llu, \"drop_no_page\": %llu, \"drop_ring_full\": %llu, \"wakeups\": %llu, "
           "\"sends\": %llu}\n",
           (unsigned long long)received, (unsigned long long)sent, (unsigned long long)s.rx_dropped,
           (unsigned long long)s.rx_ring_full, (unsigned long long)wakeups, (unsigned long long)sends);
    return 0;
}
