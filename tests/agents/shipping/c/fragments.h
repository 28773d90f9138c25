/* A host whose clock can be put ahead, and stations that send datagrams in fragments. Link with --wrap=clock_gettime. */
#ifndef FRAGMENTS_H
#define FRAGMENTS_H

#include "clock.h"
#include "host.h"
#include "net/reassembly.h"

enum { ALL = CS_UDP_BYTES + CS_UDP_MOST, CLOSING_BYTES = 3, STATIONS = 2 };

static const uint32_t station_ip[STATIONS] = {0x0a010002, 0x0a010003};

/* An endpoint that hears everybody, of a host that can be made old. */
static inline int fragments_start(void)
{
    clock_start();
    host_start();
    int fd = cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_QUEUE, SOON_MS);
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
    WITHIN(SOON_MS, counted("containers_receiving") == 2 * HOST_QUEUE);
}

/* The far station puts together what we send, in the plain way: by copying. Every fragment must fit into the network and
 * be one byte after the last; its datagram's length. */
static inline int station_receive_whole(uint8_t *datagram, uint32_t mtu, uint32_t *fragments)
{
    static uint8_t frame[FRAME_MAX];
    uint32_t bytes = 0;
    for (bool more = true; more; *fragments += 1) {
        ssize_t got = recv(host.wire, frame, sizeof frame, 0);
        CHECK(got > 0);
        if (frame[13] == 6) { /* who are you? */
            cs_packet_arp(frame, &frame_them, &frame_us);
            CHECK_EQ(send(host.wire, frame, CS_ETH_BYTES + CS_ARP_BYTES, 0), CS_ETH_BYTES + CS_ARP_BYTES);
            *fragments -= 1;
            continue;
        }
        struct cs_packet p = cs_packet_parse(frame, (uint32_t)got, (uint32_t)got, &frame_them);
        CHECK_EQ(p.kind, CS_PACKET_FRAGMENT);
        CHECK(got <= (ssize_t)(CS_ETH_BYTES + mtu));
        CHECK_EQ(p.offset, bytes);
        memcpy(datagram + bytes, frame + p.payload_off, p.payload_len);
        bytes += p.payload_len;
        more = p.more;
    }
    CHECK(datagram[6] || datagram[7]);
    CHECK_EQ(frame_udp_sum(datagram, bytes, frame_us.ip, frame_them.ip), 0);
    CHECK_EQ(datagram[4] * 256 + datagram[5], bytes);
    return (int)bytes;
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
