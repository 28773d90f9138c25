/* The neighbours of one interface (RFC 826). Only neighbours that we asked about are learned. */
#ifndef CS_ARP_H
#define CS_ARP_H

#include <stdbool.h>
#include <stdint.h>

#include "packet_format.h"

#define CS_NEIGHBOURS 256
#define CS_ARP_RETRY_NS 100000000ull

struct cs_neighbour {
    struct cs_address address;
    bool known;
    uint64_t asked_ns;
};

struct cs_arp {
    uint32_t count;
    struct cs_neighbour table[CS_NEIGHBOURS];
};

/* The neighbour of that address, made on first use; NULL when the table is full. */
struct cs_neighbour *cs_arp_find(struct cs_arp *arp, uint32_t ip);
/* Somebody said that he is sender. */
void cs_arp_heard(struct cs_arp *arp, const struct cs_address *sender);
/* Is a(nother) request due? Marks it sent. */
bool cs_arp_ask(struct cs_neighbour *neighbour, uint64_t now_ns);

#endif
