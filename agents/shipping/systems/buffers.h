/* Private buffers of a process, for the systems that copy: allocated once, touched once, reused warmest first. */
#ifndef IO_BUFFERS_H
#define IO_BUFFERS_H

#include <stdint.h>

struct io_buffers {
    uint8_t *memory;
    uint32_t size; /* bytes of each */
    int count, free_count;
    int *free_list;
    int users;
};

/* Shared by the channels of a process; the first use sets the size. 0 or -errno. */
int io_buffers_open(struct io_buffers *b, uint32_t size);
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
