#include "scanout.h"

#include <stdlib.h>

#include "../core/fault.h"
#include "../core/manager.h"

/* Of a frame: 4 MiB in single pages. The rest of a frame in more and smaller pieces is copied. */
enum { PIECES = 1024 };

struct piece {
    struct cs_part part;
    bool last; /* of its container, which goes back with it */
};

/* The pieces of a frame, from its beginning on. */
struct held {
    uint32_t count;
    struct cs_endpoint *writer;
    uint64_t frame; /* its number, of a whole one */
    struct piece piece[PIECES];
};

struct cs_scanout {
    struct held held[2];
    uint32_t shown; /* which of them; the other is being written */
};

struct cs_scanout *cs_scanout_make(void)
{
    return calloc(1, sizeof(struct cs_scanout));
}

static struct held *shown(struct cs_scanout *s)
{
    return &s->held[s->shown];
}

static struct held *written(struct cs_scanout *s)
{
    return &s->held[!s->shown];
}

bool cs_scanout_add(struct cs_scanout *s, struct cs_endpoint *writer, uint32_t page, uint32_t off, uint32_t bytes, bool last)
{
    struct held *h = written(s);
    struct piece *before = h->count ? &h->piece[h->count - 1] : NULL;
    h->writer = writer;
    if (before && !before->last) { /* the same container, which the bus did not take in one go */
        before->part.len += bytes;
        before->last = last;
        return true;
    }
    if (h->count == PIECES)
        return false;
    h->piece[h->count++] = (struct piece){{page, off, bytes}, last};
    return true;
}

bool cs_scanout_full(const struct cs_scanout *s)
{
    return s->held[!s->shown].count == PIECES;
}

/* Its containers, to be used again or just away. */
static void release(struct cs_manager *m, struct held *h, bool reuse)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (!h->piece[i].last)
            continue;
        if (reuse)
            cs_endpoint_recycle(m, h->writer, h->piece[i].part.page);
        else
            cs_pool_give(&m->pool, h->piece[i].part.page);
    }
    if (h->count && reuse)
        cs_ring_submit(&h->writer->back);
    h->count = 0;
}

void cs_scanout_flip(struct cs_manager *m, struct cs_scanout *s, uint64_t frame)
{
    written(s)->frame = frame;
    s->shown = !s->shown;
    CS_FAULT("manager.flipped");
    release(m, written(s), true);
}

static void fetch(struct cs_manager *m, struct held *h, struct cs_framebuffer_memory *memory, bool reuse)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < h->count; at += h->piece[i++].part.len) {
        const struct cs_part *p = &h->piece[i].part;
        cs_framebuffer_copy(memory, h->frame, at, m->pool.data + (size_t)p->page * CS_PAGE_SIZE + p->off, p->len);
    }
    cs_framebuffer_reveal(memory, h->frame);
    CS_FAULT("manager.fetched");
    release(m, h, reuse);
}

void cs_scanout_fetch(struct cs_manager *m, struct cs_scanout *s, struct cs_framebuffer_memory *memory)
{
    if (shown(s)->count)
        fetch(m, shown(s), memory, true);
}

void cs_scanout_leave(struct cs_manager *m, struct cs_scanout *s, struct cs_framebuffer_memory *memory,
                      const struct cs_endpoint *writer)
{
    if (shown(s)->count && shown(s)->writer == writer)
        fetch(m, shown(s), memory, false);
    if (written(s)->count && written(s)->writer == writer)
        release(m, written(s), false);
}

void cs_scanout_free(struct cs_manager *m, struct cs_scanout *s)
{
    if (!s)
        return;
    release(m, shown(s), true);
    release(m, written(s), true);
    free(s);
}
