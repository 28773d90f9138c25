/* A manager in this process, one pass at a time, with a hostile process and a bystander: after each step the pool's books
 * balance and the bystander's containers are as they were; after each disconnection nothing of the hostile one is left. */
#ifndef FUZZ_MANAGER_H
#define FUZZ_MANAGER_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/manager.h"
#include "core/protocol.h"
#include "fake_wire.h"
#include "frames.h"
#include "pool_check.h"
#include "random.h"

enum { QUEUE = 32, BYSTANDER_PAGES = 24, BYSTANDER_PORT = 9000, HOSTILE_PORT = 9001 };

static struct cs_manager *m;
static int wire; /* our end */
static char directory[] = "fuzz-XXXXXX";

struct peer {
    int control, endpoint;
    uint32_t slot;
    struct cs_ring rx, tx;
    void *memory;
    size_t bytes;
};

static struct peer bystander, hostile;
static struct cs_container kept[BYSTANDER_PAGES];
static uint32_t kept_cids[BYSTANDER_PAGES];

static inline void start(void)
{
    int ends[2], counters = memfd_create("counters", MFD_CLOEXEC), bytes = 1 << 20;
    char error[256] = "";
    struct cs_manager_config c = {
        .interface = {{.name = "wire0", .ip = frame_us.ip, .mask = 0xffffff00, .mtu = 9000}},
        .interfaces = 1, .backend = "wire", .queue = QUEUE};
    CHECK(mkdtemp(directory));
    snprintf(c.socket, sizeof c.socket, "%s/manager", directory);
    memcpy(c.interface[0].mac, frame_us.mac, 6);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    CHECK_EQ(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    wire = ends[0];
    wire_ends[0] = ends[1];
    CHECK_EQ(ftruncate(counters, CS_COUNTERS_BYTES), 0);
    if (cs_manager_open(&m, &c, cs_counters_open(counters), error, sizeof error) < 0) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    close(counters);
}

/* Exactly one pass of the manager's own loop, with what it does for sockets and doorbells. */
static inline void one_pass(void)
{
    static _Atomic int stop;
    const uint64_t one = 1;
    stop = 0;
    wire_stop = &stop;
    CHECK_EQ(write(m->doorbell, &one, sizeof one), sizeof one);
    CHECK_EQ(cs_manager_run(m, &stop), 0);
}

/* The manager looks at its sockets when there is no work, or in every 512th pass. */
static inline void disconnect(struct peer *p)
{
    close(p->control);
    if (p->memory)
        munmap(p->memory, p->bytes);
    for (int i = 0; i < 520 && m->process[p->slot] >= 0; i++)
        one_pass();
    CHECK(m->process[p->slot] < 0);
}

static inline void finish(void)
{
    disconnect(&bystander);
    CHECK_EQ(cs_count_value(m->pool.states[CS_OWNED]), 0);
    check_pool(&m->pool);
    struct cs_counters *counters = m->counters;
    cs_manager_close(m);
    cs_counters_close(counters);
    CHECK_EQ(rmdir(directory), 0);
}

/* One reply, its descriptors in fds; false if none waits. */
static inline bool take_reply(int control, struct cs_reply *reply, int *fds)
{
    union {
        char bytes[CMSG_SPACE(CS_REPLY_FDS * sizeof(int))];
        struct cmsghdr align;
    } ancillary;
    struct iovec iov = {reply, sizeof *reply};
    struct msghdr message = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ancillary.bytes, .msg_controllen = sizeof ancillary};
    fds[0] = fds[1] = fds[2] = -1;
    if (recvmsg(control, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
        return false;
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (c)
        memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return true;
}

static inline void close_all(const int *fds)
{
    for (int i = 0; i < CS_REPLY_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static inline struct cs_reply call(struct peer *p, struct cs_request q, int *fds)
{
    struct cs_reply reply;
    q.version = CS_LAYOUT_VERSION;
    CHECK_EQ(send(p->control, &q, sizeof q, 0), sizeof q);
    cs_control_serve(m, p->slot);
    CHECK(take_reply(p->control, &reply, fds));
    return reply;
}

static inline void attach(struct peer *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    bool before[CS_PROCESSES];
    for (uint32_t i = 0; i < CS_PROCESSES; i++)
        before[i] = m->process[i] >= 0;
    strcpy(address.sun_path, m->socket);
    *p = (struct peer){.control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    CHECK_EQ(connect(p->control, (struct sockaddr *)&address, sizeof address), 0);
    cs_control_accept(m);
    while (p->slot < CS_PROCESSES && (before[p->slot] || m->process[p->slot] < 0))
        p->slot++;
    CHECK(p->slot < CS_PROCESSES);
}

static inline void open_endpoint_as(struct peer *p, struct cs_request q)
{
    int fds[CS_REPLY_FDS];
    struct cs_reply reply = call(p, q, fds);
    CHECK_EQ(reply.error, 0);
    size_t ring = (cs_ring_bytes(reply.opened.rx_capacity) + 63) & ~(size_t)63;
    p->bytes = 2 * ring; /* what comes back in a third is left there */
    p->memory = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    CHECK(p->memory != MAP_FAILED);
    close_all(fds);
    cs_ring_init(&p->rx, p->memory, reply.opened.rx_capacity);
    cs_ring_init(&p->tx, (char *)p->memory + ring, reply.opened.tx_capacity);
    p->endpoint = (int)reply.opened.endpoint;
}

static inline void open_endpoint(struct peer *p, uint16_t port)
{
    open_endpoint_as(p, (struct cs_request){
                            .call = CS_CALL_OPEN_UDP, .udp = {frame_us.ip, frame_them.ip, port, 5000, QUEUE}});
}

static inline struct cs_reply allocate(struct peer *p, uint32_t pages, uint32_t count)
{
    int fds[CS_REPLY_FDS];
    return call(p, (struct cs_request){.call = CS_CALL_ALLOC, .alloc = {pages, count}}, fds);
}

static inline void add_bystander(void)
{
    attach(&bystander);
    open_endpoint(&bystander, BYSTANDER_PORT);
    struct cs_reply reply = allocate(&bystander, 3, BYSTANDER_PAGES / 3);
    CHECK_EQ(reply.allocated.count, BYSTANDER_PAGES / 3);
    for (uint32_t i = 0; i < BYSTANDER_PAGES / 3; i++) {
        kept_cids[i] = reply.allocated.cids[i];
        kept[i] = m->pool.shared->table[cs_cid_page(kept_cids[i])];
        memset(m->pool.data + (size_t)cs_cid_page(kept_cids[i]) * CS_PAGE_SIZE, 0x5a, 3 * CS_PAGE_SIZE);
    }
}

static inline void check_bystander(void)
{
    CHECK(m->process[bystander.slot] >= 0);
    CHECK(m->endpoint[bystander.endpoint].used);
    for (uint32_t i = 0; i < BYSTANDER_PAGES / 3; i++) {
        uint32_t page = cs_cid_page(kept_cids[i]);
        CHECK(memcmp(&m->pool.shared->table[page], &kept[i], sizeof kept[i]) == 0);
        const uint8_t *data = m->pool.data + (size_t)page * CS_PAGE_SIZE;
        CHECK(data[0] == 0x5a && memcmp(data, data + 1, 3 * CS_PAGE_SIZE - 1) == 0);
    }
}

static inline void check_nothing_left(const struct peer *p)
{
    for (uint32_t i = 0; i < m->pool.pages; i++)
        CHECK(m->pool.shared->table[i].owner != p->slot + 1);
    CHECK(m->process[p->slot] < 0);
}

/* What waits for the reader is given back, as a well-behaved process does. */
static inline void consume(struct peer *p)
{
    int64_t ready = cs_ring_ready(&p->rx);
    CHECK(ready >= 0);
    for (int64_t i = 0; i < ready; i++) {
        CHECK(cs_ring_space(&p->tx) > 0);
        struct cs_desc d = cs_ring_peek(&p->rx, 0);
        d.flags = CS_DESC_FREE;
        *cs_ring_reserve(&p->tx) = d;
        cs_ring_submit(&p->tx);
        cs_ring_release(&p->rx, 1);
        cs_send_pass(m, &m->endpoint[p->endpoint]);
    }
}

static inline void drain_wire(void)
{
    uint8_t frame[16 * CS_PAGE_SIZE];
    while (recv(wire, frame, sizeof frame, MSG_DONTWAIT) > 0) {
    }
}

static inline uint32_t some_cid(const struct cs_reply *own)
{
    switch (below(6)) {
    case 0: return (uint32_t)random64();
    case 1: return kept_cids[below(BYSTANDER_PAGES / 3)];
    case 2: return own->allocated.cids[below(CS_ALLOC_BATCH)] + (below(2) ? 1u << CS_PAGE_BITS : 1);
    case 3: return cs_cid(below(m->pool.pages), m->pool.shared->table[below(m->pool.pages)].generation);
    default: return own->allocated.cids[below(own->allocated.count ? own->allocated.count : 1)];
    }
}

static inline uint32_t some_number(void)
{
    static const uint32_t edges[] = {0, 1, 41, 42, 64, 4095, 4096, 4097, 8192, 1u << 31, UINT32_MAX, UINT32_MAX - 4095};
    return below(2) ? edges[below(sizeof edges / sizeof *edges)] : below(3) ? below(5000) : (uint32_t)random64();
}

#endif
