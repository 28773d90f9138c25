/* A network back end: how frames get between an interface and the pool. One file each (xdp, packet). */
#ifndef CS_BACKEND_H
#define CS_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "../core/pool.h"
#include "frame.h"
#include "io_system.h"
#include "outbox.h"
#include "packet_format.h"

struct cs_netif;

struct cs_backend {
    const char *name;
    /* Attach to the interface netif->name. queue: datagrams that may wait in front of us. */
    int (*open)(struct cs_netif *netif, uint32_t queue);
    /* At most max whole frames; their pages (state RECEIVING) are the caller's from now on. */
    int (*receive)(struct cs_netif *netif, struct cs_frame *frames, int max);
    /* Send some of these frames, in order: how many were taken, or -errno. Their pages (state SENDING) go back to the
     * pool when the device is done with them. Sets netif->sending when the kernel did not take all of it yet. */
    int (*send)(struct cs_netif *netif, const struct cs_frame *const *frames, uint32_t count);
    /* Hand what was left of it to the kernel, take back finished pages, leave at most `receiving` pages for arrivals. */
    int (*kick)(struct cs_netif *netif, uint32_t receiving);
    void (*statistics)(struct cs_netif *netif);
    void (*close)(struct cs_netif *netif);
};

extern const struct cs_backend cs_backend_xdp, cs_backend_packet;

struct cs_netif {
    const struct cs_backend *backend;
    struct cs_pool *pool;
    struct cs_netif *sharing; /* xdp: the interface that registered the pool as UMEM, or NULL */
    void *state;              /* the back end's */
    char name[16];
    char mode[64]; /* what was obtained, for the report */
    struct cs_address address;
    uint32_t mask; /* of the subnet */
    uint32_t mtu;
    int fd;          /* polls readable when frames wait */
    bool sending;    /* the back end has frames that the kernel did not take yet */
    struct cs_counters *counters;
    struct cs_outbox out;
};

#endif
