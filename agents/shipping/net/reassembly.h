/* Datagrams of which not all fragments have come yet, of one interface (RFC 791, 3.2). Fragments stay where the adapter
 * put them; what is kept here is which bytes each page has. They may come in any order and more than once.
 *
 * A datagram with fragments that overlap, or that contradict each other about its end, is given up whole, and with it
 * what still comes of it (RFC 5722, RFC 3128): the only senders of such are attackers and broken ones. A fragment
 * exactly like one that is here already is a copy made by the network, and is left out; so is one that is like a part
 * of a datagram that was whole less than a second ago. Both are counted as copies, not as losses.
 *
 * RFC 1122 (3.3.2) wants a minute or two of patience, for an internet. This is one network, whose queues hold less than a
 * second; and identifiers come again after 65536 datagrams, which at today's rates are seconds, so that a rest kept for
 * longer would be completed with somebody else's bytes (RFC 4963). Times are nanoseconds of one clock that only grows. */
#ifndef CS_REASSEMBLY_H
#define CS_REASSEMBLY_H

#include <stdbool.h>
#include <stdint.h>

#include "../core/counters.h"
#include "../core/pool.h"
#include "frame.h"
#include "packet_format.h"

#define CS_REASSEMBLIES 64u
#define CS_REASSEMBLY_NS 1000000000ull
#define CS_REASSEMBLY_SHARE 16 /* the part of the pool that may wait here */
#define CS_REASSEMBLED 256u    /* remembered: far fewer than there are identifiers */

/* Each counts datagrams, once. */
enum cs_reassembly_drop {
    CS_REASSEMBLY_TIMEOUT,
    CS_REASSEMBLY_OVERLAP,
    CS_REASSEMBLY_FULL,   /* the oldest made way: there were too many, or too many pages */
    CS_REASSEMBLY_PIECES, /* more than CS_DATAGRAM_PARTS */
    CS_REASSEMBLY_CLOSED, /* with the interface */
    CS_REASSEMBLY_DROPS
};

/* A fragment: which bytes of the datagram, and where in its list of parts they are. */
struct cs_piece {
    uint16_t from, to;
    uint16_t first, parts;
};

struct cs_incomplete {
    uint32_t source;
    uint16_t id;
    bool given_up;  /* it has nothing left but its name, for what still comes of it */
    uint32_t bytes; /* that are here */
    uint32_t end;   /* as its last fragment tells; 0: has not come */
    uint32_t pieces, parts;
    uint64_t since_ns;
    struct cs_piece piece[CS_DATAGRAM_PARTS]; /* by offset */
    struct cs_part part[CS_DATAGRAM_PARTS];   /* as they came */
};

/* A datagram that was whole. Its sender, who numbers in order, has this slot for another long before it uses the same
 * identifier again. */
struct cs_reassembled {
    uint32_t source, end;
    uint16_t id;
    uint64_t until_ns; /* 0: none was */
};

struct cs_reassembly {
    struct cs_pool *pool;
    uint32_t pages, most_pages;
    uint32_t count;
    uint8_t order[CS_REASSEMBLIES]; /* the first `count` are in use, the oldest first; then the others */
    struct cs_incomplete datagram[CS_REASSEMBLIES];
    struct cs_reassembled whole[CS_REASSEMBLED];
    cs_counter *drops[CS_REASSEMBLY_DROPS], *waiting; /* pages, of all interfaces */
    cs_counter *copies;                               /* fragments */
};

void cs_reassembly_open(struct cs_reassembly *r, struct cs_pool *pool, struct cs_counters *counters);
/* What is incomplete is lost, and counted; its pages are not given back. */
void cs_reassembly_close(struct cs_reassembly *r);
/* Take a fragment's pages over: the frame cut down to the packet's payload. If that completes a datagram, its parts in
 * order, which are the caller's, and how many; else 0. */
uint32_t cs_reassembly_add(struct cs_reassembly *r, const struct cs_packet *packet, const struct cs_frame *f, uint64_t now_ns,
                           struct cs_part whole[CS_DATAGRAM_PARTS]);
/* Give up what has waited for too long. */
void cs_reassembly_expire(struct cs_reassembly *r, uint64_t now_ns);

#endif
