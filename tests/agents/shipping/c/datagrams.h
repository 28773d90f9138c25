/* A host, and datagrams read from it. */
#ifndef DATAGRAMS_H
#define DATAGRAMS_H

#include "host.h"

/* Read one message; the number of its containers. */
static inline int take(int fd, int *cids, int *offs, int *lens, int options)
{
    struct cs_args args = {.cids = cids, .offs = offs, .lens = lens};
    return cs_read(fd, FRAME_MAX, 8, &args, options);
}

#endif
