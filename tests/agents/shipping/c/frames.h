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

/* From them to us; the payload is a pattern of its length. */
static inline uint32_t frame_udp(uint8_t *frame, uint16_t from_port, uint16_t to_port, uint32_t len)
{
    cs_packet_udp(frame, &frame_them, &frame_us, from_port, to_port, 1, len);
    for (uint32_t i = 0; i < len; i++)
        frame[CS_UDP_HEADROOM + i] = (uint8_t)(i * 7 + i / 251 + len);
    return CS_UDP_HEADROOM + len;
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
