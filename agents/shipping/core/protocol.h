/* What a process and its host's manager say to each other over the manager's socket (SOCK_SEQPACKET).
 * Rare calls only: data moves through the rings. Descriptors travel as SCM_RIGHTS beside the reply. */
#ifndef CS_PROTOCOL_H
#define CS_PROTOCOL_H

#include <stdint.h>

#include "pool.h"

#define CS_ALLOC_BATCH 64
/* What idles for reuse in one process, or in one ring, is no more than this part of the pool. */
#define CS_KEEP_SHARE 16
#define CS_RECYCLE_SHARE 4
#define CS_CHANNEL_NAME 64
#define CS_MAP_BATCH 64 /* pages */
#define CS_MAP_AHEAD 7 /* containers beside the one that is wanted now */
#define CS_CHANNEL_PARTS 64 /* containers in one message of a channel, or of a file */
#define CS_FILE_QUEUE 64
#define CS_FILE_MOST (1 << 20) /* bytes that one read of a file gives */

enum cs_call {
    CS_CALL_ATTACH,
    CS_CALL_OPEN_UDP,
    CS_CALL_CLOSE,
    CS_CALL_ALLOC,
    CS_CALL_OPEN_CHANNEL,
    CS_CALL_CUT,
    CS_CALL_FREE,
    CS_CALL_OPEN_FRAMEBUFFER,
    CS_CALL_VIEW_FRAMEBUFFER,
    CS_CALL_IOCTL,
    CS_CALL_OPEN_FILE,
    CS_CALL_MAP,
    CS_CALL_SHIELD,
    CS_CALLS
};

struct cs_request {
    uint32_t version; /* CS_LAYOUT_VERSION */
    uint32_t call;
    union {
        struct {
            uint32_t local, remote;
            uint16_t local_port, remote_port;
            uint32_t queue;
        } udp;
        struct {
            char name[CS_CHANNEL_NAME]; /* ends with a zero byte */
            uint32_t queue;
        } channel;
        struct {
            char name[CS_CHANNEL_NAME]; /* ends with a zero byte */
        } framebuffer; /* open, view */
        struct {
            uint32_t endpoint, request; /* enum cs_requests */
            struct cs_framebuffer geometry;
        } ioctl;
        struct {
            uint64_t position; /* of the first byte */
            uint32_t writes;   /* 1, or 0: reads */
        } file;
        uint32_t endpoint; /* close */
        struct {
            uint32_t pages, count;
        } alloc;
        struct {
            uint32_t cid, pages; /* leave it so many */
        } cut;
        struct {
            uint32_t count;
            uint32_t cids[CS_ALLOC_BATCH];
        } free;
        struct {
            uint32_t cid, from; /* page of the container */
            uint32_t count;     /* of others, to be mapped whole if they can be in the same answer */
            uint32_t others[CS_MAP_AHEAD];
        } map;
        uint64_t base; /* shield: where the pool is mapped; its userfaultfd comes with the request */
    };
};

/* ATTACH sends the table (read-only), a doorbell of the manager's and, except in the strict tier, the pool; every OPEN the
 * rings' memory and the process's doorbell; VIEW the frame buffer's memory. CUT names the rest in `allocated`. MAP, in the
 * tiers that are not cooperative, says how many pages were granted, and in the strict one sends a descriptor of each, those
 * of the others after the first one's. */
struct cs_reply {
    int32_t error; /* 0 or -errno */
    union {
        struct {
            uint32_t pool_pages, page_shift, protection, zeroing, no_recycling;
        };
        struct {
            uint32_t granted, others; /* pages of the first one; how many of the others, in their order */
        };
        struct {
            uint32_t endpoint, rx_capacity, tx_capacity, back_capacity; /* 0: no such ring */
            uint32_t how; /* of a file: enum cs_file_how */
        } opened;
        struct {
            uint32_t count;
            uint32_t cids[CS_ALLOC_BATCH];
        } allocated;
        struct cs_framebuffer geometry;
    };
};

#define CS_REPLY_FDS 3
#define CS_REQUEST_FDS 2 /* OPEN_FILE: the file, and the same again with O_DIRECT if that could be had */

#endif
