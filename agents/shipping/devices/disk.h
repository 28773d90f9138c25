/* Transfers between memory and files that never make the manager's loop wait: handed to the kernel (io_uring), or to a
 * few threads where the kernel has none. The doorbell, an eventfd, rings when one has finished. */
#ifndef CS_DISK_H
#define CS_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define CS_DISK_DEPTH 256 /* transfers on their way, at most */

enum cs_transfer_kind { CS_TRANSFER_READ, CS_TRANSFER_WRITE, CS_TRANSFER_CLOSE };

struct cs_transfer {
    enum cs_transfer_kind kind;
    int fd;
    uint64_t position;
    struct iovec *iov; /* stays as it is until the transfer has finished */
    int count;
    int64_t result;           /* bytes, or -errno */
    struct cs_transfer *next; /* the engine's */
    void *owner;              /* whoever started it */
};

struct cs_disk {
    const struct cs_disk_engine *engine;
    uint32_t flying; /* started and not yet taken as finished: the caller's to keep below CS_DISK_DEPTH */
};

struct cs_disk_engine {
    const char *name;
    int (*open)(struct cs_disk **out, int doorbell);
    void (*start)(struct cs_disk *d, struct cs_transfer *t);
    /* What was started really goes. False: try again soon. */
    bool (*submit)(struct cs_disk *d);
    /* The next that has finished, or NULL. */
    struct cs_transfer *(*finished)(struct cs_disk *d);
    void (*close)(struct cs_disk *d); /* with nothing on its way */
};

extern const struct cs_disk_engine cs_disk_uring, cs_disk_threads;

#endif
