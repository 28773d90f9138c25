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

struct cs_neighbour *cs_arp_hold(struct cs_arp *arp, uint32_t ip, uint64_t now_ns)
{
    struct cs_neighbour *n = lookup(arp, ip);
    if (!n) {
        if (arp->count < CS_NEIGHBOURS)
            n = &arp->table[arp->count++];
        else
            for (uint32_t i = 0; i < CS_NEIGHBOURS; i++)
                if (arp->table[i].users == 0 && (!n || arp->table[i].used_ns < n->used_ns))
                    n = &arp->table[i];
        if (!n)
            return NULL;
        *n = (struct cs_neighbour){.address.ip = ip};
    }
    n->users++;
    n->used_ns = now_ns;
    return n;
}

void cs_arp_leave(struct cs_neighbour *n, uint64_t now_ns)
{
    n->users--;
    n->used_ns = now_ns;
}

void cs_arp_heard(struct cs_arp *arp, const struct cs_address *sender, uint64_t now_ns)
{
    struct cs_neighbour *n = lookup(arp, sender->ip);
    if (n) {
        memcpy(n->address.mac, sender->mac, sizeof n->address.mac);
        n->known = true;
        n->polls = 0;
        n->heard_ns = now_ns;
    }
}

bool cs_arp_ask(struct cs_neighbour *n, uint64_t now_ns)
{
    if (n->known && now_ns - n->heard_ns < CS_ARP_FRESH_NS)
        return false;
    if (n->asked_ns && now_ns - n->asked_ns < (n->known ? CS_ARP_POLL_NS : CS_ARP_RETRY_NS))
        return false;
    if (n->known && n->polls++ == CS_ARP_POLLS) {
        n->known = false;
        n->polls = 0;
    }
    n->asked_ns = now_ns;
    return true;
}
