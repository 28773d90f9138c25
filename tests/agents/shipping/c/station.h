/* The far station of processes that mix calls: it checks what they send, answers ARP for itself alone and sends them
 * datagrams. */
#ifndef STATION_H
#define STATION_H

#include "mix.h"

/* What a datagram carries is a message of the mix. */
static inline void station_check(const uint8_t *payload, uint32_t bytes)
{
    struct mix_head head = mix_head_of(payload, bytes);
    CHECK_EQ(head.bytes, bytes);
    mix_check(payload, &head, 0, bytes);
}

/* Fragments of one datagram come one behind the other. */
static inline void station_put_together(const struct cs_packet *p, const uint8_t *payload)
{
    static uint8_t datagram[CS_UDP_BYTES + CS_UDP_MOST];
    static uint32_t bytes;
    bytes = p->offset ? bytes : 0;
    CHECK_EQ(p->offset, bytes);
    memcpy(datagram + bytes, payload, p->payload_len);
    bytes += p->payload_len;
    if (p->more)
        return;
    CHECK_EQ(frame_udp_sum(datagram, bytes, frame_us.ip, frame_them.ip), 0);
    station_check(datagram + CS_UDP_BYTES, bytes - CS_UDP_BYTES);
}

static inline void station_serve(void)
{
    static uint8_t frame[16 * CS_PAGE_SIZE];
    for (ssize_t got; (got = recv(host.wire, frame, sizeof frame, MSG_DONTWAIT)) > 0;) {
        struct cs_packet p = cs_packet_parse(frame, (uint32_t)got, (uint32_t)got, &frame_them);
        if (p.kind == CS_PACKET_ARP_REQUEST) {
            uint8_t reply[CS_ETH_BYTES + CS_ARP_BYTES];
            cs_packet_arp(reply, &frame_them, &frame_us);
            send(host.wire, reply, sizeof reply, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else if (p.kind == CS_PACKET_UDP)
            station_check(frame + p.payload_off, p.payload_len);
        else if (p.kind == CS_PACKET_FRAGMENT)
            station_put_together(&p, frame + p.payload_off);
    }
}

static inline void station_say_in_fragments(const uint8_t *datagram, uint32_t bytes)
{
    enum { LEAST = 800, MOST = MIX_DATAGRAM / LEAST + 2 };
    static uint8_t frame[FRAME_MAX];
    static uint16_t id;
    uint32_t piece = LEAST + 8 * below(900), count = (bytes + piece - 1) / piece, order[MOST] = {0};
    bool contradicts = below(8) == 0;
    id++;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t k = below(i + 1);
        order[i] = order[k];
        order[k] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t from = order[i] * piece, to = from + piece < bytes ? from + piece : bytes;
        for (uint32_t times = below(4) == 0 ? 2 : 1; times > 0; times--) { /* twice, sometimes */
            uint32_t len = frame_fragment(frame, frame_them.ip, id, from, to < bytes, datagram + from, to - from);
            send(host.wire, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        if (i == 0 && contradicts && count > 1) {
            uint32_t len = frame_fragment(frame, frame_them.ip, id, from, true, datagram + from, 16);
            send(host.wire, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

static inline void station_say(uint16_t port)
{
    static uint8_t frame[CS_UDP_HEADROOM + MIX_DATAGRAM];
    static uint32_t number;
    uint32_t most = below(3) ? 8900 : MIX_DATAGRAM;
    struct mix_head head = {MIX_MAGIC, number++, (uint32_t)sizeof head + below(most - (uint32_t)sizeof head)};
    uint8_t *datagram = frame + CS_UDP_HEADROOM - CS_UDP_BYTES;
    cs_packet_udp(frame, &frame_them, &frame_us, THEIR_PORT, port, 1, head.bytes);
    mix_fill(datagram + CS_UDP_BYTES, &head, 0, head.bytes);
    if (most < MIX_DATAGRAM) {
        send(host.wire, frame, CS_UDP_HEADROOM + head.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        return;
    }
    uint32_t bytes = CS_UDP_BYTES + head.bytes, sum = frame_udp_sum(datagram, bytes, frame_them.ip, frame_us.ip);
    frame_put16(datagram + 6, sum ? sum : 0xffff);
    station_say_in_fragments(datagram, bytes);
}

#endif
