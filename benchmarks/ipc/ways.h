/* The C side of `bench ipc`: one table of ways to move a message from one process to another, one loop for all. */
#ifndef WAYS_H
#define WAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As much as may wait between the two processes: the largest that a pipe gets by default, and near what a core's
 * second-level cache holds. */
enum { WAITING_BYTES = 1 << 20, PAGE = 4096 };

/* One direction. What is made before the fork is shared, what is made in `join` belongs to one process. */
struct link {
    const struct way *way;
    const char *name;   /* "there" or "back" */
    const char *socket; /* the manager's, for shipping */
    size_t size;        /* bytes of every message, a multiple of 64 */
    bool touched;       /* the writer makes the bytes, the reader looks at them */
    bool writes;        /* this process's side */

    uint8_t *data; /* writer, after begin: where the message is made; reader, after receive: where it is; or NULL */
    int fd[2];     /* a pipe's or a socket pair's: [0] the reader's end, [1] the writer's. Shipping: [0] its own */
    uint8_t *buffer;
    size_t buffer_bytes, at;
    struct ring *ring;
    int cid;
};

/* All return 0 or -errno. A message is begin, send; receive, release. A call blocks, without spinning, until it can
 * be done. */
struct way {
    const char *name;
    int (*prepare)(struct link *l); /* before the fork */
    int (*join)(struct link *l);    /* in either process, with l->writes set */
    int (*begin)(struct link *l);
    int (*send)(struct link *l);
    int (*receive)(struct link *l);
    int (*release)(struct link *l);
};

extern const struct way way_pipe, way_stream, way_seqpacket, way_vmsplice; /* kernel.c */
extern const struct way way_ring, way_readv;                               /* memory.c */
extern const struct way way_shipping;                                      /* shipping.c */

/* Private memory, there already. *pages says of what kind the pages are; NULL: small ones will do. */
uint8_t *private_memory(size_t bytes, const char **pages);

/* What kind of pages vmsplice got, for the result. */
extern const char *pages_of_splice;

/* Of the manager's pool, as core/manager.h and core/protection.h number them. */
struct pool {
    uint32_t protection, zeroing, page_bytes;
    bool no_recycling;
};

/* Serve the processes of shipping until SIGTERM, messages of that size. "ready\n" goes to `ready`. Returns 0 or -errno
 * with the reason on standard error. */
int run_manager(const char *socket, size_t size, const struct pool *pool, int ready);
/* How many messages of that size may wait in one of shipping's rings. */
int queue_of(size_t size);

/* One at least, as many as fit into WAITING_BYTES, at most `most`, rounded down to a power of two. */
static inline size_t waiting_messages(size_t size, size_t most)
{
    size_t count = 1;
    while (2 * count <= most && 2 * count * size <= WAITING_BYTES)
        count *= 2;
    return count;
}

#endif
