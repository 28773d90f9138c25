/* A process's attachment to its host's manager: shared by the calls that open (attach.c) and those that move
 * data (calls.c). One for each process, used from one thread at a time. */
#ifndef CS_PROCESS_H
#define CS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"
#include "ring.h"

#define CS_MAX_FD 1024
#define CS_OPEN_MAX 64
#define CS_CACHE 256

struct cs_open {
    int fd; /* the doorbell; -1: unused */
    uint32_t number;
    struct cs_ring rx, tx;
    void *memory;
    size_t bytes;
    int timeout_ms;
    bool has_peer, unflushed;
    bool idle; /* the last look for something to read, without waiting, found nothing */
};

/* `owned` is this process's own book: the identifier under which it owns a page's container, or 0. It makes
 * -EPERM immediate; the manager's check is the one that protects others. */
struct cs_process {
    bool attached;
    int control, data_fd, doorbell;
    uint32_t pages;
    const struct cs_pool_shared *table;
    uint8_t *data; /* NULL until something is mapped */
    uint32_t *owned;
    uint32_t cache[CS_CACHE]; /* free single-page containers that are still ours, warmest last */
    uint32_t cached;
    struct cs_open open[CS_OPEN_MAX];
    uint8_t by_fd[CS_MAX_FD]; /* fd -> index in open + 1 */
};

extern struct cs_process cs_self;

static inline struct cs_open *cs_find(int fd)
{
    if (!cs_self.attached || fd < 0 || fd >= CS_MAX_FD || cs_self.by_fd[fd] == 0)
        return NULL;
    return &cs_self.open[cs_self.by_fd[fd] - 1];
}

/* One request to the manager, one reply: its error. fds: room for CS_REPLY_FDS or NULL; -1 where none came. */
int cs_ask(struct cs_request *q, struct cs_reply *reply, int *fds);

#endif
