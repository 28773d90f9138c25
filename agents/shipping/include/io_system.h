/* An I/O system: one way to move data, as a table of operations in the shape of the six calls.
 *
 * Workloads are written once against this table, in batches. A message is owned by its holder from read (or
 * alloc) until write (or free); map says where its bytes are. Handles mean what the system says: a private
 * buffer, a container. All channels of a process share its messages, so what one read another may write.
 * A message is a datagram or, on a local channel, an operation: `size` bytes of one process for another of its host.
 * To add a system: one C file, one row in systems/table.c, one test. */
#ifndef IO_SYSTEM_H
#define IO_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "cs.h"

/* Of the largest datagram (65507 bytes) in the frames of an Ethernet, each in a page of its own. */
#define IO_PARTS 48
#define IO_BATCH 64
/* Bytes that may wait in the network on behalf of one sender, for every system: as SO_SNDBUF takes it. */
#define IO_SEND_BUFFER (16 << 20)

struct io_part {
    int handle;
    int off, len;
};

struct io_message {
    int parts;
    struct io_part part[IO_PARTS];
};

/* Addresses and ports in host byte order. remote 0: a channel that only reads. A local channel has no addresses: its
 * two ends open the same name, in any order, and one of them writes. */
struct io_config {
    const char *channel; /* a local channel of that name; NULL: UDP */
    const struct cs_framebuffer *framebuffer; /* a frame buffer of that name and geometry, only to write to; NULL: none */
    bool shown; /* of a frame buffer: a write returns when what it wrote is on the screen */
    uint32_t local, remote;
    uint16_t local_port, remote_port;
    uint32_t queue; /* messages that may wait for the reader, or in front of the frame buffer */
    uint32_t size;  /* largest datagram, or an operation, bytes */
    uint32_t wanted; /* a reader that looks at this much of each only; 0: all. Lengths are told in full. */
    bool pieces;     /* a reader that takes operations in the pieces in which they come */
    int timeout_ms; /* a blocking call returns 0 after that, so that its caller can look around */
    const char *manager_socket;
};

static inline void io_message_one(struct io_message *m, int handle, int off, int len)
{
    m->parts = 1; /* the other parts are not written: they would be most of the work */
    m->part[0] = (struct io_part){handle, off, len};
}

struct io_channel;

struct io_system_ops {
    const char *name;
    bool on_our_stack; /* needs the host's manager */
    int (*open)(const struct io_config *config, struct io_channel **out);
    /* Wait for one message, then take what is there, at most max. Count (0: time-out) or -errno; -ENODATA: the writer
     * of a local channel has closed or died, and all that it wrote has been read. */
    int (*read)(struct io_channel *c, struct io_message *m, int max);
    /* Consume count messages. How many were taken (fewer: held back until the time-out) or -errno, none taken. */
    int (*write)(struct io_channel *c, const struct io_message *m, int count);
    int (*map)(struct io_channel *c, const struct io_message *m, void **addrs);
    int (*alloc)(struct io_channel *c, int size, struct io_message *m);
    void (*free)(struct io_channel *c, const struct io_message *m, int count);
    void (*close)(struct io_channel *c);
    void (*flush)(void); /* what was written may wait for this, or for the next call that blocks; NULL: nothing ever does */
};

extern const struct io_system_ops io_linux, io_linux_batch, io_copy, io_shipping;
extern const struct io_system_ops io_linux_stream; /* local channels only */

/* The tables, of those for datagrams and those for local channels; NULL for an unknown name or past the end. */
const struct io_system_ops *io_system(const char *name);
const struct io_system_ops *io_system_at(int index);
const struct io_system_ops *io_local_system(const char *name);
const struct io_system_ops *io_local_system_at(int index);

#endif
