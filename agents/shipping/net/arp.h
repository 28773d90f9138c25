/* The neighbours of one interface (RFC 826). Only neighbours that we asked about are learned. What was learned is not
 * believed for ever (RFC 1122, 2.3.2.1): a neighbour in use is asked again after a minute, and forgotten when he does not
 * answer. Times are nanoseconds of one clock that only grows. */
#ifndef CS_ARP_H
#define CS_ARP_H

#include <stdbool.h>
#include <stdint.h>

#include "packet_format.h"

#define CS_NEIGHBOURS 256
#define CS_ARP_RETRY_NS 100000000ull  /* between requests to one who is not known */
#define CS_ARP_FRESH_NS 60000000000ull /* what he said is believed for so long */
#define CS_ARP_POLL_NS 1000000000ull  /* then between requests to one who is still known */
#define CS_ARP_POLLS 3                /* unanswered, and he is forgotten: the RFC asks for two; one more for a busy host */

struct cs_neighbour {
    struct cs_address address;
    bool known;
    uint8_t polls;  /* unanswered */
    uint32_t users; /* endpoints that hold it */
    uint64_t heard_ns, asked_ns, used_ns;
};

struct cs_arp {
    uint32_t count;
    struct cs_neighbour table[CS_NEIGHBOURS];
};

/* The neighbour of that address, for the caller to hold until he leaves it. A full table loses the one that nobody
 * holds and that was used least recently; NULL when all are held. */
struct cs_neighbour *cs_arp_hold(struct cs_arp *arp, uint32_t ip, uint64_t now_ns);
void cs_arp_leave(struct cs_neighbour *neighbour, uint64_t now_ns);
/* Somebody said that he is sender. */
void cs_arp_heard(struct cs_arp *arp, const struct cs_address *sender, uint64_t now_ns);
/* Somebody wants to send to him: is a(nother) request due? Marks it sent. Afterwards `known` says if he can be sent to. */
bool cs_arp_ask(struct cs_neighbour *neighbour, uint64_t now_ns);

#endif
