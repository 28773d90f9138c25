/* Ways through memory that both processes can reach: a ring that one copies into and the other out of, and
 * process_vm_readv, with which the reader takes a message out of the writer's memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ring.h"
#include "ways.h"

enum { HUGE_BYTES = 2 << 20, PIECE = 64 << 10 };

/* How much of this process is in transparent huge pages, in KiB. */
static long transparent(void)
{
    char line[256];
    long kib = 0;
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "AnonHugePages: %ld", &kib) != 1)
        ;
    if (file)
        fclose(file);
    return kib;
}

uint8_t *private_memory(size_t bytes, const char **pages)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    if (!pages) {
        uint8_t *small = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
        return small == MAP_FAILED ? NULL : small;
    }
    size_t rounded = (bytes + HUGE_BYTES - 1) & ~(size_t)(HUGE_BYTES - 1);
    uint8_t *huge = mmap(NULL, rounded, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
    *pages = "huge";
    if (huge != MAP_FAILED)
        return huge;
    long before = transparent();
    uint8_t *loose = mmap(NULL, rounded + HUGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (loose == MAP_FAILED)
        return NULL;
    uint8_t *aligned = (uint8_t *)(((uintptr_t)loose + HUGE_BYTES - 1) & ~(uintptr_t)(HUGE_BYTES - 1));
    madvise(aligned, rounded, MADV_HUGEPAGE); /* an advice: what came of it is looked up */
    memset(aligned, 0, rounded);
    *pages = transparent() > before ? "transparent huge" : "small";
    return aligned;
}

static int shared_ring(struct link *l, size_t capacity)
{
    void *memory = mmap(NULL, sizeof *l->ring + capacity, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    l->ring = memory;
    l->ring->capacity = (uint32_t)capacity;
    return 0;
}

static int own_buffer(struct link *l, size_t bytes)
{
    l->buffer = private_memory(bytes, NULL);
    l->data = l->touched ? l->buffer : NULL;
    return l->buffer ? 0 : -ENOMEM;
}

static int nothing(struct link *l)
{
    (void)l;
    return 0;
}

static int prepare_ring(struct link *l)
{
    return shared_ring(l, WAITING_BYTES);
}

static int join_ring(struct link *l)
{
    return own_buffer(l, l->size);
}

/* As much as can be had at once, in pieces that the other side can begin with while we copy on. */
static uint32_t piece(struct ring *r, uint32_t index, size_t left, uint32_t available)
{
    uint32_t to_end = r->capacity - (index & (r->capacity - 1)), count = left < PIECE ? (uint32_t)left : PIECE;
    count = count < available ? count : available;
    return count < to_end ? count : to_end;
}

static int send_ring(struct link *l)
{
    for (size_t done = 0; done < l->size;) {
        uint32_t space = ring_wait_space(l->ring), head = atomic_load_explicit(&l->ring->head, memory_order_relaxed);
        uint32_t count = piece(l->ring, head, l->size - done, space);
        memcpy(ring_at(l->ring, head), l->buffer + done, count);
        ring_submit(l->ring, count);
        done += count;
    }
    return 0;
}

static int receive_ring(struct link *l)
{
    for (size_t done = 0; done < l->size;) {
        uint32_t used = ring_wait_used(l->ring), tail = atomic_load_explicit(&l->ring->tail, memory_order_relaxed);
        uint32_t count = piece(l->ring, tail, l->size - done, used);
        memcpy(l->buffer + done, ring_at(l->ring, tail), count);
        ring_release(l->ring, count);
        done += count;
    }
    return 0;
}

const struct way way_ring = {"ring-memcpy", prepare_ring, join_ring, nothing, send_ring, receive_ring, nothing};

/* What goes through the ring: where a message lies in the writer's memory. Its place is free again when the reader has
 * released the entry. */
struct place {
    uint64_t address;
    int32_t pid;
    uint32_t unused;
};

static size_t places(const struct link *l)
{
    size_t count = waiting_messages(l->size, 64);
    return count < 2 ? 2 : count;
}

static int prepare_readv(struct link *l)
{
    return shared_ring(l, places(l) * sizeof(struct place));
}

static int join_readv(struct link *l)
{
    /* where a security module wants it said; the reader is not the writer's parent */
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    return own_buffer(l, l->writes ? places(l) * l->size : l->size);
}

static int begin_readv(struct link *l)
{
    ring_wait_space(l->ring);
    uint32_t head = atomic_load_explicit(&l->ring->head, memory_order_relaxed);
    l->at = head / sizeof(struct place) % places(l) * l->size;
    l->data = l->touched ? l->buffer + l->at : NULL;
    return 0;
}

static int send_readv(struct link *l)
{
    struct place p = {.address = (uintptr_t)(l->buffer + l->at), .pid = getpid()};
    memcpy(ring_at(l->ring, atomic_load_explicit(&l->ring->head, memory_order_relaxed)), &p, sizeof p);
    ring_submit(l->ring, sizeof p);
    return 0;
}

static int receive_readv(struct link *l)
{
    struct place p;
    ring_wait_used(l->ring);
    memcpy(&p, ring_at(l->ring, atomic_load_explicit(&l->ring->tail, memory_order_relaxed)), sizeof p);
    for (size_t done = 0; done < l->size;) {
        struct iovec to = {l->buffer + done, l->size - done};
        struct iovec from = {(void *)(uintptr_t)(p.address + done), l->size - done};
        ssize_t got = process_vm_readv(p.pid, &to, 1, &from, 1, 0);
        if (got <= 0)
            return got < 0 ? -errno : -EIO;
        done += (size_t)got;
    }
    ring_release(l->ring, sizeof p);
    return 0;
}

const struct way way_readv = {"process-vm-readv", prepare_readv, join_readv,    begin_readv,
                              send_readv,         receive_readv, nothing};
