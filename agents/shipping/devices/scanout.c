#include "scanout.h"

#include <stdlib.h>

#include "../core/fault.h"
#include "../core/manager.h"

/* Of a frame: 4 MiB in single pages. And of the pool, for all frame buffers together. */
enum { PIECES = 1024, POOL_SHARE = 4 };

struct piece {
    struct cs_part part;
    uint32_t position; /* in the frame */
    bool last;         /* of its container, which goes back with it */
};

/* Of a frame, the pieces that were not copied. */
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

bool cs_scanout_takes(struct cs_manager *m, const struct cs_scanout *s, uint32_t page)
{
    uint32_t pages = m->pool.shared->table[page].pages;
    if (s->held[!s->shown].count == PIECES || m->scanned_out + pages > m->pool.pages / POOL_SHARE)
        return false;
    m->scanned_out += pages;
    return true;
}

void cs_scanout_add(struct cs_scanout *s, struct cs_endpoint *writer, uint32_t position, struct cs_part part, bool last)
{
    struct held *h = written(s);
    struct piece *before = h->count ? &h->piece[h->count - 1] : NULL;
    h->writer = writer;
    if (before && !before->last) { /* the same container, which the bus did not take in one go */
        before->part.len += part.len;
        before->last = last;
    } else /* there is room: the list was not full, or this frame begins with the rest of a container */
        h->piece[h->count++] = (struct piece){part, position, last};
}

void cs_scanout_drop(struct cs_manager *m, uint32_t page)
{
    m->scanned_out -= m->pool.shared->table[page].pages;
}

/* Its containers, to be used again or just away. */
static void release(struct cs_manager *m, struct held *h, bool reuse)
{
    for (uint32_t i = 0; i < h->count; i++) {
        if (!h->piece[i].last)
            continue;
        cs_scanout_drop(m, h->piece[i].part.page);
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
    for (uint32_t i = 0; i < h->count; i++) {
        const struct piece *p = &h->piece[i];
        const uint8_t *from = cs_page_data(&m->pool, p->part.page) + p->part.off;
        cs_framebuffer_copy(memory, h->frame, p->position, from, p->part.len);
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
