/* Private buffers of a process, for the systems that copy: allocated once, touched once, reused warmest first. */
#ifndef IO_BUFFERS_H
#define IO_BUFFERS_H

#include <stdint.h>

#include "io_system.h"

/* For datagrams, what batches on two channels can hold; for operations, one in hand and one that is incomplete, so
 * that a process works in the same memory all the time. */
enum { IO_DATAGRAM_BUFFERS = 4 * IO_BATCH, IO_OPERATION_BUFFERS = 2 };

struct io_buffers {
    uint8_t *memory;
    uint32_t size; /* bytes of each */
    int count, free_count;
    int *free_list;
    int users;
};

/* So many, shared by the channels of a process; the first use sets number and size. 0 or -errno. */
int io_buffers_open(struct io_buffers *b, uint32_t size, int count);
void io_buffers_close(struct io_buffers *b);

static inline int io_buffers_take(struct io_buffers *b)
{
    return b->free_count ? b->free_list[--b->free_count] : -1;
}

static inline void io_buffers_give(struct io_buffers *b, int handle)
{
    b->free_list[b->free_count++] = handle;
}

static inline uint8_t *io_buffers_at(const struct io_buffers *b, int handle)
{
    return b->memory + (uint64_t)handle * b->size;
}

#endif
