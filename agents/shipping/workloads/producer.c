/* Makes operations as fast as a local channel takes them, or at a rate: a video server makes frames. */
#include <errno.h>

#include "workloads.h"

/* Doorbells wait for this part of the channel's queue, so that a reader that slept finds work for a while. */
enum { FLUSH_PART = 4 };

/* 1, 0 (no memory or no room for it now) or -errno. */
static int produce_one(const struct io_system_ops *ops, struct io_channel *out, const struct ts_producer_config *c,
                       uint64_t number, struct ts_control *control, struct ts_producer_result *r)
{
    struct io_message m;
    void *addr;
    int done = 0, err = ops->alloc(out, (int)c->io.size, &m);
    if (err < 0)
        return err == -ENOBUFS ? 0 : err;
    if (c->access.part && (err = ops->map(out, &m, &addr)) == 0)
        ts_access_write(&c->access, number, (uint8_t *)addr + m.part[0].off, c->io.size);
    while (err == 0 && done == 0 && !atomic_load_explicit(&control->stop, memory_order_relaxed)) {
        done = ops->write(out, &m, 1);
        r->held_back += done == 0;
        err = done < 0 ? done : 0;
    }
    if (done <= 0)
        ops->free(out, &m, 1);
    return err < 0 ? err : done;
}

/* Wait until the next one is due. Those of which the whole time has passed are skipped: nobody wants to see them. */
static void await_next(const struct ts_producer_config *c, const struct ts_watch *w, struct ts_producer_result *r)
{
    uint64_t now = ts_now_ns(), due = (uint64_t)((double)(now - w->start_ns) * c->fps / 1e9);
    uint64_t number = r->measure.operations + r->skipped;
    if (due > number)
        r->skipped += due - number;
    else
        ts_sleep_until(w->start_ns + (uint64_t)((double)number * 1e9 / c->fps));
}

static int produce(const struct io_system_ops *ops, struct io_channel *out, const struct ts_producer_config *c,
                   struct ts_control *control, struct cs_counters *counters, struct ts_producer_result *r)
{
    cs_counter *operations = cs_counter_get(counters, "operations_out"), *bytes = cs_counter_get(counters, "bytes_out");
    struct ts_watch watch = {.interval = &c->interval, .measure = &r->measure};
    const uint64_t flush_every = c->fps > 0 ? 1 : c->io.queue / FLUSH_PART + 1;
    while (!atomic_load_explicit(&control->stop, memory_order_relaxed) && ts_watch_goes_on(&watch)) {
        if (c->fps > 0)
            await_next(c, &watch, r);
        int done = produce_one(ops, out, c, r->measure.operations + r->skipped, control, r);
        if (done < 0)
            return done;
        if (done == 0)
            continue;
        r->measure.operations++;
        r->measure.bytes += c->io.size;
        cs_count(operations, 1);
        cs_count(bytes, c->io.size);
        if (ops->flush && r->measure.operations % flush_every == 0)
            ops->flush();
    }
    ts_watch_end(&watch);
    return 0;
}

int ts_producer(const struct io_system_ops *ops, const struct ts_producer_config *c, struct ts_control *control,
                struct cs_counters *counters, struct ts_producer_result *r)
{
    struct io_channel *out;
    int err = ops->open(&c->io, &out);
    if (err < 0)
        return err;
    atomic_store(&control->ready, 1);
    err = produce(ops, out, c, control, counters, r);
    ops->close(out);
    return err;
}
