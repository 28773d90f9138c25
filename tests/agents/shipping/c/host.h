/* A host for tests: its manager runs in a child process on a fake wire, this process is attached to it and is
 * also the station at the far end of the wire. The kernel's rules for children: it dies with us. */
#ifndef HOST_H
#define HOST_H

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "core/manager.h"
#include "cs.h"
#include "fake_wire.h"
#include "frames.h"

/* SOON_MS bounds how long a failure takes to show; no success waits for it. A busy machine keeps a process from running for
 * seconds. */
enum { HOST_QUEUE = 64, HOST_POOL = 4096 + 4 * HOST_QUEUE, HOST_PORT = 9000, THEIR_PORT = 5000, SOON_MS = 60000 };

enum { HOST_LEFT = 3 }; /* what a manager ends with that left transfers unfinished */

static struct {
    pid_t manager;
    int wire;
    struct cs_counters *counters;
    char directory[40], socket[64];
    uint32_t protection, zeroing; /* of the manager that starts next */
    bool no_recycling;
    uint32_t large_pages; /* so many instead of HOST_POOL of the usual, and no wire */
} host;

static uint32_t host_mtu = 9000; /* of the host to be started */
static _Atomic int host_stop;

static void host_told_to_stop(int signal)
{
    (void)signal;
    host_stop = 1;
}

static void host_run_manager(int wire, int counters)
{
    char error[256] = "";
    struct cs_manager *m;
    struct cs_manager_config c = {
        .interface = {{.name = "wire0", .ip = frame_us.ip, .mask = 0xffffff00, .mtu = host_mtu}},
        .interfaces = !host.large_pages, .backend = "wire", .queue = HOST_QUEUE, .pages = host.large_pages,
        .protection = host.protection, .zeroing = host.zeroing, .no_recycling = host.no_recycling,
        .page_bytes = host.large_pages ? CS_LARGE_PAGE : 0};
    memcpy(c.interface[0].mac, frame_us.mac, 6);
    strcpy(c.socket, host.socket);
    wire_ends[0] = wire;
    signal(SIGTERM, host_told_to_stop);
    struct cs_counters *mapped = cs_counters_open(counters);
    close(counters);
    if (cs_manager_open(&m, &c, mapped, error, sizeof error) < 0) {
        fprintf(stderr, "%s\n", error);
        exit(1);
    }
    int err = cs_manager_run(m, &host_stop);
    uint32_t left = cs_manager_close(m);
    cs_counters_close(mapped);
    close(wire);
    exit(err < 0 ? 1 : left ? HOST_LEFT : 0);
}

static inline pid_t child(void)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static inline uint64_t counted(const char *name)
{
    for (uint32_t i = 0; i < atomic_load(&host.counters->count); i++)
        if (strcmp(host.counters->entries[i].name, name) == 0)
            return cs_count_value(&host.counters->entries[i].value);
    return 0;
}

/* Look every millisecond, for at most ms. */
#define WITHIN(ms, condition)                                                                                          \
    do {                                                                                                               \
        for (uint64_t until_ = now_ms() + (ms); !(condition); poll(NULL, 0, 1))                                        \
            if (now_ms() > until_) {                                                                                   \
                fprintf(stderr, "%s:%d: not within %d ms: %s\n", __FILE__, __LINE__, (int)(ms), #condition);           \
                exit(1);                                                                                               \
            }                                                                                                          \
    } while (0)

/* Only the manager: this process attaches later, with cs_attach. Where attaching is for good, it must not be before
 * there are children that are to attach as well. */
static inline void host_start_manager(void)
{
    int ends[2], counters = memfd_create("counters", MFD_CLOEXEC), bytes = 4 << 20;
    strcpy(host.directory, "host-XXXXXX");
    CHECK(mkdtemp(host.directory));
    snprintf(host.socket, sizeof host.socket, "%s/manager", host.directory);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    CHECK_EQ(ftruncate(counters, CS_COUNTERS_BYTES), 0);
    CHECK((host.counters = cs_counters_open(counters)));
    host.wire = ends[0];
    if ((host.manager = child()) == 0) {
        close(ends[0]);
        host_run_manager(ends[1], counters);
    }
    close(ends[1]);
    close(counters);
    WITHIN(SOON_MS, access(host.socket, F_OK) == 0);
    WITHIN(SOON_MS, host.large_pages || counted("containers_receiving") == 2 * HOST_QUEUE);
}

static inline void host_start(void)
{
    host_start_manager();
    WITHIN(SOON_MS, cs_attach(host.socket) == 0);
}

/* The manager ends well (and so found no leak and no error), and everything was given back. */
static inline void host_end(void)
{
    int status;
    cs_detach();
    WITHIN(SOON_MS, counted("containers_owned") + counted("containers_sending") + counted("pages_following") == 0);
    CHECK_EQ(kill(host.manager, SIGTERM), 0);
    CHECK_EQ(waitpid(host.manager, &status, 0), host.manager);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
    cs_counters_close(host.counters);
    close(host.wire);
    CHECK_EQ(rmdir(host.directory), 0);
}

/* An endpoint on our side that talks to the station at the far end. */
static inline int host_open(uint16_t port, int timeout_ms)
{
    int fd = cs_open_udp(frame_us.ip, port, frame_them.ip, THEIR_PORT, HOST_QUEUE, timeout_ms);
    CHECK(fd >= 0);
    return fd;
}

/* The far station sends a datagram of len bytes of pattern. */
static inline void station_send(uint16_t port, uint32_t len)
{
    static uint8_t frame[FRAME_MAX];
    uint32_t bytes = frame_udp(frame, THEIR_PORT, port, len);
    CHECK_EQ(send(host.wire, frame, bytes, 0), bytes);
}

/* The far station waits for a datagram, answering ARP meanwhile; its payload's length, or -1 after ms. */
static inline int station_receive(uint8_t *payload, int ms)
{
    uint64_t until = now_ms() + (uint64_t)ms;
    while (now_ms() <= until) {
        static uint8_t frame[16 * CS_PAGE_SIZE];
        struct pollfd fd = {.fd = host.wire, .events = POLLIN};
        if (poll(&fd, 1, (int)(until - now_ms())) != 1)
            break;
        ssize_t got = recv(host.wire, frame, sizeof frame, 0);
        CHECK(got > 0);
        struct cs_packet p = cs_packet_parse(frame, (uint32_t)got, (uint32_t)got, &frame_them);
        if (frame[12] == 8 && frame[13] == 6) {
            struct cs_packet asked = cs_packet_parse(frame, (uint32_t)got, (uint32_t)got, &frame_them);
            uint8_t reply[42];
            CHECK_EQ(asked.kind, CS_PACKET_ARP_REQUEST);
            CHECK_EQ(asked.sender.ip, frame_us.ip);
            cs_packet_arp(reply, &frame_them, &frame_us);
            CHECK_EQ(send(host.wire, reply, sizeof reply, 0), sizeof reply);
            continue;
        }
        CHECK_EQ(p.kind, CS_PACKET_UDP);
        CHECK_EQ(p.target_port, THEIR_PORT);
        memcpy(payload, frame + p.payload_off, p.payload_len);
        return (int)p.payload_len;
    }
    return -1;
}

/* Is that byte of a datagram of len bytes of pattern what the station sent? */
static inline bool is_pattern(const uint8_t *bytes, uint32_t first, uint32_t count, uint32_t len)
{
    uint8_t frame[FRAME_MAX];
    frame_udp(frame, 1, 1, len);
    return memcmp(bytes, frame + CS_UDP_HEADROOM + first, count) == 0;
}

/* A second process on the same host. It says so on a pipe when it has done what the test wants, and waits. */
static inline pid_t neighbour(void (*what)(void))
{
    int said[2];
    char word;
    CHECK_EQ(pipe(said), 0);
    pid_t pid = child();
    if (pid == 0) {
        CHECK_EQ(cs_attach(host.socket), 0);
        what();
        CHECK_EQ(write(said[1], "!", 1), 1);
        for (;;)
            pause();
    }
    close(said[1]);
    CHECK_EQ(read(said[0], &word, 1), 1);
    close(said[0]);
    return pid;
}

static inline void end_of(pid_t pid)
{
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

#endif
