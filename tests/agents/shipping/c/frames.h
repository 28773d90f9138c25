/* Frames for tests: good ones between two stations, and mutants of them. */
#ifndef FRAMES_H
#define FRAMES_H

#include <string.h>

#include "net/packet_format.h"
#include "random.h"

enum { FRAME_MAX = 9216, FRAME_MUTANT = 320 };

static const struct cs_address frame_us = {{2, 0, 0, 0, 0, 1}, 0x0a010001}, frame_them = {{2, 0, 0, 0, 0, 2}, 0x0a010002};

static inline void frame_put16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* RFC 1071, written a second time on purpose. */
static inline void frame_checksum(uint8_t *frame)
{
    uint8_t *ip = frame + 14;
    uint64_t sum = 0;
    frame_put16(ip + 10, 0);
    for (int i = 0; i < (ip[0] & 15) * 4; i += 2)
        sum += (uint64_t)ip[i] * 256 + ip[i + 1];
    while (sum > 0xffff)
        sum = sum % 65536 + sum / 65536;
    frame_put16(ip + 10, (uint32_t)(0xffff - sum));
}

/* A datagram's payload is a pattern of its length. */
static inline uint8_t frame_pattern(uint32_t i, uint32_t len)
{
    return (uint8_t)(i * 7 + i / 251 + len);
}

/* From them to us. */
static inline uint32_t frame_udp(uint8_t *frame, uint16_t from_port, uint16_t to_port, uint32_t len)
{
    cs_packet_udp(frame, &frame_them, &frame_us, from_port, to_port, 1, len);
    for (uint32_t i = 0; i < len; i++)
        frame[CS_UDP_HEADROOM + i] = frame_pattern(i, len);
    return CS_UDP_HEADROOM + len;
}

/* RFC 768, written a second time too: 0 if the checksum in the datagram is right. */
static inline uint32_t frame_udp_sum(const uint8_t *datagram, uint32_t bytes, uint32_t from, uint32_t to)
{
    uint64_t sum = 17u + bytes;
    for (int shift = 0; shift < 32; shift += 16)
        sum += (from >> shift & 0xffff) + (to >> shift & 0xffff);
    for (uint32_t i = 0; i < bytes; i++)
        sum += i % 2 ? datagram[i] : (uint64_t)datagram[i] * 256;
    while (sum > 0xffff)
        sum = sum % 65536 + sum / 65536;
    return (uint32_t)(0xffff - sum);
}

/* What such a frame carries behind its IP header, with a checksum; its length. */
static inline uint32_t frame_datagram(uint8_t *datagram, uint32_t from, uint16_t from_port, uint16_t to_port, uint32_t len)
{
    uint32_t bytes = CS_UDP_BYTES + len;
    frame_put16(datagram, from_port);
    frame_put16(datagram + 2, to_port);
    frame_put16(datagram + 4, bytes);
    frame_put16(datagram + 6, 0);
    for (uint32_t i = 0; i < len; i++)
        datagram[CS_UDP_BYTES + i] = frame_pattern(i, len);
    uint32_t sum = frame_udp_sum(datagram, bytes, from, frame_us.ip);
    frame_put16(datagram + 6, sum ? sum : 0xffff);
    return bytes;
}

/* Bytes of a datagram as a fragment from that address to us. */
static inline uint32_t frame_fragment(uint8_t *frame, uint32_t from, uint16_t id, uint32_t offset, bool more, const uint8_t *bytes,
                                      uint32_t count)
{
    const uint32_t headers = CS_ETH_BYTES + CS_IPV4_BYTES;
    cs_packet_udp(frame, &(struct cs_address){{2, 0, 0, 0, 0, 2}, from}, &frame_us, 0, 0, id, 0);
    frame_put16(frame + 16, CS_IPV4_BYTES + count);
    frame_put16(frame + 20, (more ? 0x2000 : 0) | offset / 8);
    frame_checksum(frame);
    memcpy(frame + headers, bytes, count);
    return headers + count;
}

/* Turn a frame of that many bytes into one with IP options (no-operations). Room for them must be there. */
static inline void frame_add_options(uint8_t *frame, uint32_t bytes, uint32_t words)
{
    memmove(frame + 34 + words * 4, frame + 34, bytes - 34);
    memset(frame + 34, 1, words * 4);
    frame[14] = (uint8_t)(0x45 + words);
    frame_put16(frame + 16, bytes - 14 + words * 4);
    frame_checksum(frame);
}

/* A good frame, or one with a few bytes changed, cut or padded; its length. */
static inline uint32_t frame_mutant(uint8_t *frame)
{
    uint32_t bytes = 42, kind = below(8);
    memset(frame, 0, FRAME_MUTANT);
    if (kind == 0)
        cs_packet_arp(frame, &frame_them, &(struct cs_address){.ip = frame_us.ip});
    else if (kind == 1)
        cs_packet_arp(frame, &frame_them, &frame_us);
    else {
        bytes = frame_udp(frame, (uint16_t)(5000 + below(2)), (uint16_t)(9000 + below(3)), below(200));
        if (kind == 3)
            frame_put16(frame + 20, below(2) ? below(0x4000) : below(2) << 13 | below(4)); /* a fragment, perhaps */
        if (kind == 2) {
            uint32_t words = 1 + below(10);
            frame_add_options(frame, bytes, words);
            bytes += words * 4;
        }
    }
    static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x45, 0x4f, 17};
    for (uint32_t changes = below(5); changes > 0; changes--)
        frame[below(3) ? below(48) : below(bytes)] = below(2) ? edges[below(sizeof edges)] : (uint8_t)random64();
    if (below(2))
        frame_checksum(frame);
    switch (below(6)) {
    case 0: return 1 + below(bytes);
    case 1: return bytes + below(20);
    default: return bytes;
    }
}

#endif
