/* Datagrams on their way out of one interface, in order, before their headers are written. Runs of one flow and one
 * size leave as one message that the kernel cuts up behind its stack, just before the adapter (UDP segmentation
 * offload: what `linux-batch` has with UDP_SEGMENT); the back end sends everything else, a frame at a time.
 * A message is handed over through AF_PACKET with a virtio_net_hdr (packet(7), PACKET_VNET_HDR): AF_XDP cannot
 * describe one. Either way the kernel's copy out of the pool stands for the adapter's DMA. */
#ifndef CS_OUTBOX_H
#define CS_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "frame.h"
#include "packet_format.h"

#define CS_OUTBOX_FRAMES 1024u
/* Datagrams in a message, at most. More bytes than a UDP datagram can have are allowed: the message stands for what
 * a driver puts into the adapter's ring behind one doorbell, and the lengths in its headers are written anew for
 * each piece. */
#define CS_OUTBOX_RUN 64u

struct cs_netif;

/* Where the datagrams of an endpoint go. */
struct cs_flow {
    struct cs_address to;
    uint16_t from_port, to_port;
};

struct cs_outgoing {
    struct cs_frame frame; /* the first CS_UDP_HEADROOM bytes are for the headers, all in its first part */
    uint32_t bytes;
    uint16_t id;
    bool complete; /* has its headers, or needs none */
    struct cs_flow flow;
};

struct cs_outbox {
    int fd; /* the AF_PACKET socket, -1: no segmentation */
    uint32_t run_bytes; /* in a message, at most */
    uint32_t first, count;
    struct cs_outgoing queue[CS_OUTBOX_FRAMES];
    cs_counter *segmented, *drop_send;
};

/* segmentation false, or not to be had: frames leave one by one, and out->fd is -1. */
void cs_outbox_open(struct cs_netif *n, bool segmentation);
void cs_outbox_close(struct cs_netif *n);
uint32_t cs_outbox_room(const struct cs_outbox *out);
/* Queue one frame, whose pages (state SENDING) go back to the pool when the device is done with them: with flow, a
 * datagram without its headers; without, a whole frame. The caller has asked for room. */
void cs_outbox_put(struct cs_outbox *out, const struct cs_part *part, uint32_t parts, uint32_t bytes,
                   const struct cs_flow *flow, uint16_t id);
/* Send until all is sent or the network holds us back. Returns 0 or -errno. */
int cs_outbox_flush(struct cs_netif *n);
/* How many datagrams can leave as one message with the one `from` after the first; 1: none but itself. */
uint32_t cs_outbox_run(const struct cs_outbox *out, uint32_t from);

#endif
