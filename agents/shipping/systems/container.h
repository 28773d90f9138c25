/* What both systems on our stack share: an endpoint of the host's manager, and messages of containers. */
#ifndef IO_CONTAINER_H
#define IO_CONTAINER_H

#include "io_system.h"

struct io_channel {
    int fd;
    uint32_t size;
    bool local; /* a local channel */
    int ahead;  /* of a frame buffer: frames that may wait in front of it after a write; else -1 */
    int timeout_ms;
};

int io_container_open(const struct io_config *config, struct io_channel **out);
void io_container_close(struct io_channel *c);
/* One message; 1, 0 (nothing came) or -errno. */
int io_container_read(struct io_channel *c, struct io_message *m, int options);
/* One message; 1, 0 (held back) or -errno. */
int io_container_write(struct io_channel *c, const struct io_message *m, int options);
int io_container_map(struct io_channel *c, const struct io_message *m, void **addrs);
int io_container_alloc(struct io_channel *c, int size, struct io_message *m);
void io_container_free(struct io_channel *c, const struct io_message *m, int count);

#endif
