/* The memory of a frame buffer, and the bus in front of it: shared by the manager's device, whose writers hand in
 * containers, and by a conventional display process, which copies what it has read.
 *
 * The memory is one sealed file: a page that describes it, then SLOTS frames. Frame number n (from 0) is drawn into
 * slot n % SLOTS, so that who looks at the last whole frame has at least the time of one more until it is drawn over,
 * and `begun` tells when it was. Who made it writes; nobody else can map it writable. */
#ifndef CS_FRAMEBUFFER_H
#define CS_FRAMEBUFFER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cs.h"

#define CS_FRAMEBUFFER_LAYOUT 2
#define CS_FRAMEBUFFER_SLOTS 3

struct cs_framebuffer_shared {
    uint32_t version;
    _Atomic uint32_t retired; /* the geometry changed: what is drawn from now on is drawn elsewhere */
    struct cs_framebuffer geometry;
    _Atomic uint64_t begun; /* frames of which something was drawn */
    _Atomic uint64_t shown; /* whole ones */
    _Atomic uint64_t bytes;
};

/* A bus that moves at most `limit` bytes/s. When what it has moved is through, it takes more: since_ns + moved / limit. */
struct cs_bus {
    uint64_t limit; /* 0: none */
    uint64_t since_ns, moved;
};

struct cs_framebuffer_memory {
    int fd;
    struct cs_framebuffer_shared *shared;
    size_t mapped;
    uint32_t frame_bytes, position; /* of the frame that is being drawn */
    uint64_t frames, bytes;         /* the writer's own: it reads nothing back from what others see */
    struct cs_bus bus;
};

/* 0, or -EINVAL. */
int cs_framebuffer_check(const struct cs_framebuffer *g);
static inline uint32_t cs_frame_bytes_of(const struct cs_framebuffer *g)
{
    return g->width * g->height * (g->bits / 8);
}

/* How many of the wanted bytes may move now; with a limit, no more than it moves in a millisecond. 0: none yet. */
uint32_t cs_bus_grant(struct cs_bus *b, uint64_t now_ns, uint32_t wanted);
/* When the next grant can be had. */
uint64_t cs_bus_due_ns(const struct cs_bus *b);

/* fd is what a viewer is given: no writable mapping of it can be made any more. 0 or -errno. */
int cs_framebuffer_make(struct cs_framebuffer_memory *f, const struct cs_framebuffer *geometry);
void cs_framebuffer_free(struct cs_framebuffer_memory *f);
/* Draw at the frame position count bytes, which the frame has room for. True: it is whole, and shown. */
bool cs_framebuffer_draw(struct cs_framebuffer_memory *f, const void *bytes, uint32_t count);
/* The three steps of that, for a device that draws later or never: copy into frame number `frame` (from 0) at a place of it;
 * move the position on (true: the frame is whole); show frame number `frame`. */
void cs_framebuffer_copy(struct cs_framebuffer_memory *f, uint64_t frame, uint32_t at, const void *bytes, uint32_t count);
bool cs_framebuffer_advance(struct cs_framebuffer_memory *f, uint32_t count);
void cs_framebuffer_reveal(struct cs_framebuffer_memory *f, uint64_t frame);
/* The same for a process that copies by itself: any count, as fast as the bus takes it, sleeping meanwhile. 0, or
 * -EINTR when *stop (which may be NULL). */
int cs_framebuffer_show(struct cs_framebuffer_memory *f, const void *bytes, size_t count, const _Atomic int *stop);

#endif
