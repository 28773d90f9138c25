/* libshipping: the Container Shipping calls of Anderson and Pasquale, CS95-441, Table 1.
 *
 * A container is one or more pages of a host's pool, owned by exactly one process. cs_read produces
 * containers, cs_write consumes them; nothing is mapped unless asked. A container that the
 * caller does not own (it gave it away; another generation of the page) is refused with -EPERM, an identifier that
 * names no page with -EBADF.
 *
 * Every call returns a count or 0, or a negative errno value; the library never prints or exits. A
 * process has one attachment (its host's manager is its "kernel"), used from one thread at a time. A child after
 * fork(2) has none of its parent's: it is not attached, and may attach itself. */
#ifndef CS_H
#define CS_H

#include <stddef.h>
#include <stdint.h>

#define CS_PAGE_SIZE 4096

enum cs_options {
    CS_MAPALL = 1,   /* cs_read: map what was read, addresses in args->addrs */
    CS_MAPNOW = 2,   /* cs_alloc: map at once, address in *addr */
    CS_DONTWAIT = 4, /* do not block: -EAGAIN instead, and -EPIPE soon after the manager has gone */
    CS_MORE = 8,     /* cs_write: more follows, the doorbell may wait for it (cs_flush, or a cs_read that blocks) */
};

/* Where cs_read puts what it returns: arrays of at least maxcon elements. All but cids may be NULL ("don't care"). */
struct cs_args {
    int *cids;
    int *offs;
    int *lens;
    int *sizes;   /* of the whole container, in bytes */
    void **addrs; /* of its first byte; NULL without CS_MAPALL */
};

/* Read from the next message of fd: at most size bytes in at most maxcon containers, which the caller then owns.
 * Returns the number of containers; 0 is the end of a channel. What does not fit: of a datagram it is cut off, as
 * recv(2) does; of a channel's message it stays for the next read. docs/calls.md says how. */
int cs_read(int fd, int size, int maxcon, struct cs_args *args, int options);

/* Give count containers to fd as one message, bytes [offs[i], offs[i] + lens[i]) of each. offs NULL: from 0; lens
 * NULL: to the container's end. Returns 0. On error the caller keeps all of them. */
int cs_write(int fd, int count, const int *cids, const int *offs, const int *lens, int options);

/* Map containers the caller owns; addrs may be NULL. A mapping is kept and recycled for as long as the
 * pool's protection allows (docs/protection.md). */
int cs_map(int count, const int *cids, void **addrs, int options);
int cs_unmap(int count, const int *cids);

/* A new container of at least size bytes; returns its identifier. addr may be NULL. Its bytes are
 * what they are, or zero: docs/protection.md.
 * -ENOBUFS when no pages are left, or not for this process: docs/calls.md, shares of the pool. */
int cs_alloc(int size, void **addr, int options);
/* All of them are freed, or on error none. */
int cs_free(int count, const int *cids);

/* The rest of the interface: attach to a host's manager, open and close devices. */
int cs_attach(const char *manager_socket);
void cs_detach(void);
/* A descriptor that polls POLLHUP when the manager has gone; for nothing else. Or -ENOTCONN. */
int cs_manager_fd(void);

/* A UDP endpoint. Addresses and ports in host byte order; remote 0 accepts from anyone and cannot write
 * (-EDESTADDRREQ).
 * queue: datagrams that may wait in the endpoint, two pages each: -ENOBUFS if that is more than half of the pool.
 * timeout_ms: how long a blocking call waits before -ETIMEDOUT (-1: for ever). Returns fd, a descriptor to poll on,
 * see cs_ready. */
int cs_open_udp(uint32_t local, uint16_t local_port, uint32_t remote, uint16_t remote_port, int queue,
                int timeout_ms);

/* One end of the local channel of that name (1 to 63 bytes). The first two that open it are its ends; a third gets
 * -EADDRINUSE until both have closed. It returns at once: what is written before the other end is there waits for it.
 * queue: containers that at least fit into each ring, the writer's and the reader's; what the first to open says counts.
 * When the other end closes or dies, reads give what it had written, then 0; writes give -EPIPE. */
int cs_open_channel(const char *name, int queue, int timeout_ms);

/* A frame buffer, and the bus in front of it. */
struct cs_framebuffer {
    uint64_t bus_limit;     /* bytes/s, 1000 to 10^10; 0: none */
    uint32_t width, height; /* pixels, 1 to 16384 */
    uint32_t bits;          /* of a pixel: 8 (grey), 24 (R G B) or 32 (R G B A); a frame of at most 32 MiB, without padding */
    uint32_t dma;           /* 1: it fetches frames from the containers by itself; 0: the manager copies them there */
};

/* The host's frame buffer of that name (1 to 63 bytes), made when first opened: 640x480, 8 bits, no limit, no DMA. What is written
 * is drawn behind what was written before; when it fills a frame, that is shown and the next begins. Several writers
 * take turns, frame by frame. cs_close waits, at most timeout_ms, until all is drawn. cs_read: -EOPNOTSUPP. */
int cs_open_framebuffer(const char *name, int timeout_ms);

enum cs_requests {
    CS_GET_FRAMEBUFFER, /* arg: struct cs_framebuffer * */
    CS_SET_FRAMEBUFFER, /* the same. The picture is lost. -EBUSY: in the middle of a frame, or somebody else has it open */
    CS_DRAIN,           /* const int *: wait until of what was written no more than so many containers (NULL: none) have still
                           to be drawn, at most timeout_ms: -ETIMEDOUT */
};

/* The other requests to an open device. 0 or -errno; -ENOTTY: not of this device. */
int cs_ioctl(int fd, unsigned request, void *arg);

/* Look at a frame buffer: a descriptor of its memory that nobody can write to, for close(2). -ENOENT: there is none. With DMA
 * the picture of this moment is put there: call it again for another. */
int cs_view_framebuffer(const char *name);
/* Copy out the last whole frame, never a torn one, and count from 1 which it is. 0; -ENODATA: none yet; -ESTALE: its geometry
 * has changed, view it again; -EMSGSIZE: more than bytes; -EAGAIN: it was drawn over each time. Fills geometry, except
 * where view is no such descriptor. */
int cs_read_frame(int view, struct cs_framebuffer *geometry, uint64_t *number, void *pixels, size_t bytes);

/* A regular file, from its beginning, opened by the caller as open(2) does. flags: O_RDONLY or O_WRONLY, and O_CREAT (mode
 * 0666), O_EXCL, O_TRUNC, ... but not O_APPEND. An end of it reads as 0 containers, each time that is found. A write that
 * was accepted fails later, if it does, with what the next call gives: docs/calls.md. */
int cs_open_file(const char *path, int flags, int timeout_ms);
/* The same for a file that is open already, from where its descriptor stands, which is left as it is. flags: O_RDONLY or
 * O_WRONLY. */
int cs_adopt_file(int file, int flags, int timeout_ms);
enum cs_file_how {
    CS_FILE_DIRECT = 1, /* without the page cache where whole pages move; else all goes through it */
    CS_FILE_URING = 2,  /* io_uring; else threads of the manager */
};
/* How bytes move between the file and containers: the bits above, or -errno. */
int cs_file_how(int fd);

/* Of a written file: waits until all is written, and returns the first error there was. */
int cs_close(int fd);

/* Before poll(2): 1 if cs_read would find something (a message, or a channel's end), else 0, and from now on fd polls
 * readable when there is. It is not told of one that came unasked, so: cs_ready, poll, cs_ready. -EBADF; -EPIPE when
 * the manager has gone. */
int cs_ready(int fd);
/* The same for writing: 1 if a container finds room, else 0, and fd polls readable (POLLIN) when half of the queue is
 * free. -EPIPE also when the other end of a channel has gone. */
int cs_writable(int fd);

/* Ring the doorbell that writes with CS_MORE put off. */
void cs_flush(void);

#endif
