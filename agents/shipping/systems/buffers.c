#define _GNU_SOURCE
#include "buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int io_buffers_open(struct io_buffers *b, uint32_t size, int count)
{
    if (b->users > 0) {
        if (size > b->size)
            return -EMSGSIZE;
        b->users++;
        return 0;
    }
    b->size = (size + 63) & ~63u;
    b->count = count;
    b->memory = mmap(NULL, (uint64_t)b->count * b->size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (b->memory == MAP_FAILED)
        return -errno;
    b->free_list = malloc((size_t)b->count * sizeof *b->free_list);
    if (!b->free_list) {
        munmap(b->memory, (uint64_t)b->count * b->size);
        return -ENOMEM;
    }
    for (b->free_count = 0; b->free_count < b->count; b->free_count++)
        b->free_list[b->free_count] = b->count - 1 - b->free_count;
    b->users = 1;
    return 0;
}

void io_buffers_close(struct io_buffers *b)
{
    if (--b->users > 0)
        return;
    munmap(b->memory, (uint64_t)b->count * b->size);
    free(b->free_list);
    *b = (struct io_buffers){0};
}
