#include "arp.h"

#include <stddef.h>
#include <string.h>

static struct cs_neighbour *lookup(struct cs_arp *arp, uint32_t ip)
{
    for (uint32_t i = 0; i < arp->count; i++)
        if (arp->table[i].address.ip == ip)
            return &arp->table[i];
    return NULL;
}

struct cs_neighbour *cs_arp_find(struct cs_arp *arp, uint32_t ip)
{
    struct cs_neighbour *n = lookup(arp, ip);
    if (n || arp->count == CS_NEIGHBOURS)
        return n;
    n = &arp->table[arp->count++];
    *n = (struct cs_neighbour){.address.ip = ip};
    return n;
}

void cs_arp_heard(struct cs_arp *arp, const struct cs_address *sender)
{
    struct cs_neighbour *n = lookup(arp, sender->ip);
    if (n) {
        memcpy(n->address.mac, sender->mac, sizeof n->address.mac);
        n->known = true;
    }
}

bool cs_arp_ask(struct cs_neighbour *n, uint64_t now_ns)
{
    if (n->asked_ns && now_ns - n->asked_ns < CS_ARP_RETRY_NS)
        return false;
    n->asked_ns = now_ns;
    return true;
}
