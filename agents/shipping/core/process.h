/* A process's attachment to its host's manager: shared by the calls that open (attach.c), those that move data
 * (calls.c), those about memory (memory.c) and what they sleep on (wait.c). One for each process, used from one thread
 * at a time. */
#ifndef CS_PROCESS_H
#define CS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "counters.h"
#include "protocol.h"
#include "ring.h"

#define CS_MAX_FD 1024
#define CS_OPEN_MAX 64
#define CS_SPARES 256
#define CS_FILE_USUAL (64 << 10) /* bytes of a read, when a file is polled before any was asked for */

struct cs_open {
    int fd; /* an epoll, readable when the manager has rung; -1: unused */
    uint32_t number;
    struct cs_ring rx, tx;
    struct cs_ring back; /* of a channel: what its other end is done with, for us to reuse; of a frame buffer: what was drawn */
    void *memory;
    size_t bytes;
    int timeout_ms;
    bool has_peer, unflushed;
    bool idle; /* the last look for something to read, without waiting, found nothing */
    bool channel;
    uint32_t most; /* containers in a message; 0: as many as tx has room for */
    bool write_only;
    enum { CS_FILE_NOT, CS_FILE_READS, CS_FILE_WRITES } file;
    int asked; /* of a file: what the manager reads ahead, bytes of each container; of one that is written: 1 when it closes */
    int how;   /* of a file: enum cs_file_how */
    struct cs_desc rest; /* of a container that was read in part; cid 0: none */
};

/* Bytes of a container, from its first page on. */
struct cs_extent {
    uint32_t from, to;
};

/* A free container that is still ours. */
struct cs_spare {
    uint32_t cid, pages;
    uint8_t from; /* the channel that it came from, index in open + 1; 0: none */
    bool fetched; /* from the pool, ahead, and not used yet */
};

/* `owned` is this process's own book: the identifier under which it owns a page's container, or 0. It makes
 * -EPERM immediate; the manager's check is the one that protects others. */
struct cs_process {
    bool attached;
    int control, data_fd, doorbell;
    uint32_t pages, shift; /* a page is 1 << shift bytes */
    const struct cs_pool_shared *table;
    uint8_t *data; /* NULL until something is mapped */
    uint32_t protection; /* enum cs_protection */
    bool no_recycling;
    uint32_t *mapped;         /* by first page: the identifier under which it is mapped; NULL: all of the pool is, at once */
    struct cs_extent *extent; /* by first page: what we may see of it. NULL: no edges are zeroed, or the manager does it */
    uint32_t *owned;
    uint8_t *from; /* as in cs_spare, of what is owned */
    struct cs_spare spare[CS_SPARES]; /* warmest last */
    uint32_t spares, spare_pages, keep_pages; /* how many, at most, unless one alone is larger */
    uint32_t reuse; /* containers that were allocated and not yet freed again: so many freed ones are worth keeping */
    uint32_t asked_pages, asked_count; /* the manager, when last it was asked for containers */
    struct cs_open open[CS_OPEN_MAX];
    uint32_t opened;  /* the highest that was ever used + 1 */
    bool unflushed;   /* so is an open one */
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
/* Ask for an endpoint and map its rings. Its descriptor, or -errno. */
int cs_open_endpoint(struct cs_request *q, struct cs_open as);
/* Both, with descriptors beside the request. */
int cs_ask_with(struct cs_request *q, const int *given, int count, struct cs_reply *reply, int *fds);
int cs_open_endpoint_with(struct cs_request *q, const int *given, int count, struct cs_open as);
/* The same with room for so many descriptors. */
int cs_ask_many(struct cs_request *q, const int *given, int count, struct cs_reply *reply, int *fds, int room);

static inline uint32_t cs_pages_of(uint32_t cid)
{
    return cs_self.table->table[cs_cid_page(cid)].pages;
}

static inline size_t cs_bytes_of(uint32_t cid)
{
    return (size_t)cs_pages_of(cid) << cs_self.shift;
}

static inline size_t cs_pool_bytes(void)
{
    return (size_t)cs_self.pages << cs_self.shift;
}

static inline uint8_t *cs_address(uint32_t cid)
{
    return cs_self.data + ((size_t)cs_cid_page(cid) << cs_self.shift);
}

/* memory.c: the page of a container that this process owns under exactly this identifier, or -EPERM / -EBADF */
int64_t cs_mine(int cid);
/* All of them leave our book, or none. -EINVAL: one is named twice. */
int cs_disown(int count, const int *cids);
/* It came from the manager through this endpoint: it is ours from now on. */
void cs_own(const struct cs_desc *d, const struct cs_open *e);
/* As cs_own notes it: where it goes when it is free, and what will be wanted after it. */
void cs_comes_from(uint32_t cid, const struct cs_open *e);
/* What came from this channel goes back to nobody: its place may be another one's soon. */
void cs_end_path(const struct cs_open *e);
/* What cs_alloc finds is counted from now on: `allocated_recycled` was ours, or of our path, before, `allocated_pool` was
 * fetched from the pool. Once for a process, whatever it attaches to. */
void cs_count_allocations(struct cs_counters *c);
/* A free container is kept for the next cs_alloc of its size; if there are too many, the oldest go back. */
void cs_keep(struct cs_spare spare);
/* What the other end of this channel is done with and we had from yet another one goes on to there. */
void cs_return_recycled(struct cs_open *e);
/* The same for all of them, by a process that has nothing to write: else it would keep for ever what others lack. */
void cs_return_all(void);

/* mapping.c. Be able to map anything: the pool, or a range of addresses for it */
int cs_map_pool(void);
/* Have the container, which is ours, at cs_address. */
int cs_map_one(uint32_t cid);
/* The same for the caller, with the edges that hold no data zeroed. */
int cs_show(uint32_t cid);
void cs_zero_edges(uint32_t cid);
/* It leaves us, where not all of the pool is mapped. */
void cs_hide(uint32_t cid);
/* The same for what was mapped ahead and is still in this ring, which nobody will look at again. */
void cs_hide_ahead(const struct cs_ring *r);

/* file.c: the manager reads ahead of cs_read in containers of so many bytes */
int cs_file_ask(struct cs_open *e, int size, int options);
/* 1, or what the manager says instead of a container: 0, the end, or -errno */
int cs_file_status(struct cs_open *e);
/* Until all is written: 0, the first error, -ETIMEDOUT or -EINTR. */
int cs_file_finish(struct cs_open *e);

/* wait.c */
int64_t cs_wait_readable(struct cs_open *e, int options);
int cs_wait_writable(struct cs_open *e, int count, int options);
/* Until the manager has done all that was written, but for so many descriptors. 0 or -errno. */
int cs_wait_done(struct cs_open *e, uint32_t left);
/* Descriptors were put into its ring: the manager must hear of it before we sleep. */
void cs_written(struct cs_open *e);
void cs_ring_manager(void);

#endif
