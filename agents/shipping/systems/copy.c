/* `copy`: conventional semantics on our stack. Same rings, same manager, same batches of datagrams as `shipping`, but each
 * is copied into a private buffer on reading and out of one on writing. What it loses against `shipping` is what copying
 * costs; what it gains on `linux-batch` is what leaving the kernel's path gives. On local channels operations come singly. */
#include <errno.h>
#include <string.h>

#include "buffers.h"
#include "container.h"
#include "cs.h"

static struct io_buffers buffers;

/* Who copies frees what it has read before it allocates what it writes. When all that others may have waits for it, it
 * can write only in memory that it has: the library keeps one container of a process that has allocated, whatever is scarce.
 * So it has one operation in hand at a time. */
static void keep_one(struct io_channel *c, int size)
{
    struct io_message one;
    if (io_container_alloc(c, size, &one) == 0)
        io_container_free(c, &one, 1);
}

static int copy_open(const struct io_config *config, struct io_channel **out)
{
    int err = io_buffers_open(&buffers, config->size, config->channel ? IO_OPERATION_BUFFERS : IO_DATAGRAM_BUFFERS);
    if (err < 0)
        return err;
    err = io_container_open(config, out);
    if (err < 0)
        io_buffers_close(&buffers);
    else if (config->channel)
        keep_one(*out, (int)config->size);
    return err;
}

static void copy_close(struct io_channel *c)
{
    io_container_close(c);
    io_buffers_close(&buffers);
}

static int copy_read(struct io_channel *c, struct io_message *m, int max)
{
    int n = 0;
    if (c->local && max > 1)
        max = 1;
    while (n < max) {
        struct io_message in;
        void *addrs[IO_PARTS];
        int handle = io_buffers_take(&buffers), bytes = 0;
        if (handle < 0)
            return n ? n : -ENOBUFS;
        int got = io_container_read(c, &in, n ? CS_DONTWAIT : 0);
        if (got > 0 && io_container_map(c, &in, addrs) < 0) {
            io_container_free(c, &in, 1);
            got = -ENOMEM;
        }
        if (got <= 0) {
            io_buffers_give(&buffers, handle);
            return n ? n : got;
        }
        for (int i = 0; i < in.parts; i++) {
            memcpy(io_buffers_at(&buffers, handle) + bytes, (uint8_t *)addrs[i] + in.part[i].off, (size_t)in.part[i].len);
            bytes += in.part[i].len;
        }
        io_container_free(c, &in, 1);
        io_message_one(&m[n++], handle, 0, bytes);
    }
    return n;
}

static int copy_write(struct io_channel *c, const struct io_message *m, int count)
{
    for (int i = 0; i < count; i++) {
        const struct io_part *p = &m[i].part[0];
        const uint8_t *data = io_buffers_at(&buffers, p->handle) + p->off;
        struct io_message out;
        void *addrs[IO_PARTS];
        int err = io_container_alloc(c, p->len, &out);
        if (err < 0)
            return i ? i : c->local && err == -ENOBUFS ? 0 : err;
        err = io_container_map(c, &out, addrs);
        if (err < 0) {
            io_container_free(c, &out, 1);
            return i ? i : err;
        }
        for (int k = 0, at = 0; k < out.parts; at += out.part[k++].len)
            memcpy((uint8_t *)addrs[k] + out.part[k].off, data + at, (size_t)out.part[k].len);
        int done = io_container_write(c, &out, CS_MORE);
        if (done <= 0) {
            io_container_free(c, &out, 1);
            return i ? i : done;
        }
        io_buffers_give(&buffers, p->handle);
    }
    return count;
}

static int copy_map(struct io_channel *c, const struct io_message *m, void **addrs)
{
    (void)c;
    addrs[0] = io_buffers_at(&buffers, m->part[0].handle);
    return 0;
}

static int copy_alloc(struct io_channel *c, int size, struct io_message *m)
{
    int handle = (uint32_t)size <= c->size ? io_buffers_take(&buffers) : -1;
    io_message_one(m, handle, 0, size);
    return handle < 0 ? -ENOBUFS : 0;
}

static void copy_free(struct io_channel *c, const struct io_message *m, int count)
{
    (void)c;
    for (int i = 0; i < count; i++)
        io_buffers_give(&buffers, m[i].part[0].handle);
}

const struct io_system_ops io_copy = {
    "copy", true, copy_open, copy_read, copy_write, copy_map, copy_alloc, copy_free, copy_close,
    cs_flush,
};
