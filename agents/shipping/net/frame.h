/* An Ethernet frame as the adapter leaves it in the pool: one or more parts, never made contiguous. */
#ifndef CS_FRAME_H
#define CS_FRAME_H

#include <stdint.h>

#define CS_FRAME_PARTS 16
/* Of a datagram that comes or goes in several frames: what the largest has on networks with the smallest MTU that every
 * station must be able to take in one piece (RFC 791: 576), and some. */
#define CS_DATAGRAM_PARTS 128u

struct cs_part {
    uint32_t page; /* first page of the container */
    uint32_t off;  /* from the start of that page */
    uint32_t len;
};

struct cs_frame {
    uint32_t parts;
    struct cs_part part[CS_FRAME_PARTS];
};

static inline uint32_t cs_parts_bytes(const struct cs_part *part, uint32_t parts)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < parts; i++)
        bytes += part[i].len;
    return bytes;
}

static inline uint32_t cs_frame_bytes(const struct cs_frame *f)
{
    return cs_parts_bytes(f->part, f->parts);
}

#endif
