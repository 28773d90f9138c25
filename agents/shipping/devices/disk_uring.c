/* Transfers through io_uring, with the kernel's interface as it is: three system calls and two rings. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "disk.h"

/* All on their way fit into either ring, so neither ever overflows. */
enum { ENTRIES = CS_DISK_DEPTH };

struct uring {
    struct cs_disk disk;
    int fd;
    uint8_t *rings;
    size_t rings_bytes, entries_bytes;
    struct io_uring_sqe *entries;
    _Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
    uint32_t *sq_array, sq_mask, cq_mask;
    const struct io_uring_cqe *results;
    uint32_t queued; /* in the ring, and the kernel was not told */
};

static void uring_close(struct cs_disk *d)
{
    struct uring *u = (struct uring *)d;
    if (u->rings)
        munmap(u->rings, u->rings_bytes);
    if (u->entries)
        munmap(u->entries, u->entries_bytes);
    if (u->fd >= 0)
        close(u->fd);
    free(u);
}

static void *map(const struct uring *u, size_t bytes, off_t what)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd, what);
    return memory == MAP_FAILED ? NULL : memory;
}

static int uring_open(struct cs_disk **out, int doorbell)
{
    struct io_uring_params p = {0};
    struct uring *u = calloc(1, sizeof *u);
    int err = -ENOSYS;
    if (!u)
        return -ENOMEM;
    u->disk.engine = &cs_disk_uring;
    if ((u->fd = (int)syscall(__NR_io_uring_setup, ENTRIES, &p)) < 0)
        goto fail_errno;
    if (!(p.features & IORING_FEAT_SINGLE_MMAP) || !(p.features & IORING_FEAT_NODROP)) /* before Linux 5.5 */
        goto fail;
    size_t sq = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
    size_t cq = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    u->rings_bytes = sq > cq ? sq : cq;
    u->entries_bytes = p.sq_entries * sizeof *u->entries;
    if (!(u->rings = map(u, u->rings_bytes, IORING_OFF_SQ_RING)) ||
        !(u->entries = map(u, u->entries_bytes, IORING_OFF_SQES)) ||
        syscall(__NR_io_uring_register, u->fd, IORING_REGISTER_EVENTFD, &doorbell, 1) < 0)
        goto fail_errno;
    u->sq_tail = (_Atomic uint32_t *)(u->rings + p.sq_off.tail);
    u->sq_array = (uint32_t *)(u->rings + p.sq_off.array);
    u->sq_mask = *(uint32_t *)(u->rings + p.sq_off.ring_mask);
    u->cq_head = (_Atomic uint32_t *)(u->rings + p.cq_off.head);
    u->cq_tail = (_Atomic uint32_t *)(u->rings + p.cq_off.tail);
    u->cq_mask = *(uint32_t *)(u->rings + p.cq_off.ring_mask);
    u->results = (const struct io_uring_cqe *)(u->rings + p.cq_off.cqes);
    *out = &u->disk;
    return 0;

fail_errno:
    err = -errno;
fail:
    uring_close(&u->disk);
    return err;
}

static void uring_start(struct cs_disk *d, struct cs_transfer *t)
{
    static const uint8_t codes[] = {
        [CS_TRANSFER_READ] = IORING_OP_READV, [CS_TRANSFER_WRITE] = IORING_OP_WRITEV, [CS_TRANSFER_CLOSE] = IORING_OP_CLOSE};
    struct uring *u = (struct uring *)d;
    uint32_t tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed); /* ours alone to change */
    struct io_uring_sqe *entry = &u->entries[tail & u->sq_mask];
    memset(entry, 0, sizeof *entry);
    entry->opcode = codes[t->kind];
    entry->fd = t->fd;
    if (t->kind == CS_TRANSFER_CLOSE)
        entry->flags = IOSQE_ASYNC; /* the last one closed of a deleted file frees its blocks, at length */
    else {
        entry->off = t->position;
        entry->addr = (uintptr_t)t->iov;
        entry->len = (uint32_t)t->count;
    }
    entry->user_data = (uintptr_t)t;
    u->sq_array[tail & u->sq_mask] = tail & u->sq_mask;
    /* release: the kernel's acquire of the tail sees the entry */
    atomic_store_explicit(u->sq_tail, tail + 1, memory_order_release);
    u->queued++;
    d->flying++;
}

static bool uring_submit(struct cs_disk *d)
{
    struct uring *u = (struct uring *)d;
    if (u->queued == 0)
        return true;
    long taken = syscall(__NR_io_uring_enter, u->fd, u->queued, 0, 0, NULL, 0);
    if (taken > 0)
        u->queued -= (uint32_t)taken;
    return u->queued == 0;
}

static struct cs_transfer *uring_finished(struct cs_disk *d)
{
    struct uring *u = (struct uring *)d;
    uint32_t head = atomic_load_explicit(u->cq_head, memory_order_relaxed); /* ours alone to change */
    /* acquire: pairs with the kernel's release; the result is written before it is seen */
    if (head == atomic_load_explicit(u->cq_tail, memory_order_acquire))
        return NULL;
    const struct io_uring_cqe *result = &u->results[head & u->cq_mask];
    struct cs_transfer *t = (struct cs_transfer *)(uintptr_t)result->user_data;
    t->result = result->res;
    atomic_store_explicit(u->cq_head, head + 1, memory_order_release);
    d->flying--;
    return t;
}

const struct cs_disk_engine cs_disk_uring = {
    "io_uring", uring_open, uring_start, uring_submit, uring_finished, uring_close,
};
