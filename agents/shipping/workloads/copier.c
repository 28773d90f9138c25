/* cp, as Figure 2 of CS95-441 has it, and as it is without Container Shipping. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs.h"
#include "workloads.h"

struct progress {
    struct ts_control *control;
    struct ts_copier_result *result;
    cs_counter *bytes, *operations;
};

/* False: told to stop. */
static bool progressed(const struct progress *p, int bytes)
{
    p->result->bytes += (uint64_t)bytes;
    p->result->operations++;
    cs_count(p->bytes, (uint64_t)bytes);
    cs_count(p->operations, 1);
    return !atomic_load_explicit(&p->control->stop, memory_order_relaxed);
}

/* Figure 2: two calls for each operation, as with read and write. */
static int do_copy(int src, int dst, int size, const struct progress *p)
{
    int n = 1, err = 0, containers[1], offsets[1], lengths[1];
    struct cs_args args = {.cids = containers, .offs = offsets, .lens = lengths};
    while (n > 0) {
        n = cs_read(src, size, 1, &args, 0);
        if (n > 0) {
            err = cs_write(dst, 1, containers, offsets, lengths, 0);
            if (err < 0 || !progressed(p, lengths[0]))
                break;
        }
    }
    if (err < 0)
        cs_free(1, containers); /* still ours */
    return n < 0 ? n : err;
}

static int copy_shipping(const struct ts_copier_config *c, int in, int out, const struct progress *p)
{
    int err = cs_attach(c->manager_socket), src, dst, closed;
    if (err < 0)
        return err;
    if ((err = src = cs_adopt_file(in, O_RDONLY, -1)) >= 0 && (err = dst = cs_adopt_file(out, O_WRONLY, -1)) >= 0) {
        p->result->how = cs_file_how(src) & cs_file_how(dst);
        p->result->t0_ns = ts_now_ns();
        atomic_store(&p->control->ready, 1);
        err = do_copy(src, dst, (int)c->operation_bytes, p);
        closed = cs_close(dst);
        err = err < 0 ? err : closed;
    }
    p->result->t1_ns = ts_now_ns();
    cs_detach();
    return err;
}

static int write_all(int out, const uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t done = write(out, data, bytes);
        if (done < 0 && errno != EINTR)
            return -errno;
        data += done < 0 ? 0 : done;
        bytes -= done < 0 ? 0 : (size_t)done;
    }
    return 0;
}

static int copy_linux(const struct ts_copier_config *c, int in, int out, const struct progress *p)
{
    void *buffer = NULL;
    ssize_t got;
    int err = -posix_memalign(&buffer, CS_PAGE_SIZE, c->operation_bytes);
    if (err < 0)
        return err;
    posix_fadvise(in, 0, 0, POSIX_FADV_SEQUENTIAL);
    p->result->t0_ns = ts_now_ns();
    atomic_store(&p->control->ready, 1);
    while ((got = read(in, buffer, c->operation_bytes)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if ((err = got < 0 ? -errno : write_all(out, buffer, (size_t)got)) < 0 || !progressed(p, (int)got))
            break;
    }
    p->result->t1_ns = ts_now_ns();
    free(buffer);
    return err;
}

int ts_copier(const struct ts_copier_config *c, struct ts_control *control, struct cs_counters *counters,
              struct ts_copier_result *r)
{
    const struct progress p = {control, r, cs_counter_get(counters, "bytes_copied"), cs_counter_get(counters, "operations")};
    int in = open(c->source, O_RDONLY | O_CLOEXEC), out, err;
    if (in < 0)
        return -errno;
    if ((out = open(c->target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) < 0) {
        err = -errno;
        close(in);
        return err;
    }
    uint64_t cpu = ts_cpu_ns();
    err = (c->manager_socket ? copy_shipping : copy_linux)(c, in, out, &p);
    r->busy_ns = ts_cpu_ns() - cpu;
    if (err == 0 && fsync(out) < 0)
        err = -errno;
    r->synced_ns = ts_now_ns();
    if (close(out) < 0 && err == 0)
        err = -errno;
    close(in);
    return err;
}
