#include "fragment.h"

#include <errno.h>

#include "../core/fault.h"
#include "backend.h"

/* Headers of fragments share pages, so far apart: room for the first's, which has the UDP header too. */
enum { HEADERS_APART = 64, HEADERS_IN_PAGE = CS_PAGE_SIZE / HEADERS_APART };

/* How far a datagram has been cut. */
struct cut {
    uint32_t part, used; /* the next byte */
    bool end;
};

/* The next fragment's payload behind what is in the frame: all that fits, in a multiple of 8 bytes unless it is the last.
 * How many bytes. */
static uint32_t next(struct cut *c, const struct cs_part *part, uint32_t parts, uint32_t most, struct cs_frame *f)
{
    uint32_t room = CS_FRAME_PARTS - f->parts, bytes = 0, used = c->used, i = c->part;
    for (; i < parts && room > 0 && bytes + part[i].len - used <= most; room--, used = 0)
        bytes += part[i++].len - used;
    c->end = i == parts;
    if (!c->end)
        bytes = (room > 0 ? most : bytes) & ~7u;
    for (uint32_t left = bytes; left > 0;) {
        struct cs_part p = {part[c->part].page, part[c->part].off + c->used, part[c->part].len - c->used};
        if (p.len > left) {
            p.len = left;
            c->used += left;
        } else {
            c->part++;
            c->used = 0;
        }
        f->part[f->parts++] = p;
        left -= p.len;
    }
    return bytes;
}

/* IP payload of a fragment that is not the last, at most. */
static uint32_t payload_most(const struct cs_netif *n)
{
    return (n->mtu - CS_IPV4_BYTES) & ~7u;
}

static uint32_t count_fragments(const struct cs_netif *n, const struct cs_part *part, uint32_t parts)
{
    struct cut c = {0};
    uint32_t count = 0;
    for (uint32_t header = CS_UDP_BYTES; !c.end && count <= CS_DATAGRAM_FRAGMENTS; count++, header = 0)
        next(&c, part, parts, payload_most(n) - header, &(struct cs_frame){.parts = 1});
    return count;
}

static int take_pages(struct cs_pool *pool, uint32_t count, uint32_t *page)
{
    for (uint32_t i = 0; i < count; i++) {
        int taken = cs_pool_take(pool, CS_SENDING);
        if (taken < 0) {
            while (i > 0)
                cs_pool_give(pool, page[--i]);
            return taken;
        }
        page[i] = (uint32_t)taken;
        CS_FAULT("manager.cutting_taken");
    }
    return 0;
}

int cs_fragment_put(struct cs_netif *n, const struct cs_part *part, uint32_t parts, uint32_t bytes, const struct cs_flow *flow,
                    uint16_t id)
{
    uint32_t count = count_fragments(n, part, parts), page[CS_DATAGRAM_FRAGMENTS / HEADERS_IN_PAGE], offset = 0;
    struct cut c = {0};
    if (bytes > CS_UDP_MOST || count > CS_DATAGRAM_FRAGMENTS)
        return -EMSGSIZE;
    int err = take_pages(n->pool, (count + HEADERS_IN_PAGE - 1) / HEADERS_IN_PAGE, page);
    if (err < 0)
        return err;
    uint64_t sum = cs_packet_sum_parts(n->pool->data, part, bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct cs_frame f = {.parts = 1};
        uint32_t udp = i == 0 ? CS_UDP_BYTES : 0, place = i % HEADERS_IN_PAGE * HEADERS_APART;
        f.part[0] = (struct cs_part){page[i / HEADERS_IN_PAGE], place, CS_ETH_BYTES + CS_IPV4_BYTES + udp};
        if (place > 0)
            cs_pool_share(n->pool, f.part[0].page);
        if (c.used > 0)
            cs_pool_share(n->pool, part[c.part].page);
        CS_FAULT("manager.cutting_shared");
        uint32_t payload = udp + next(&c, part, parts, payload_most(n) - udp, &f);
        uint8_t *headers = n->pool->data + (size_t)f.part[0].page * CS_PAGE_SIZE + place;
        cs_packet_fragment(headers, &n->address, &flow->to, id, offset, !c.end, payload);
        if (udp)
            cs_packet_udp_in_full(headers + CS_ETH_BYTES + CS_IPV4_BYTES, &n->address, &flow->to, flow->from_port, flow->to_port,
                                  bytes, sum);
        cs_outbox_put(&n->out, f.part, f.parts, 0, NULL, id);
        CS_FAULT("manager.fragment_queued");
        offset += payload;
    }
    return (int)count;
}
