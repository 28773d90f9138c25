/* What both conventional systems share: a connected UDP socket and private buffers. */
#ifndef IO_UDP_SOCKET_H
#define IO_UDP_SOCKET_H

#include "buffers.h"
#include "io_system.h"

struct io_channel {
    int fd;
    uint32_t size;
    uint32_t wanted;
};

extern struct io_buffers io_socket_buffers;

int io_socket_open(const struct io_config *config, struct io_channel **out);
int io_socket_map(struct io_channel *c, const struct io_message *m, void **addrs);
int io_socket_alloc(struct io_channel *c, int size, struct io_message *m);
void io_socket_free(struct io_channel *c, const struct io_message *m, int count);
void io_socket_close(struct io_channel *c);

#endif
