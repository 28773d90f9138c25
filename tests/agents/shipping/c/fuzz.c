/* Hostile input from every side, the same each time: frames from the network, descriptors and ring indices from
 * a process, bytes on the manager's socket. After each step the pool's books balance and a bystander's containers
 * are as they were; after each disconnection nothing of the hostile process is left. */
#define _GNU_SOURCE
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

static void start(void)
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
static void one_pass(void)
{
    static _Atomic int stop;
    const uint64_t one = 1;
    stop = 0;
    wire_stop = &stop;
    CHECK_EQ(write(m->doorbell, &one, sizeof one), sizeof one);
    CHECK_EQ(cs_manager_run(m, &stop), 0);
}

/* The manager looks at its sockets when there is no work, or in every 512th pass. */
static void disconnect(struct peer *p)
{
    close(p->control);
    if (p->memory)
        munmap(p->memory, p->bytes);
    for (int i = 0; i < 520 && m->process[p->slot] >= 0; i++)
        one_pass();
    CHECK(m->process[p->slot] < 0);
}

static void finish(void)
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
static bool take_reply(int control, struct cs_reply *reply, int *fds)
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

static void close_all(const int *fds)
{
    for (int i = 0; i < CS_REPLY_FDS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static struct cs_reply call(struct peer *p, struct cs_request q, int *fds)
{
    struct cs_reply reply;
    q.version = CS_LAYOUT_VERSION;
    CHECK_EQ(send(p->control, &q, sizeof q, 0), sizeof q);
    cs_control_serve(m, p->slot);
    CHECK(take_reply(p->control, &reply, fds));
    return reply;
}

static void attach(struct peer *p)
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

static void open_endpoint_as(struct peer *p, struct cs_request q)
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

static void open_endpoint(struct peer *p, uint16_t port)
{
    open_endpoint_as(p, (struct cs_request){
                            .call = CS_CALL_OPEN_UDP, .udp = {frame_us.ip, frame_them.ip, port, 5000, QUEUE}});
}

static struct cs_reply allocate(struct peer *p, uint32_t pages, uint32_t count)
{
    int fds[CS_REPLY_FDS];
    return call(p, (struct cs_request){.call = CS_CALL_ALLOC, .alloc = {pages, count}}, fds);
}

static void add_bystander(void)
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

static void check_bystander(void)
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

static void check_nothing_left(const struct peer *p)
{
    for (uint32_t i = 0; i < m->pool.pages; i++)
        CHECK(m->pool.shared->table[i].owner != p->slot + 1);
    CHECK(m->process[p->slot] < 0);
}

/* What waits for the reader is given back, as a well-behaved process does. */
static void consume(struct peer *p)
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

static void drain_wire(void)
{
    uint8_t frame[16 * CS_PAGE_SIZE];
    while (recv(wire, frame, sizeof frame, MSG_DONTWAIT) > 0) {
    }
}

TEST(any_frame_is_delivered_or_dropped_by_name)
{
    start();
    add_bystander();
    for (int i = 0; i < 30000; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t bytes = frame_mutant(frame);
        wire_first_part = below(3) ? CS_PAGE_SIZE - WIRE_HEADROOM : 1 + below(bytes);
        if (bytes > wire_first_part + CS_PAGE_SIZE)
            continue;
        CHECK_EQ(send(wire, frame, bytes, 0), bytes);
        if (below(4) == 0) {
            one_pass();
            drain_wire();
            if (below(3) == 0)
                consume(&bystander);
            check_pool(&m->pool);
            check_bystander();
        }
    }
    CHECK(cs_count_value(m->datagrams_in) > 500);
    CHECK(cs_count_value(m->drops[CS_PACKET_BAD_HEADER]) > 500);
    finish();
}

static uint32_t some_cid(const struct cs_reply *own)
{
    switch (below(6)) {
    case 0: return (uint32_t)random64();
    case 1: return kept_cids[below(BYSTANDER_PAGES / 3)];
    case 2: return own->allocated.cids[below(CS_ALLOC_BATCH)] + (below(2) ? 1u << CS_PAGE_BITS : 1);
    case 3: return cs_cid(below(m->pool.pages), m->pool.shared->table[below(m->pool.pages)].generation);
    default: return own->allocated.cids[below(own->allocated.count ? own->allocated.count : 1)];
    }
}

static uint32_t some_number(void)
{
    static const uint32_t edges[] = {0, 1, 41, 42, 64, 4095, 4096, 4097, 8192, 1u << 31, UINT32_MAX, UINT32_MAX - 4095};
    return below(2) ? edges[below(sizeof edges / sizeof *edges)] : below(3) ? below(5000) : (uint32_t)random64();
}

/* Whatever it says, of a size that is drawn soon more often than not. */
static void change_geometry(struct peer *p)
{
    struct cs_request q = {.call = CS_CALL_IOCTL, .ioctl = {(uint32_t)p->endpoint, CS_SET_FRAMEBUFFER, {0}}};
    int fds[CS_REPLY_FDS];
    if (below(3)) {
        q.ioctl.geometry.width = 1 + below(9);
        q.ioctl.geometry.height = 1 + below(9);
        q.ioctl.geometry.bits = 8 + 8 * below(4);
        q.ioctl.geometry.bus_limit = below(2) ? 0 : 1000 + random64() % 10000000000;
        q.ioctl.geometry.dma = below(2);
    } else
        for (size_t i = 0; i < sizeof q.ioctl.geometry; i++)
            ((uint8_t *)&q.ioctl.geometry)[i] = (uint8_t)random64();
    call(p, q, fds);
}

TEST(any_descriptor_and_any_ring_index_harm_only_their_sender)
{
    start();
    add_bystander();
    uint8_t reply[42];
    cs_packet_arp(reply, &frame_them, &frame_us);
    int before = open_descriptors();
    uint64_t dropped = 0, lived = 0;
    for (int life = 0; life < 300; life++) {
        bool draws = life % 3 == 2;
        attach(&hostile);
        if (draws) {
            open_endpoint_as(&hostile, (struct cs_request){.call = CS_CALL_OPEN_FRAMEBUFFER, .framebuffer = {"screen"}});
            change_geometry(&hostile);
        } else
            open_endpoint(&hostile, HOSTILE_PORT);
        struct cs_reply own = allocate(&hostile, 1 + below(4), CS_ALLOC_BATCH);
        CHECK_EQ(send(wire, reply, sizeof reply, 0), sizeof reply);
        one_pass(); /* the neighbour is known from here on */
        bool impossible = below(2); /* some only lie about containers, others about the rings too */
        for (int step = 0; step < 20 && m->process[hostile.slot] >= 0; step++) {
            uint32_t waiting = hostile.tx.next - m->endpoint[hostile.endpoint].tx.next;
            for (uint32_t n = below(40); n > 0 && (impossible || waiting++ < hostile.tx.capacity); n--)
                *cs_ring_reserve(&hostile.tx) = (struct cs_desc){
                    some_cid(&own), below(3) ? 0 : some_number(), below(3) ? below(200) : some_number(),
                    below(3) ? below(4) & CS_DESC_MORE : (uint32_t)random64()};
            cs_ring_submit(&hostile.tx);
            if (impossible && below(12) == 0)
                hostile.tx.shared->produced = (uint32_t)random64();
            if (impossible && below(12) == 0)
                hostile.rx.shared->consumed = (uint32_t)random64();
            hostile.tx.shared->consumed = (uint32_t)random64(); /* not its to write */
            hostile.rx.shared->produced = (uint32_t)random64();
            hostile.rx.shared->waiting = hostile.tx.shared->waiting = below(2);
            wire_room = below(4) ? 256 : below(3);
            if (draws && below(4) == 0)
                change_geometry(&hostile);
            one_pass();
            drain_wire();
            check_pool(&m->pool);
            check_bystander();
        }
        if (m->process[hostile.slot] < 0)
            dropped++;
        else
            lived++;
        disconnect(&hostile);
        check_nothing_left(&hostile);
        check_pool(&m->pool);
    }
    CHECK(dropped > 10 && lived > 10); /* both kinds of life were had */
    CHECK(cs_count_value(m->drops[CS_DROP_BAD_DESCRIPTOR]) > 100);
    CHECK(cs_count_value(m->datagrams_out) > 100);
    CHECK(cs_count_value(m->frames) > 100);
    CHECK_EQ(open_descriptors(), before + 1); /* the picture stays */
    wire_room = 256;
    finish();
}

/* Files are closed by the kernel in its own time. */
static void close_files(void)
{
    for (int i = 0; i < 5000 && m->files; i++) {
        poll(NULL, 0, 1);
        one_pass();
    }
    CHECK(!m->files);
}

/* A descriptor that nobody asked for must not stay open in the manager. */
static void send_with_descriptor(int control, void *data, size_t bytes, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof fd)];
        struct cmsghdr align;
    } ancillary = {0};
    struct iovec iov = {data, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = sizeof ancillary.bytes;
        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof fd);
    }
    CHECK_EQ(sendmsg(control, &message, 0), bytes);
}

TEST(any_bytes_on_the_managers_socket_harm_only_their_sender)
{
    start();
    add_bystander();
    int file = memfd_create("file", MFD_CLOEXEC), before;
    struct cs_reply own = {0};
    uint64_t answered = 0, refused = 0, files = 0;
    attach(&hostile);
    /* what files need is made for the first and stays */
    struct cs_request first = {.version = CS_LAYOUT_VERSION, .call = CS_CALL_OPEN_FILE};
    send_with_descriptor(hostile.control, &first, sizeof first, file);
    cs_control_serve(m, hostile.slot);
    CHECK(m->files);
    disconnect(&hostile);
    close_files();
    before = open_descriptors();
    for (int i = 0; i < 20000; i++) {
        struct { struct cs_request q; uint8_t more[16]; } message;
        struct cs_reply reply = {0};
        int fds[CS_REPLY_FDS];
        size_t bytes = sizeof message.q;
        if (i == 0 || m->process[hostile.slot] < 0) {
            if (i > 0) {
                check_nothing_left(&hostile);
                close(hostile.control);
            }
            attach(&hostile);
        }
        for (size_t k = 0; k < sizeof message; k++)
            ((uint8_t *)&message)[k] = (uint8_t)random64();
        if (below(8)) {
            message.q.version = CS_LAYOUT_VERSION;
            message.q.call = below(CS_CALLS + 1);
            if (message.q.call == CS_CALL_OPEN_UDP && below(2)) {
                message.q.udp.local = frame_us.ip;
                message.q.udp.remote = below(2) ? 0 : frame_them.ip + below(3);
                message.q.udp.queue = below(2) ? 16 + below(100) : some_number();
                message.q.udp.local_port = (uint16_t)(below(2) ? 9000 + below(100) : 0);
            }
            if (message.q.call == CS_CALL_CLOSE)
                message.q.endpoint = below(70);
            if (message.q.call == CS_CALL_OPEN_CHANNEL && below(8))
                message.q.channel.name[below(3)] = 0, message.q.channel.queue = 16 + below(100);
            if ((message.q.call == CS_CALL_OPEN_FRAMEBUFFER || message.q.call == CS_CALL_VIEW_FRAMEBUFFER) && below(8))
                memcpy(message.q.framebuffer.name, (char[2]){(char)('a' + below(6))}, 2);
            if (message.q.call == CS_CALL_IOCTL) {
                message.q.ioctl.endpoint = below(70);
                message.q.ioctl.request = below(4);
                if (below(4))
                    message.q.ioctl.geometry = (struct cs_framebuffer){
                        below(2) ? 0 : some_number(), below(2) ? 1 + below(99) : some_number(), 1 + below(99), 8 + 8 * below(4), below(3)};
            }
            if (message.q.call == CS_CALL_CUT && below(8)) {
                message.q.cut.cid = some_cid(&own);
                message.q.cut.pages = below(6);
            }
            if (message.q.call == CS_CALL_FREE && below(8))
                for (message.q.free.count = below(70); message.q.free.count > 0 && below(4); message.q.free.count--)
                    message.q.free.cids[below(CS_ALLOC_BATCH)] = some_cid(&own);
            if (message.q.call == CS_CALL_OPEN_FILE && below(4))
                message.q.file.writes = below(2), message.q.file.position = below(2) ? 0 : (uint64_t)INT64_MAX + below(2);
            if (message.q.call == CS_CALL_ALLOC)
                message.q.alloc.pages = 1 + below(6), message.q.alloc.count = below(70);
        }
        if (below(40) == 0)
            bytes = below(sizeof message);
        send_with_descriptor(hostile.control, &message, bytes, below(4) ? -1 : below(3) ? file : wire);
        cs_control_serve(m, hostile.slot);
        if (take_reply(hostile.control, &reply, fds)) {
            *(reply.error ? &refused : &answered) += 1;
            if (message.q.call == CS_CALL_ALLOC && !reply.error)
                own = reply;
            files += message.q.call == CS_CALL_OPEN_FILE && !reply.error;
            close_all(fds);
        }
        if (i % 8 == 0) {
            check_pool(&m->pool);
            check_bystander();
        }
    }
    CHECK(answered > 1000 && refused > 1000 && files > 10);
    disconnect(&hostile);
    close_files();
    check_nothing_left(&hostile);
    CHECK(m->framebuffer[CS_FRAMEBUFFERS - 1]);
    cs_framebuffers_close(m); /* nobody has them open, but pictures stay */
    CHECK_EQ(open_descriptors(), before);
    finish();
}
