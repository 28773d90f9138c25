/* What a frame buffer consists of: memory that is looked at while it is drawn into, and the clock of its bus. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "framebuffer.h"

enum {
    SLACK_NS = 10000000,   /* a timer may be that late and the bus still reaches its limit */
    PARTS_OF_SECOND = 1000, /* a grant is what the bus moves in one */
    NS = 1000000000,
    MOST_SIDE = 16384,
    MOST_BYTES = 32 << 20, /* a frame */
    ATTEMPTS = 64,
};

static const uint64_t least_limit = PARTS_OF_SECOND, most_limit = 10000000000; /* 10^10 * NS fits into 64 bits */

int cs_framebuffer_check(const struct cs_framebuffer *g)
{
    if (g->width == 0 || g->width > MOST_SIDE || g->height == 0 || g->height > MOST_SIDE ||
        (g->bits != 8 && g->bits != 24 && g->bits != 32) ||
        (uint64_t)g->width * g->height * (g->bits / 8) > MOST_BYTES || g->dma > 1 ||
        (g->bus_limit && (g->bus_limit < least_limit || g->bus_limit > most_limit)))
        return -EINVAL;
    return 0;
}

uint64_t cs_bus_due_ns(const struct cs_bus *b)
{
    return b->limit ? b->since_ns + b->moved * NS / b->limit : 0;
}

uint32_t cs_bus_grant(struct cs_bus *b, uint64_t now_ns, uint32_t wanted)
{
    uint64_t due = cs_bus_due_ns(b);
    if (!b->limit)
        return wanted;
    if (due > now_ns)
        return 0;
    if (now_ns - due > SLACK_NS) { /* it had nothing to do: that time is not made up for */
        b->since_ns = now_ns - SLACK_NS;
        b->moved = 0;
    }
    if (wanted > b->limit / PARTS_OF_SECOND)
        wanted = (uint32_t)(b->limit / PARTS_OF_SECOND);
    b->moved += wanted;
    if (b->moved >= b->limit) { /* whole seconds go to the time, so that the product above never overflows */
        b->moved -= b->limit;
        b->since_ns += NS;
    }
    return wanted;
}

static size_t slot_bytes(uint32_t frame_bytes)
{
    return ((size_t)frame_bytes + CS_PAGE_SIZE - 1) & ~(size_t)(CS_PAGE_SIZE - 1);
}

static size_t slot_at(uint32_t frame_bytes, uint64_t frame)
{
    return CS_PAGE_SIZE + frame % CS_FRAMEBUFFER_SLOTS * slot_bytes(frame_bytes);
}

int cs_framebuffer_make(struct cs_framebuffer_memory *f, const struct cs_framebuffer *geometry)
{
    int err = cs_framebuffer_check(geometry);
    *f = (struct cs_framebuffer_memory){.fd = -1};
    if (err < 0)
        return err;
    f->frame_bytes = cs_frame_bytes_of(geometry);
    f->bus.limit = geometry->bus_limit;
    f->mapped = CS_PAGE_SIZE + CS_FRAMEBUFFER_SLOTS * slot_bytes(f->frame_bytes);
    f->fd = memfd_create("transship-framebuffer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (f->fd < 0 || ftruncate(f->fd, (off_t)f->mapped) < 0)
        goto fail;
    /* not populated: a large frame's pages would take the manager's loop longer than it may stand still */
    void *memory = mmap(NULL, f->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    if (memory == MAP_FAILED)
        goto fail;
    f->shared = memory;
    if (fcntl(f->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        goto fail;
    f->shared->version = CS_FRAMEBUFFER_LAYOUT;
    f->shared->geometry = *geometry;
    return 0;

fail:
    err = -errno;
    cs_framebuffer_free(f);
    return err;
}

void cs_framebuffer_free(struct cs_framebuffer_memory *f)
{
    if (f->shared) {
        atomic_store_explicit(&f->shared->retired, 1, memory_order_relaxed);
        munmap(f->shared, f->mapped);
    }
    if (f->fd >= 0)
        close(f->fd);
    *f = (struct cs_framebuffer_memory){.fd = -1};
}

void cs_framebuffer_copy(struct cs_framebuffer_memory *f, uint64_t frame, uint32_t at, const void *bytes, uint32_t count)
{
    /* never back: a frame that is copied late may come after the beginning of the next */
    if (atomic_load_explicit(&f->shared->begun, memory_order_relaxed) <= frame)
        atomic_store_explicit(&f->shared->begun, frame + 1, memory_order_relaxed);
    /* release: pairs with the acquire fence in look; who copied a byte of ours finds that we had begun */
    atomic_thread_fence(memory_order_release);
    memcpy((uint8_t *)f->shared + slot_at(f->frame_bytes, frame) + at, bytes, count);
}

bool cs_framebuffer_advance(struct cs_framebuffer_memory *f, uint32_t count)
{
    f->position += count;
    f->bytes += count;
    atomic_store_explicit(&f->shared->bytes, f->bytes, memory_order_relaxed);
    if (f->position < f->frame_bytes)
        return false;
    f->position = 0;
    f->frames++;
    return true;
}

void cs_framebuffer_reveal(struct cs_framebuffer_memory *f, uint64_t frame)
{
    /* release: pairs with the acquire in look; the frame is whole before it is shown */
    atomic_store_explicit(&f->shared->shown, frame + 1, memory_order_release);
}

bool cs_framebuffer_draw(struct cs_framebuffer_memory *f, const void *bytes, uint32_t count)
{
    cs_framebuffer_copy(f, f->frames, f->position, bytes, count);
    bool whole = cs_framebuffer_advance(f, count);
    if (whole)
        cs_framebuffer_reveal(f, f->frames - 1);
    return whole;
}

static uint64_t monotonic_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

int cs_framebuffer_show(struct cs_framebuffer_memory *f, const void *bytes, size_t count, const _Atomic int *stop)
{
    const uint8_t *next = bytes;
    while (count > 0) {
        uint32_t room = f->frame_bytes - f->position;
        uint32_t now = cs_bus_grant(&f->bus, monotonic_ns(), count < room ? (uint32_t)count : room);
        if (stop && atomic_load_explicit(stop, memory_order_relaxed))
            return -EINTR;
        if (now == 0) {
            uint64_t due = cs_bus_due_ns(&f->bus);
            struct timespec until = {(time_t)(due / NS), (long)(due % NS)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            continue;
        }
        cs_framebuffer_draw(f, next, now);
        next += now;
        count -= now;
    }
    return 0;
}

/* The last whole frame, or -EAGAIN if it was drawn over meanwhile. */
static int look(const struct cs_framebuffer_shared *shared, uint32_t frame_bytes, uint64_t *number, void *pixels)
{
    /* acquire: pairs with the release in cs_framebuffer_draw when the frame was whole */
    uint64_t shown = atomic_load_explicit(&shared->shown, memory_order_acquire);
    if (shown == 0)
        return -ENODATA;
    memcpy(pixels, (const uint8_t *)shared + slot_at(frame_bytes, shown - 1), frame_bytes);
    /* acquire: pairs with the release fence in cs_framebuffer_draw */
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&shared->begun, memory_order_relaxed) >= shown + CS_FRAMEBUFFER_SLOTS)
        return -EAGAIN;
    *number = shown;
    return 0;
}

int cs_read_frame(int view, struct cs_framebuffer *geometry, uint64_t *number, void *pixels, size_t bytes)
{
    struct stat file;
    if (!geometry || !number || (!pixels && bytes))
        return -EINVAL;
    if (fstat(view, &file) < 0)
        return -errno;
    if (file.st_size < CS_PAGE_SIZE)
        return -EPROTO;
    void *memory = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_SHARED, view, 0);
    if (memory == MAP_FAILED)
        return -errno;
    const struct cs_framebuffer_shared *shared = memory;
    *geometry = shared->geometry;
    uint32_t frame_bytes = 0;
    int err = -EPROTO;
    if (shared->version == CS_FRAMEBUFFER_LAYOUT && cs_framebuffer_check(geometry) == 0) {
        frame_bytes = cs_frame_bytes_of(geometry);
        if ((size_t)file.st_size == CS_PAGE_SIZE + CS_FRAMEBUFFER_SLOTS * slot_bytes(frame_bytes))
            err = bytes < frame_bytes ? -EMSGSIZE : -EAGAIN;
    }
    for (int i = 0; err == -EAGAIN && i < ATTEMPTS; i++)
        err = look(shared, frame_bytes, number, pixels);
    if ((err == 0 || err == -ENODATA) && atomic_load_explicit(&shared->retired, memory_order_relaxed))
        err = -ESTALE;
    munmap(memory, (size_t)file.st_size);
    return err;
}
