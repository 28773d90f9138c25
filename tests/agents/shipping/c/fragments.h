/* A host whose clock can be put ahead, and stations that send datagrams in fragments. Link with --wrap=clock_gettime. */
#ifndef FRAGMENTS_H
#define FRAGMENTS_H

#include "host.h"
#include "net/reassembly.h"

enum { ALL = CS_UDP_BYTES + CS_UDP_MOST, CLOSING_BYTES = 3, STATIONS = 2 };

static const uint32_t station_ip[STATIONS] = {0x0a010002, 0x0a010003};

static _Atomic time_t *ahead_s; /* shared with the manager */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    int err = __real_clock_gettime(clock, t);
    t->tv_sec += ahead_s ? atomic_load(ahead_s) : 0;
    return err;
}

/* An endpoint that hears everybody, of a host that can be made old. */
static inline int fragments_start(void)
{
    ahead_s = mmap(NULL, sizeof *ahead_s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(ahead_s != MAP_FAILED);
    host_start();
    int fd = cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_QUEUE, 5 * SOON_MS);
    CHECK(fd >= 0);
    return fd;
}

/* Bytes [from, to) of a station's datagram. */
static inline void station_fragment(int station, uint16_t id, const uint8_t *datagram, uint32_t from, uint32_t to, bool more)
{
    static uint8_t frame[FRAME_MAX];
    uint32_t bytes = frame_fragment(frame, station_ip[station], id, from, more, datagram + from, to - from);
    CHECK_EQ(send(host.wire, frame, bytes, 0), bytes);
}

/* One message into bytes; its length. */
static inline int read_whole(int fd, uint8_t *bytes)
{
    int cids[CS_DATAGRAM_PARTS], offs[CS_DATAGRAM_PARTS], lens[CS_DATAGRAM_PARTS], sum = 0;
    void *addrs[CS_DATAGRAM_PARTS];
    struct cs_args args = {cids, offs, lens, NULL, addrs};
    int n = cs_read(fd, ALL, CS_DATAGRAM_PARTS, &args, CS_MAPALL);
    CHECK(n >= 1);
    for (int i = 0; i < n; sum += lens[i++])
        memcpy(bytes + sum, (uint8_t *)addrs[i] + offs[i], (size_t)lens[i]);
    CHECK_EQ(cs_free(n, cids), 0);
    return sum;
}

/* What the manager makes of all that was sent so far: after it a small datagram is sent, and read to there. Each message
 * must be a pattern of its length, of one of the two lengths; how many came. */
static inline int read_all(int fd, int one, int other)
{
    static uint8_t bytes[ALL];
    int messages = 0;
    station_send(HOST_PORT, CLOSING_BYTES);
    for (int len; (len = read_whole(fd, bytes)) != CLOSING_BYTES; messages++) {
        CHECK(len == one || len == other);
        for (int i = 0; i < len; i++)
            CHECK_EQ(bytes[i], frame_pattern((uint32_t)i, (uint32_t)len));
    }
    return messages;
}

/* Of what is incomplete nothing more is to come, and every page is where it was. */
static inline void give_up_waiting(int fd)
{
    *ahead_s += 2;
    CHECK_EQ(read_all(fd, 0, 0), 0); /* the manager looks at its clock after what it takes in */
    WITHIN(5 * SOON_MS, counted("containers_receiving") == 2 * HOST_QUEUE);
}

static inline uint64_t all_drops(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < atomic_load(&host.counters->count); i++)
        if (strncmp(host.counters->entries[i].name, "drop_", 5) == 0)
            sum += cs_count_value(&host.counters->entries[i].value);
    return sum;
}

#endif
