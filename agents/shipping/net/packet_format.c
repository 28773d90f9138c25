#include "packet_format.h"

#include <stddef.h>
#include <string.h>

#include "cs.h"

const char *const cs_packet_kind_names[CS_PACKET_KINDS] = {
    "udp", "fragment", "arp_request", "arp_reply", "not_ip", "not_for_us", "bad_header", "bad_fragment", "not_udp",
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

/* RFC 1071 over a header, whose length is even. */
static uint32_t sum16(const uint8_t *p, uint32_t bytes)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < bytes; i += 2)
        sum += get16(p + i);
    return sum;
}

static uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)(sum + (sum >> 16));
}

static uint16_t header_checksum(const uint8_t *p, uint32_t bytes)
{
    return (uint16_t)~fold(sum16(p, bytes));
}

static struct cs_packet parse_arp(const uint8_t *p, uint32_t len, const struct cs_address *ours)
{
    struct cs_packet packet = {.kind = CS_PACKET_BAD_HEADER};
    if (len < CS_ARP_BYTES || get16(p) != 1 || get16(p + 2) != 0x0800 || p[4] != 6 || p[5] != 4)
        return packet;
    uint16_t operation = get16(p + 6);
    memcpy(packet.sender.mac, p + 8, 6);
    packet.sender.ip = get32(p + 14);
    packet.target = get32(p + 24);
    static const uint8_t nobody[6];
    /* neither learned nor answered: a sender that is no single station (RFC 1812, 3.3.2) */
    if ((operation != 1 && operation != 2) || packet.sender.mac[0] & 1 || memcmp(packet.sender.mac, nobody, 6) == 0)
        return packet;
    if (packet.target != ours->ip)
        packet.kind = CS_PACKET_NOT_FOR_US;
    else
        packet.kind = operation == 1 ? CS_PACKET_ARP_REQUEST : CS_PACKET_ARP_REPLY;
    return packet;
}

bool cs_packet_udp_header(struct cs_packet *packet, const uint8_t *udp, uint32_t len)
{
    uint32_t udp_length = get16(udp + 4);
    if (udp_length < CS_UDP_BYTES || udp_length > len)
        return false;
    packet->source_port = get16(udp);
    packet->target_port = get16(udp + 2);
    packet->payload_off += CS_UDP_BYTES;
    packet->payload_len = udp_length - CS_UDP_BYTES;
    return true;
}

/* Empty, of a length that leaves a hole, or beyond what a datagram can have: none of these can be. A first one that is
 * too short for the UDP header is refused as RFC 1858 says. */
static void parse_fragment(struct cs_packet *packet, const uint8_t *ip, uint32_t header, uint32_t length, uint32_t room)
{
    uint32_t flags = get16(ip + 6), bytes = length - header;
    packet->id = get16(ip + 4);
    packet->more = flags & 0x2000;
    packet->offset = (flags & 0x1fff) * 8;
    packet->payload_off = CS_ETH_BYTES + header;
    packet->payload_len = bytes;
    bool bad = bytes == 0 || (packet->more && bytes % 8) || header + packet->offset + bytes > 65535 ||
               (packet->offset == 0 && (bytes < CS_UDP_BYTES || room < header + CS_UDP_BYTES));
    packet->kind = bad ? CS_PACKET_BAD_FRAGMENT : CS_PACKET_FRAGMENT;
}

struct cs_packet cs_packet_parse(const uint8_t *head, uint32_t head_len, uint32_t total, const struct cs_address *ours)
{
    struct cs_packet packet = {.kind = CS_PACKET_NOT_IP};
    if (head_len < CS_ETH_BYTES || total < head_len)
        return packet;
    uint16_t type = get16(head + 12);
    if (type == 0x0806)
        return parse_arp(head + CS_ETH_BYTES, head_len - CS_ETH_BYTES, ours);
    if (type != 0x0800)
        return packet;

    packet.kind = CS_PACKET_BAD_HEADER;
    const uint8_t *ip = head + CS_ETH_BYTES;
    uint32_t room = head_len - CS_ETH_BYTES;
    if (room < CS_IPV4_BYTES || ip[0] >> 4 != 4)
        return packet;
    uint32_t header = (ip[0] & 15u) * 4, length = get16(ip + 2);
    if (header < CS_IPV4_BYTES || header > room || length < header || length > total - CS_ETH_BYTES ||
        header_checksum(ip, header) != 0)
        return packet;
    packet.sender.ip = get32(ip + 12);
    memcpy(packet.sender.mac, head + 6, 6);
    packet.target = get32(ip + 16);
    if (packet.target != ours->ip || memcmp(head, ours->mac, 6) != 0) {
        packet.kind = CS_PACKET_NOT_FOR_US;
        return packet;
    }
    if (ip[9] != 17) {
        packet.kind = CS_PACKET_NOT_UDP;
        return packet;
    }
    if (get16(ip + 6) & 0x3fff) { /* more fragments, or not the first */
        parse_fragment(&packet, ip, header, length, room);
        return packet;
    }
    packet.payload_off = CS_ETH_BYTES + header;
    if (room >= header + CS_UDP_BYTES && length >= header + CS_UDP_BYTES &&
        cs_packet_udp_header(&packet, ip + header, length - header))
        packet.kind = CS_PACKET_UDP;
    return packet;
}

uint32_t cs_packet_sum(const uint8_t *p, uint32_t bytes, uint32_t before)
{
    uint64_t sum = 0;
    uint32_t word;
    uint16_t rest = 0;
    /* in the machine's own byte order, four at a time: it comes to the same, but for the order (RFC 1071, 2 (B)) */
    for (; bytes >= sizeof word; p += sizeof word, bytes -= sizeof word) {
        memcpy(&word, p, sizeof word);
        sum += word;
    }
    for (; bytes > 0; p += sizeof rest, bytes -= bytes < sizeof rest ? bytes : sizeof rest) {
        rest = 0;
        memcpy(&rest, p, bytes < sizeof rest ? bytes : sizeof rest);
        sum += rest;
    }
    sum = (sum & 0xffffffff) + (sum >> 32);
    const uint16_t folded = fold((uint32_t)((sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32)));
    const uint32_t in_order = get16((const uint8_t *)&folded);
    return before % 2 ? (in_order & 0xff) << 8 | in_order >> 8 : in_order;
}

uint64_t cs_packet_sum_parts(const uint8_t *pages, const struct cs_part *part, uint32_t bytes)
{
    uint64_t sum = 0;
    for (uint32_t before = 0; before < bytes; before += (part++)->len)
        sum += cs_packet_sum(pages + (size_t)part->page * CS_PAGE_SIZE + part->off,
                             part->len < bytes - before ? part->len : bytes - before, before);
    return sum;
}

uint16_t cs_packet_udp_checksum(uint32_t from, uint32_t to, uint32_t len, uint64_t sum)
{
    sum += (from >> 16) + (from & 0xffff) + (to >> 16) + (to & 0xffff) + 17u + len;
    sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    return (uint16_t)~fold((uint32_t)sum);
}

static void write_ethernet(uint8_t *out, const uint8_t *from, const uint8_t *to, uint16_t type)
{
    memcpy(out, to, 6);
    memcpy(out + 6, from, 6);
    put16(out + 12, type);
}

static void write_ipv4(uint8_t *out, const struct cs_address *from, const struct cs_address *to, uint16_t id, uint16_t flags,
                       uint32_t bytes)
{
    uint8_t *ip = out + CS_ETH_BYTES;
    write_ethernet(out, from->mac, to->mac, 0x0800);
    ip[0] = 0x45;
    ip[1] = 0;
    put16(ip + 2, (uint16_t)(CS_IPV4_BYTES + bytes));
    put16(ip + 4, id);
    put16(ip + 6, flags);
    ip[8] = 64;
    ip[9] = 17;
    put16(ip + 10, 0);
    put32(ip + 12, from->ip);
    put32(ip + 16, to->ip);
    put16(ip + 10, header_checksum(ip, CS_IPV4_BYTES));
}

static void write_udp(uint8_t *udp, uint16_t from_port, uint16_t to_port, uint32_t len)
{
    put16(udp, from_port);
    put16(udp + 2, to_port);
    put16(udp + 4, (uint16_t)(CS_UDP_BYTES + len));
    put16(udp + 6, 0);
}

void cs_packet_udp(uint8_t *out, const struct cs_address *from, const struct cs_address *to, uint16_t from_port,
                   uint16_t to_port, uint16_t id, uint32_t len)
{
    write_ipv4(out, from, to, id, 0x4000 /* do not fragment */, CS_UDP_BYTES + len);
    write_udp(out + CS_ETH_BYTES + CS_IPV4_BYTES, from_port, to_port, len);
}

void cs_packet_fragment(uint8_t *out, const struct cs_address *from, const struct cs_address *to, uint16_t id, uint32_t offset,
                        bool more, uint32_t bytes)
{
    write_ipv4(out, from, to, id, (uint16_t)((more ? 0x2000 : 0) | offset / 8), bytes);
}

void cs_packet_udp_in_full(uint8_t *udp, const struct cs_address *from, const struct cs_address *to, uint16_t from_port,
                           uint16_t to_port, uint32_t len, uint64_t sum)
{
    write_udp(udp, from_port, to_port, len);
    uint16_t checksum = cs_packet_udp_checksum(from->ip, to->ip, CS_UDP_BYTES + len, sum + cs_packet_sum(udp, CS_UDP_BYTES, 0));
    put16(udp + 6, checksum ? checksum : 0xffff); /* 0 would say that there is none */
}

void cs_packet_offload(uint8_t *headers)
{
    uint8_t *ip = headers + CS_ETH_BYTES, *udp = ip + CS_IPV4_BYTES;
    put16(udp + 6, fold(sum16(ip + 12, 8) + ip[9] + get16(udp + 4)));
}

void cs_packet_arp(uint8_t *out, const struct cs_address *from, const struct cs_address *to)
{
    static const uint8_t nobody[6], everybody[6] = {255, 255, 255, 255, 255, 255};
    bool request = memcmp(to->mac, nobody, 6) == 0;
    uint8_t *arp = out + CS_ETH_BYTES;
    write_ethernet(out, from->mac, request ? everybody : to->mac, 0x0806);
    put16(arp, 1);
    put16(arp + 2, 0x0800);
    arp[4] = 6;
    arp[5] = 4;
    put16(arp + 6, request ? 1 : 2);
    memcpy(arp + 8, from->mac, 6);
    put32(arp + 14, from->ip);
    memcpy(arp + 18, to->mac, 6);
    put32(arp + 24, to->ip);
}
