/* The frame buffer: a memory of the manager's that stands for an adapter's, behind a bus. Either the manager copies there
 * what processes write (programmed I/O), in pieces between which the loop does its other work; or the adapter fetches it
 * from the containers by itself (DMA), see scanout.h. Several writers take turns frame by frame. A picture stays when its
 * writers have gone. */
#define _GNU_SOURCE
#include "framebuffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../core/fault.h"
#include "../core/manager.h"
#include "scanout.h"

enum { PASS_BYTES = 64 << 10, PASS_STEPS = 256, QUEUE = 256 };

static const struct cs_framebuffer at_first = {.width = 640, .height = 480, .bits = 8};

struct cs_framebuffer_device {
    char name[CS_CHANNEL_NAME];
    struct cs_framebuffer_memory memory;
    struct cs_scanout *scanout; /* with DMA, else NULL */
    uint32_t open;      /* endpoints */
    uint16_t drawing;   /* whose frame is not whole yet: its endpoint + 1, or 0 */
    uint64_t last_open; /* of all openings, which was its last */
};

static struct cs_framebuffer_device *named(struct cs_manager *m, const char *name)
{
    for (uint32_t i = 0; i < CS_FRAMEBUFFERS; i++)
        if (m->framebuffer[i] && strcmp(m->framebuffer[i]->name, name) == 0)
            return m->framebuffer[i];
    return NULL;
}

/* A place for one more: one that was never used, else that of the picture which nobody has open for the longest time. */
static struct cs_framebuffer_device **place(struct cs_manager *m)
{
    struct cs_framebuffer_device **oldest = NULL;
    for (uint32_t i = 0; i < CS_FRAMEBUFFERS; i++) {
        struct cs_framebuffer_device **at = &m->framebuffer[i];
        if (!*at)
            return at;
        if (!(*at)->open && (!oldest || (*at)->last_open < (*oldest)->last_open))
            oldest = at;
    }
    return oldest;
}

static void discard(struct cs_manager *m, struct cs_framebuffer_device **at)
{
    if (!*at)
        return;
    cs_scanout_free(m, (*at)->scanout);
    cs_framebuffer_free(&(*at)->memory);
    free(*at);
    *at = NULL;
}

void cs_framebuffers_close(struct cs_manager *m)
{
    for (uint32_t i = 0; i < CS_FRAMEBUFFERS; i++)
        discard(m, &m->framebuffer[i]);
}

static int make(struct cs_manager *m, const char *name, struct cs_framebuffer_device **made)
{
    struct cs_framebuffer_device **at = place(m), *d;
    int err;
    if (!at)
        return -ENOSPC;
    if (!(d = calloc(1, sizeof *d)))
        return -ENOMEM;
    if ((err = cs_framebuffer_make(&d->memory, &at_first)) < 0) {
        free(d);
        return err;
    }
    strcpy(d->name, name);
    discard(m, at);
    *at = *made = d;
    return 0;
}

static bool is_name(const char *name)
{
    return name[0] && memchr(name, 0, CS_CHANNEL_NAME);
}

int cs_framebuffer_open(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply, int *fds)
{
    if (!is_name(q->framebuffer.name))
        return -EINVAL;
    struct cs_framebuffer_device *d = named(m, q->framebuffer.name);
    struct cs_endpoint *e = cs_endpoint_unused(m);
    int err;
    if (!e)
        return -EMFILE;
    if (!d && (err = make(m, q->framebuffer.name, &d)) < 0)
        return err;
    if ((err = cs_endpoint_begin(m, e, process, QUEUE, true, fds)) < 0)
        return err;
    e->framebuffer = d;
    d->open++;
    d->last_open = ++m->framebuffer_openings;
    return cs_endpoint_opened(m, e, reply);
}

int cs_framebuffer_view(struct cs_manager *m, const struct cs_request *q, int *fds)
{
    struct cs_framebuffer_device *d = is_name(q->framebuffer.name) ? named(m, q->framebuffer.name) : NULL;
    if (!d)
        return -ENOENT;
    if (d->scanout)
        cs_scanout_fetch(m, d->scanout, &d->memory);
    return cs_duplicate(fds, &d->memory.fd, 1);
}

static int set_geometry(struct cs_manager *m, struct cs_framebuffer_device *d, const struct cs_framebuffer *geometry)
{
    struct cs_framebuffer_memory memory;
    struct cs_scanout *scanout = NULL;
    int err = cs_framebuffer_make(&memory, geometry);
    if (err < 0)
        return err;
    if (geometry->dma && !(scanout = cs_scanout_make())) {
        cs_framebuffer_free(&memory);
        return -ENOMEM;
    }
    cs_scanout_free(m, d->scanout);
    cs_framebuffer_free(&d->memory);
    d->scanout = scanout;
    d->memory = memory;
    return 0;
}

int cs_framebuffer_ioctl(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply)
{
    struct cs_endpoint *e = &m->endpoint[q->ioctl.endpoint < CS_ENDPOINTS ? q->ioctl.endpoint : 0];
    if (q->ioctl.endpoint >= CS_ENDPOINTS || !e->used || e->process != process)
        return -EBADF;
    struct cs_framebuffer_device *d = e->framebuffer;
    if (!d)
        return -ENOTTY;
    if (q->ioctl.request == CS_SET_FRAMEBUFFER) {
        if (d->open > 1 || d->drawing || cs_ring_ready(&e->tx) != 0)
            return -EBUSY;
        int err = set_geometry(m, d, &q->ioctl.geometry);
        if (err < 0)
            return err;
    } else if (q->ioctl.request != CS_GET_FRAMEBUFFER)
        return -EINVAL;
    reply->geometry = d->memory.shared->geometry;
    return 0;
}

/* Take what the descriptor names from its owner: false if there is nothing to draw in it. */
static bool begin(struct cs_manager *m, struct cs_endpoint *e, struct cs_desc d)
{
    struct cs_scanout *scanout = e->framebuffer->scanout;
    int64_t page = cs_pool_claim(&m->pool, d.cid, d.off, d.len, (uint16_t)(e->process + 1));
    if (page < 0) {
        cs_count(m->drops[CS_DROP_BAD_DESCRIPTOR], 1);
        return false;
    }
    if (d.len == 0 || d.flags & CS_DESC_FREE) {
        cs_pool_give(&m->pool, (uint32_t)page);
        return false;
    }
    if (m->pool.guard)
        cs_guard_clean(&m->pool, (uint32_t)page, d.off, d.len);
    cs_pool_move(&m->pool, (uint32_t)page, 0, CS_SENDING);
    CS_FAULT("manager.drawing_begun");
    e->drawn = (struct cs_part){(uint32_t)page, d.off, d.len};
    e->kept = scanout && cs_scanout_takes(m, scanout, (uint32_t)page);
    return true;
}

/* Bytes of the container that is being drawn that belong to this frame, and that the bus takes now. */
static uint32_t granted(struct cs_framebuffer_memory *memory, uint32_t left, uint32_t most)
{
    uint32_t bytes = memory->frame_bytes - memory->position;
    if (bytes > left)
        bytes = left;
    if (bytes > most)
        bytes = most;
    return cs_bus_grant(&memory->bus, memory->bus.limit ? cs_now_ns() : 0, bytes);
}

/* Of the container that is being drawn, so many bytes are on the screen, or the device's to fetch. True: the frame is whole. */
static bool transfer(struct cs_manager *m, struct cs_endpoint *e, uint32_t bytes)
{
    struct cs_framebuffer_device *d = e->framebuffer;
    struct cs_framebuffer_memory *memory = &d->memory;
    const struct cs_part now = {e->drawn.page, e->drawn.off, bytes};
    const uint8_t *from = cs_page_data(&m->pool, now.page) + now.off;
    if (!d->scanout)
        return cs_framebuffer_draw(memory, from, bytes);
    if (e->kept)
        cs_scanout_add(d->scanout, e, memory->position, now, bytes == e->drawn.len);
    else
        cs_framebuffer_copy(memory, memory->frames, memory->position, from, bytes);
    bool whole = cs_framebuffer_advance(memory, bytes);
    if (whole)
        cs_scanout_flip(m, d->scanout, memory->frames - 1);
    return whole;
}

/* Draw what the bus takes of the container that is being drawn; how many bytes. */
static uint32_t draw(struct cs_manager *m, struct cs_endpoint *e, uint32_t most)
{
    struct cs_framebuffer_device *d = e->framebuffer;
    uint32_t bytes = granted(&d->memory, e->drawn.len, most), page = e->drawn.page;
    if (bytes == 0)
        return 0;
    bool whole = transfer(m, e, bytes);
    d->drawing = whole ? 0 : (uint16_t)(e - m->endpoint + 1);
    e->drawn.off += bytes;
    e->drawn.len -= bytes;
    CS_FAULT("manager.drawn");
    if (e->drawn.len == 0 && !e->kept)
        cs_endpoint_recycle(m, e, page);
    cs_count(m->frames, whole);
    cs_count(m->frame_bytes, bytes);
    return bytes;
}

bool cs_framebuffer_pass(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_framebuffer_device *device = e->framebuffer;
    int64_t ready = cs_ring_ready(&e->tx);
    uint32_t copied = 0, used = 0, steps = 0;
    bool moved = false;
    if (ready < 0 || cs_ring_space(&e->back) < 0) {
        cs_control_drop(m, e->process);
        return true;
    }
    e->blocked = false;
    while ((int64_t)used < ready && copied < PASS_BYTES && steps++ < PASS_STEPS) {
        if (e->drawn.len == 0 && !begin(m, e, cs_ring_peek(&e->tx, 0))) {
            cs_ring_release(&e->tx, 1);
            used++;
            continue;
        }
        if (device->drawing && device->drawing != e - m->endpoint + 1) {
            e->blocked = true; /* until that frame is whole */
            break;
        }
        uint32_t now = draw(m, e, e->kept ? UINT32_MAX : PASS_BYTES - copied);
        if (now == 0) {
            m->held_back = true;
            break;
        }
        moved = true;
        copied += e->kept ? 0 : now;
        if (e->drawn.len == 0) { /* in the ring until here, so that its writer knows what is on its way */
            cs_ring_release(&e->tx, 1);
            used++;
        }
        if (!device->drawing && device->open > 1)
            break; /* the others' turn */
    }
    cs_ring_submit(&e->back);
    return used > 0 || moved;
}

void cs_framebuffer_leave(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_framebuffer_device *d = e->framebuffer;
    if (d->scanout)
        cs_scanout_leave(m, d->scanout, &d->memory, e);
    if (e->drawn.len > 0 && e->kept)
        cs_scanout_drop(m, e->drawn.page);
    if (e->drawn.len > 0)
        cs_pool_give(&m->pool, e->drawn.page);
    if (d->drawing == e - m->endpoint + 1)
        d->drawing = d->memory.position = 0;
    CS_FAULT("manager.drawing_left");
    d->open--;
}
