/* Our way: the local channel of libshipping, and its manager. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/manager.h"
#include "cs.h"
#include "ways.h"

enum { WAIT_MS = 20000, MOST_WAITING = 1024 };

static _Atomic int stop;

static void told_to_stop(int number)
{
    (void)number;
    stop = 1;
}

int queue_of(size_t size)
{
    size_t count = waiting_messages(size, MOST_WAITING);
    return count < CS_MIN_QUEUE ? CS_MIN_QUEUE : (int)count;
}

/* For two such channels, with what is on its way and what both sides keep for reuse. */
static uint32_t pool_pages(size_t size, size_t page_bytes)
{
    uint32_t spare = page_bytes == PAGE ? 4096 : 16;
    return spare + 6 * (uint32_t)queue_of(size) * (uint32_t)((size + page_bytes - 1) / page_bytes);
}

int run_manager(const char *socket, size_t size, const struct pool *pool, int ready)
{
    char error[256] = "";
    struct cs_manager *m;
    struct cs_manager_config config = {.backend = "auto",
                                       .pages = pool_pages(size, pool->page_bytes),
                                       .protection = pool->protection,
                                       .zeroing = pool->zeroing,
                                       .no_recycling = pool->no_recycling,
                                       .page_bytes = pool->page_bytes};
    struct cs_counters *counters = NULL;
    if (strlen(socket) >= sizeof config.socket)
        return -ENAMETOOLONG;
    strcpy(config.socket, socket);
    signal(SIGTERM, told_to_stop);
    int fd = memfd_create("counters", MFD_CLOEXEC), err = 0;
    if (fd < 0 || ftruncate(fd, CS_COUNTERS_BYTES) < 0 || !(counters = cs_counters_open(fd)))
        return -errno;
    close(fd);
    if ((err = cs_manager_open(&m, &config, counters, error, sizeof error)) < 0) {
        fprintf(stderr, "ipc: shipping: %s\n", error);
        return err;
    }
    if (write(ready, "ready\n", 6) != 6)
        err = -EPIPE;
    else
        err = cs_manager_run(m, &stop);
    cs_manager_close(m);
    cs_counters_close(counters);
    return err;
}

static int prepare(struct link *l)
{
    (void)l;
    return 0;
}

static int join(struct link *l)
{
    int err = cs_attach(l->socket);
    if (err < 0 && err != -EISCONN) /* with the other direction */
        return err;
    l->fd[0] = cs_open_channel(l->name, queue_of(l->size), WAIT_MS);
    return l->fd[0] < 0 ? l->fd[0] : 0;
}

static int begin(struct link *l)
{
    void *address = NULL;
    l->cid = cs_alloc((int)l->size, &address, l->touched ? CS_MAPNOW : 0);
    l->data = address;
    return l->cid < 0 ? l->cid : 0;
}

static int send_(struct link *l)
{
    const int length = (int)l->size;
    return cs_write(l->fd[0], 1, &l->cid, NULL, &length, 0);
}

static int receive(struct link *l)
{
    int offset, length;
    void *address;
    struct cs_args args = {.cids = &l->cid, .offs = &offset, .lens = &length, .addrs = &address};
    int count = cs_read(l->fd[0], (int)l->size, 1, &args, l->touched ? CS_MAPALL : 0);
    if (count <= 0)
        return count < 0 ? count : -EPIPE;
    if (length != (int)l->size)
        return -EPROTO;
    l->data = l->touched ? (uint8_t *)address + offset : NULL;
    return 0;
}

static int release(struct link *l)
{
    return cs_free(1, &l->cid);
}

const struct way way_shipping = {"shipping", prepare, join, begin, send_, receive, release};
