/* Ethernet (RFC 894), ARP (RFC 826), IPv4 (RFC 791) and UDP (RFC 768) headers: recognised and written.
 *
 * Pure functions over bytes from the network, which are untrusted: nothing here reads beyond what it
 * was given. UDP checksums are treated as offloaded, for every I/O system alike: the adapter has
 * verified them on arrival, and a datagram sent carries none (RFC 768 allows it). That holds for datagrams of one
 * frame. No adapter sees the whole of one in fragments, so that one's checksum is computed here, as the kernel does. */
#ifndef CS_PACKET_FORMAT_H
#define CS_PACKET_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

#define CS_ETH_BYTES 14u
#define CS_ARP_BYTES 28u
#define CS_IPV4_BYTES 20u
#define CS_UDP_BYTES 8u
#define CS_UDP_HEADROOM (CS_ETH_BYTES + CS_IPV4_BYTES + CS_UDP_BYTES)
#define CS_UDP_MOST (65535u - CS_IPV4_BYTES - CS_UDP_BYTES) /* bytes that a datagram can carry */

struct cs_address {
    uint8_t mac[6];
    uint32_t ip; /* host byte order */
};

enum cs_packet_kind {
    CS_PACKET_UDP,
    CS_PACKET_FRAGMENT, /* of a UDP datagram */
    CS_PACKET_ARP_REQUEST,
    CS_PACKET_ARP_REPLY,
    /* the rest is dropped, each kind under its own name */
    CS_PACKET_NOT_IP,
    CS_PACKET_NOT_FOR_US,
    CS_PACKET_BAD_HEADER,
    CS_PACKET_BAD_FRAGMENT,
    CS_PACKET_NOT_UDP,
    CS_PACKET_KINDS
};

struct cs_packet {
    enum cs_packet_kind kind;
    struct cs_address sender; /* ARP: who says so; UDP: source address */
    uint32_t target;          /* destination address, host byte order */
    uint16_t source_port, target_port;
    uint32_t payload_off; /* from the start of the frame; a fragment's payload is IP's, the UDP header part of it */
    uint32_t payload_len;
    uint32_t offset; /* a fragment's payload, in that of its datagram */
    uint16_t id;
    bool more; /* it is not the last */
};

extern const char *const cs_packet_kind_names[CS_PACKET_KINDS];

/* head: the first part of a frame of `total` bytes, head_len of them contiguous. ours: this interface's address. */
struct cs_packet cs_packet_parse(const uint8_t *head, uint32_t head_len, uint32_t total, const struct cs_address *ours);

/* Fill in what the UDP header of a reassembled datagram says: the first CS_UDP_BYTES of an IP payload of len bytes.
 * False: it cannot be. */
bool cs_packet_udp_header(struct cs_packet *packet, const uint8_t *udp, uint32_t len);

/* The sum of RFC 1071 over bytes that come after `before` others. The sums of all of them are added. */
uint32_t cs_packet_sum(const uint8_t *p, uint32_t bytes, uint32_t before);
/* That of the first `bytes` of these parts of a pool's pages. */
uint64_t cs_packet_sum_parts(const uint8_t *pages, const struct cs_part *part, uint32_t bytes);
/* The UDP checksum of a datagram: of its addresses, and of len bytes (header and payload) with that sum; 0: the checksum
 * that was among them is right. */
uint16_t cs_packet_udp_checksum(uint32_t from, uint32_t to, uint32_t len, uint64_t sum);

/* Write the 42 bytes in front of a payload of len bytes. */
void cs_packet_udp(uint8_t *out, const struct cs_address *from, const struct cs_address *to, uint16_t from_port,
                   uint16_t to_port, uint16_t id, uint32_t len);

/* Write the 34 bytes in front of a fragment with `bytes` bytes of its datagram's IP payload. */
void cs_packet_fragment(uint8_t *out, const struct cs_address *from, const struct cs_address *to, uint16_t id, uint32_t offset,
                        bool more, uint32_t bytes);
/* Write the UDP header of a datagram whose len bytes have that sum, with its checksum. */
void cs_packet_udp_in_full(uint8_t *udp, const struct cs_address *from, const struct cs_address *to, uint16_t from_port,
                           uint16_t to_port, uint32_t len, uint64_t sum);

/* Leave the UDP checksum of written headers to the adapter: the field gets the pseudo-header's sum
 * (linux/virtio_net.h, VIRTIO_NET_HDR_F_NEEDS_CSUM). */
void cs_packet_offload(uint8_t *headers);

/* Write an ARP frame of 42 bytes: a request for to->ip if its MAC is all zero, else the reply to it. */
void cs_packet_arp(uint8_t *out, const struct cs_address *from, const struct cs_address *to);

#endif
