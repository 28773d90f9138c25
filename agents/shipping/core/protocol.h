/* What a process and its host's manager say to each other over the manager's socket (SOCK_SEQPACKET).
 * Rare calls only: data moves through the rings. Descriptors travel as SCM_RIGHTS beside the reply. */
#ifndef CS_PROTOCOL_H
#define CS_PROTOCOL_H

#include <stdint.h>

#include "pool.h"

#define CS_ALLOC_BATCH 64

enum cs_call { CS_CALL_ATTACH, CS_CALL_OPEN_UDP, CS_CALL_CLOSE, CS_CALL_ALLOC, CS_CALL_FREE };

struct cs_request {
    uint32_t version; /* CS_LAYOUT_VERSION */
    uint32_t call;
    union {
        struct {
            uint32_t local, remote;
            uint16_t local_port, remote_port;
            uint32_t queue;
        } udp;
        uint32_t endpoint; /* close */
        uint32_t cid;      /* free */
        struct {
            uint32_t pages, count;
        } alloc;
    };
};

/* ATTACH sends the pool, the table (read-only) and the manager's doorbell; OPEN_UDP the rings' memory
 * and the reader's doorbell. */
struct cs_reply {
    int32_t error; /* 0 or -errno */
    union {
        uint32_t pool_pages;
        struct {
            uint32_t endpoint, rx_capacity, tx_capacity;
        } opened;
        struct {
            uint32_t count;
            uint32_t cids[CS_ALLOC_BATCH];
        } allocated;
    };
};

#define CS_REPLY_FDS 3

#endif
