/* Frames on their way out of one interface, in order. Runs of datagrams of one flow and one size leave as one
 * message that the kernel cuts up behind its stack, just before the adapter (UDP segmentation offload: what
 * `linux-batch` has with UDP_SEGMENT); everything else goes out by the back end, a frame at a time.
 * A message is handed over through AF_PACKET with a virtio_net_hdr (packet(7), PACKET_VNET_HDR): AF_XDP cannot
 * describe one. Either way the kernel's copy out of the pool stands for the adapter's DMA. */
#ifndef CS_OUTBOX_H
#define CS_OUTBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "frame.h"
#include "pool.h"

struct cs_netif;

#define CS_OUTBOX_FRAMES 1024u

struct cs_outbox {
    struct cs_pool *pool;
    int fd; /* the AF_PACKET socket, -1: no segmentation */
    uint32_t first, count;
    struct cs_frame frame[CS_OUTBOX_FRAMES];
    cs_counter *segmented, *drop_send;
};

/* The back end sends frames of their own. `send` takes some of `count`, whose pages are its business from then on, and
 * returns how many, or -errno; `busy`: what it took has not all left, and must not be overtaken. */
struct cs_frames_out {
    int (*send)(struct cs_netif *n, const struct cs_frame *const *frames, uint32_t count);
    bool (*busy)(struct cs_netif *n);
};

/* segmentation false, or not to be had (no CAP_NET_RAW): frames leave one by one, and out->fd is -1. */
void cs_outbox_open(struct cs_outbox *out, struct cs_pool *pool, struct cs_counters *counters, const char *interface,
                    bool segmentation);
void cs_outbox_close(struct cs_outbox *out);
uint32_t cs_outbox_room(const struct cs_outbox *out);
/* The caller has asked for room. */
void cs_outbox_put(struct cs_outbox *out, const struct cs_frame *frame);
/* Send until all is sent or the network holds us back. Returns 0 or -errno. */
int cs_outbox_flush(struct cs_outbox *out, struct cs_netif *n, const struct cs_frames_out *by);
/* How many frames can leave as one message with the one `from` after the first; 1: none but itself. */
uint32_t cs_outbox_run(const struct cs_outbox *out, uint32_t from);

#endif
