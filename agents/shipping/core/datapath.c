/* A datagram's way through the manager: frame -> containers of the endpoint's process, and back. Data is
 * never copied or made contiguous here; headers are written in front of it, in place where there is room. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "fault.h"
#include "manager.h"

enum { BATCH = 64 };

static uint8_t *at(struct cs_manager *m, const struct cs_part *p)
{
    return m->pool.data + (size_t)p->page * CS_PAGE_SIZE + p->off;
}

static void discard(struct cs_manager *m, const struct cs_part *part, uint32_t parts)
{
    for (uint32_t i = 0; i < parts; i++)
        cs_pool_give(&m->pool, part[i].page);
}

static void send_arp(struct cs_manager *m, struct cs_interface *i, const struct cs_address *to)
{
    int page = cs_outbox_room(&i->netif.out) ? cs_pool_take(&m->pool, CS_SENDING) : -ENOBUFS;
    if (page < 0)
        return; /* asked again, by us or by them */
    struct cs_frame f = {.parts = 1, .part = {{(uint32_t)page, 0, CS_ETH_BYTES + CS_ARP_BYTES}}};
    cs_packet_arp(at(m, &f.part[0]), &i->netif.address, to);
    cs_outbox_put(&i->netif.out, f.part, f.parts, 0, NULL, 0);
}

/* Cut the parts of a frame or datagram down to the payload: headers off the front, padding off the end. How many are
 * left. */
static uint32_t trim(struct cs_manager *m, struct cs_part *part, uint32_t parts, uint32_t skip, uint32_t keep)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < parts; i++) {
        struct cs_part p = part[i];
        uint32_t cut = skip < p.len ? skip : p.len;
        skip -= cut;
        p.off += cut;
        p.len -= cut;
        if (p.len > keep)
            p.len = keep;
        keep -= p.len;
        if (p.len == 0 && !(i == 0 && keep == 0))
            cs_pool_give(&m->pool, p.page);
        else
            part[kept++] = p;
    }
    return kept;
}

/* A whole datagram becomes its reader's, as one message. */
static void deliver(struct cs_manager *m, struct cs_interface *in, struct cs_part *part, uint32_t parts,
                    const struct cs_packet *packet)
{
    uint16_t index = in->ports[packet->target_port];
    struct cs_endpoint *e = index ? &m->endpoint[index - 1] : NULL;
    if (!e || (e->remote && (e->remote != packet->sender.ip || e->remote_port != packet->source_port))) {
        cs_count(m->drops[CS_DROP_NO_PORT], 1);
        discard(m, part, parts);
        return;
    }
    parts = trim(m, part, parts, packet->payload_off, packet->payload_len);
    if (cs_ring_space(&e->rx) < (int64_t)parts ||
        !cs_pool_affords(&m->pool, (uint16_t)(e->process + 1), parts, parts)) { /* as many take their place */
        cs_count(m->drops[CS_DROP_ENDPOINT_QUEUE], 1);
        discard(m, part, parts);
        return;
    }
    for (uint32_t i = 0; m->pool.guard && i < parts; i++)
        cs_guard_fill(&m->pool, part[i].page, part[i].off, part[i].len);
    for (uint32_t i = 0; i < parts; i++)
        *cs_ring_reserve(&e->rx) = (struct cs_desc){
            .cid = cs_pool_move(&m->pool, part[i].page, (uint16_t)(e->process + 1), CS_OWNED),
            .off = part[i].off,
            .len = part[i].len,
            .flags = i + 1 < parts ? CS_DESC_MORE : 0,
        };
    CS_FAULT("manager.arrival_described");
    cs_ring_submit(&e->rx);
    CS_FAULT("manager.arrival_published");
    cs_count(m->datagrams_in, 1);
    cs_count(m->bytes_in, packet->payload_len);
}

/* The UDP header and checksum of a datagram that came in fragments: no adapter saw all of it. CS_DROPS: they are right. */
static uint32_t verify(struct cs_manager *m, struct cs_packet *packet, const struct cs_part *whole, uint32_t bytes)
{
    const uint8_t *udp = at(m, &whole[0]); /* all of the header: a first fragment with less is a bad one */
    packet->payload_off = 0;
    if (!cs_packet_udp_header(packet, udp, bytes))
        return CS_PACKET_BAD_HEADER;
    if (udp[6] == 0 && udp[7] == 0)
        return CS_DROPS; /* its sender made none */
    bytes = CS_UDP_BYTES + packet->payload_len;
    uint64_t sum = cs_packet_sum_parts(m->pool.data, whole, bytes);
    return cs_packet_udp_checksum(packet->sender.ip, packet->target, bytes, sum) ? CS_DROP_CHECKSUM : CS_DROPS;
}

/* A fragment; with the last that was missing, the datagram is delivered. */
static void reassemble(struct cs_manager *m, struct cs_interface *in, struct cs_frame *f, struct cs_packet *packet)
{
    struct cs_part whole[CS_DATAGRAM_PARTS];
    cs_count(m->fragments_in, 1);
    f->parts = trim(m, f->part, f->parts, packet->payload_off, packet->payload_len);
    CS_FAULT("manager.fragment_trimmed");
    uint32_t parts = cs_reassembly_add(&in->reassembly, packet, f, cs_now_ns(), whole);
    if (parts == 0)
        return;
    uint32_t drop = verify(m, packet, whole, cs_parts_bytes(whole, parts));
    if (drop == CS_DROPS)
        deliver(m, in, whole, parts, packet);
    else {
        cs_count(m->drops[drop], 1);
        discard(m, whole, parts);
    }
}

bool cs_receive_pass(struct cs_manager *m, struct cs_interface *in)
{
    struct cs_frame frames[BATCH];
    int count = in->netif.backend->receive(&in->netif, frames, BATCH);
    for (int i = 0; i < count; i++) { /* they may have waited for long: nothing of them is in our cache */
        __builtin_prefetch(at(m, &frames[i].part[0]));
        for (uint32_t k = 0; k < frames[i].parts; k++)
            __builtin_prefetch(&m->pool.shared->table[frames[i].part[k].page], 1);
    }
    for (int i = 0; i < count; i++) {
        struct cs_frame *f = &frames[i];
        struct cs_packet packet = cs_packet_parse(at(m, &f->part[0]), f->part[0].len, cs_frame_bytes(f), &in->netif.address);
        switch (packet.kind) {
        case CS_PACKET_UDP:
            deliver(m, in, f->part, f->parts, &packet);
            continue;
        case CS_PACKET_FRAGMENT:
            reassemble(m, in, f, &packet);
            continue;
        case CS_PACKET_ARP_REQUEST:
            cs_arp_heard(&in->arp, &packet.sender, cs_now_ns());
            send_arp(m, in, &packet.sender);
            break;
        case CS_PACKET_ARP_REPLY:
            cs_arp_heard(&in->arp, &packet.sender, cs_now_ns());
            break;
        default:
            cs_count(m->drops[packet.kind], 1);
        }
        discard(m, f->part, f->parts);
    }
    /* after what waited for us: we may have been kept from the CPU for longer than anybody waits for a fragment */
    if (in->reassembly.count > 0 && count < BATCH)
        cs_reassembly_expire(&in->reassembly, cs_now_ns());
    return count > 0;
}

struct message {
    uint32_t parts;
    struct cs_part part[CS_DATAGRAM_PARTS + 1]; /* and the headers */
};

/* Take a message's containers from their owner: check each, then it is the device's. On a bad descriptor the
 * message is dropped whole, and so are its good containers: their owner said that he gave them away. */
static enum cs_drop claim(struct cs_manager *m, struct cs_endpoint *e, uint32_t descriptors, struct message *f)
{
    enum cs_drop drop = CS_DROPS;
    f->parts = 0;
    for (uint32_t i = 0; i < descriptors; i++) {
        struct cs_desc d = cs_ring_peek(&e->tx, i);
        int64_t page = cs_pool_claim(&m->pool, d.cid, d.off, d.len, (uint16_t)(e->process + 1));
        if (page < 0) {
            drop = CS_DROP_BAD_DESCRIPTOR;
            continue;
        }
        if (m->pool.guard)
            cs_guard_clean(&m->pool, (uint32_t)page, d.off, d.len);
        uint32_t first = (uint32_t)page, pages = m->pool.shared->table[page].pages;
        cs_pool_split(&m->pool, first);
        CS_FAULT("manager.departure_split");
        for (uint32_t k = 0; k < pages; k++) {
            uint32_t start = k * CS_PAGE_SIZE, end = start + CS_PAGE_SIZE;
            uint32_t from = d.off > start ? d.off : start, to = d.off + d.len < end ? d.off + d.len : end;
            if (from < to && f->parts < CS_DATAGRAM_PARTS)
                f->part[f->parts++] = (struct cs_part){first + k, from - start, to - from};
            else {
                if (from < to)
                    drop = CS_DROP_TOO_BIG;
                cs_pool_give(&m->pool, first + k);
            }
        }
    }
    return drop;
}

/* Room for the headers: in front of the data where it leaves some, else in a page of their own. */
static int make_room(struct cs_manager *m, struct message *f)
{
    if (f->parts && f->part[0].off >= CS_UDP_HEADROOM) {
        f->part[0].off -= CS_UDP_HEADROOM;
        f->part[0].len += CS_UDP_HEADROOM;
        return 0;
    }
    int page = cs_pool_take(&m->pool, CS_SENDING);
    if (page < 0)
        return page;
    memmove(&f->part[1], &f->part[0], f->parts * sizeof f->part[0]);
    f->part[0] = (struct cs_part){(uint32_t)page, 0, CS_UDP_HEADROOM};
    f->parts++;
    return 0;
}

/* In one frame if it fits there, else in fragments. */
static enum cs_drop send_parts(struct cs_manager *m, struct cs_endpoint *e, struct message *f)
{
    struct cs_netif *out = &e->interface->netif;
    const struct cs_flow flow = {e->neighbour->address, e->local_port, e->remote_port};
    CS_FAULT("manager.departure_claimed");
    uint32_t bytes = cs_parts_bytes(f->part, f->parts);
    if (bytes + CS_IPV4_BYTES + CS_UDP_BYTES > out->mtu || f->parts >= CS_FRAME_PARTS) {
        int fragments = cs_fragment_put(out, f->part, f->parts, bytes, &flow, m->fragmented_id++);
        if (fragments < 0)
            return fragments == -EMSGSIZE ? CS_DROP_TOO_BIG : CS_DROP_NO_PAGE;
        cs_count(m->fragments_out, (uint64_t)fragments);
    } else {
        if (make_room(m, f) < 0)
            return CS_DROP_NO_PAGE;
        cs_outbox_put(&out->out, f->part, f->parts, bytes, &flow, m->packet_id++);
    }
    cs_count(m->datagrams_out, 1);
    cs_count(m->bytes_out, bytes);
    return CS_DROPS;
}

static enum cs_drop send_message(struct cs_manager *m, struct cs_endpoint *e, uint32_t descriptors)
{
    struct message f;
    enum cs_drop drop = claim(m, e, descriptors, &f);
    if (drop == CS_DROPS)
        drop = e->remote ? send_parts(m, e, &f) : CS_DROP_BAD_DESCRIPTOR;
    if (drop != CS_DROPS)
        discard(m, f.part, f.parts);
    return drop;
}

/* A full network or an unknown neighbour leaves the messages in the ring: that is what holds the writer back. */
bool cs_send_pass(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_netif *out = &e->interface->netif;
    int64_t ready = cs_ring_ready(&e->tx);
    uint32_t messages = 0;
    bool worked = false;
    e->unfinished = 0;
    while (ready > 0 && messages < BATCH) {
        struct cs_desc d = cs_ring_peek(&e->tx, 0);
        uint32_t count = 1;
        if (d.flags & CS_DESC_FREE) {
            int64_t page = cs_pool_check(&m->pool, d.cid, 0, 0, (uint16_t)(e->process + 1));
            if (page >= 0)
                cs_pool_give(&m->pool, (uint32_t)page);
            else
                cs_count(m->drops[CS_DROP_BAD_DESCRIPTOR], 1);
        } else {
            while (d.flags & CS_DESC_MORE && (int64_t)count < ready)
                d = cs_ring_peek(&e->tx, count++);
            if (d.flags & CS_DESC_MORE && (int64_t)count < (int64_t)e->tx.capacity) {
                e->unfinished = count; /* its writer rings when the rest is there */
                return worked;
            }
            if (e->neighbour && messages == 0 && cs_arp_ask(e->neighbour, cs_now_ns()))
                send_arp(m, e->interface, &(struct cs_address){.ip = e->remote});
            if (e->neighbour && !e->neighbour->known)
                goto wait;
            if (cs_outbox_room(&out->out) < CS_DATAGRAM_FRAGMENTS)
                goto wait;
            enum cs_drop drop = send_message(m, e, count);
            if (drop != CS_DROPS)
                cs_count(m->drops[drop], 1);
            messages++;
        }
        CS_FAULT("manager.departure_queued");
        cs_ring_release(&e->tx, count);
        CS_FAULT("manager.departure_released");
        ready -= count;
        worked = true;
    }
    if (ready < 0) {
        cs_control_drop(m, e->process);
        return true;
    }
    return worked;

wait:
    m->held_back = true;
    return worked;
}
