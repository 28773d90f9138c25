/* The far station of processes that mix calls: it checks what they send, answers ARP for itself alone and sends them
 * datagrams. */
#ifndef STATION_H
#define STATION_H

#include "mix.h"

static inline void station_serve(void)
{
    static uint8_t frame[16 * CS_PAGE_SIZE];
    for (ssize_t got; (got = recv(host.wire, frame, sizeof frame, MSG_DONTWAIT)) > 0;) {
        struct cs_packet p = cs_packet_parse(frame, (uint32_t)got, (uint32_t)got, &frame_them);
        if (p.kind == CS_PACKET_ARP_REQUEST) {
            uint8_t reply[CS_ETH_BYTES + CS_ARP_BYTES];
            cs_packet_arp(reply, &frame_them, &frame_us);
            send(host.wire, reply, sizeof reply, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else if (p.kind == CS_PACKET_UDP) {
            struct mix_head head = mix_head_of(frame + p.payload_off, p.payload_len);
            CHECK_EQ(head.bytes, p.payload_len);
            mix_check(frame + p.payload_off, &head, 0, head.bytes);
        }
    }
}

static inline void station_say(uint16_t port)
{
    static uint8_t frame[FRAME_MAX];
    static uint32_t number;
    struct mix_head head = {MIX_MAGIC, number++, (uint32_t)sizeof head + below(8900 - sizeof head)};
    cs_packet_udp(frame, &frame_them, &frame_us, THEIR_PORT, port, 1, head.bytes);
    mix_fill(frame + CS_UDP_HEADROOM, &head, 0, head.bytes);
    send(host.wire, frame, CS_UDP_HEADROOM + head.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

#endif
