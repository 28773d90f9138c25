/* `shipping`: Container Shipping. Containers move by ownership; nothing is mapped or copied on the way. */
#include "container.h"
#include "cs.h"

static int shipping_read(struct io_channel *c, struct io_message *m, int max)
{
    int n = 0, got;
    /* block for the first only; the doorbells that earlier writes put off are rung before that sleep */
    while (n < max && (got = io_container_read(c, &m[n], n ? CS_DONTWAIT : 0)) != 0) {
        if (got < 0)
            return n ? n : got;
        n++;
    }
    return n;
}

static int shipping_write(struct io_channel *c, const struct io_message *m, int count)
{
    for (int i = 0; i < count; i++) {
        int done = io_container_write(c, &m[i], CS_MORE);
        if (done <= 0)
            return i ? i : done;
    }
    return count;
}

const struct io_system_ops io_shipping = {
    "shipping",         true,               io_container_open, shipping_read,      shipping_write,
    io_container_map, io_container_alloc, io_container_free, io_container_close, cs_flush,
};
