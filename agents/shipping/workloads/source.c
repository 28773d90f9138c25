/* Sends numbered datagrams at a steady rate. The schedule is absolute: what is late is sent at once, so that
 * the mean rate holds; only a network that holds the sender back makes it fall behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "workloads.h"

enum { HEAD_START_NS = 50000000 };

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

static void stamp(uint8_t *p, uint32_t flow, uint64_t sequence, uint64_t now, uint32_t flags)
{
    put32(p, TS_MAGIC);
    put32(p + 4, flow);
    put64(p + 8, sequence);
    put64(p + 16, now);
    put32(p + 24, flags);
}

static int send_some(const struct io_system_ops *ops, struct io_channel *out, const struct ts_source_config *c,
                     struct ts_control *control, struct ts_source_result *r, int count, uint32_t flags)
{
    struct io_message m[IO_BATCH];
    uint64_t now = ts_now_ns();
    int done = 0;
    for (int i = 0; i < count; i++) {
        void *addrs[IO_PARTS];
        int err = ops->alloc(out, (int)c->io.size, &m[i]);
        if (err < 0 || (err = ops->map(out, &m[i], addrs)) < 0) {
            ops->free(out, m, i);
            return err;
        }
        stamp((uint8_t *)addrs[0] + m[i].part[0].off, c->flow, r->sent + (uint64_t)i, now, flags);
    }
    while (done < count && !atomic_load_explicit(&control->stop, memory_order_relaxed)) {
        int n = ops->write(out, m + done, count - done);
        if (n < 0) {
            ops->free(out, m + done, count - done);
            return n;
        }
        r->held_back += n < count - done;
        done += n;
    }
    ops->free(out, m + done, count - done);
    r->sent += (uint64_t)done;
    r->sent_measured += flags & TS_MEASURED ? (uint64_t)done : 0;
    return done;
}

static int run(const struct io_system_ops *ops, struct io_channel *out, const struct ts_source_config *c,
               struct ts_control *control, struct cs_counters *counters, struct ts_source_result *r)
{
    cs_counter *datagrams = cs_counter_get(counters, "datagrams_out"), *bytes = cs_counter_get(counters, "bytes_out");
    const double gap_ns = 1e9 / c->datagrams_per_second;
    const uint64_t warmup = (uint64_t)((double)c->warmup_ns / gap_ns);
    const uint64_t total = warmup + (uint64_t)((double)c->duration_ns / gap_ns);
    if (warmup > 0) {
        /* The first one goes ahead, so that everybody on its way knows the next station's address: while ARP waits
         * for a reply, the kernel keeps some 25 datagrams of this size and drops the rest without a name. */
        int n = send_some(ops, out, c, control, r, 1, 0);
        if (n < 0)
            return n;
        cs_count(datagrams, (uint64_t)n);
        cs_count(bytes, (uint64_t)n * c->io.size);
        ts_sleep_until(ts_now_ns() + HEAD_START_NS);
    }
    uint64_t start = ts_now_ns(), cpu = 0;
    while (r->sent < total && !atomic_load_explicit(&control->stop, memory_order_relaxed)) {
        uint64_t now = ts_now_ns(), due = (uint64_t)((double)(now - start) / gap_ns) + 1;
        /* a batch never straddles the start of the measured interval */
        uint64_t limit = r->sent < warmup ? warmup : total;
        if (due > limit)
            due = limit;
        if (due <= r->sent) {
            ts_sleep_until(start + (uint64_t)((double)r->sent * gap_ns));
            continue;
        }
        if (r->sent >= warmup && r->t0_ns == 0) {
            /* what warm-up was late must not be caught up here: the schedule starts again */
            start = now - (uint64_t)((double)warmup * gap_ns);
            due = warmup + 1;
            r->t0_ns = now;
            cpu = ts_cpu_ns();
        }
        uint64_t count = due - r->sent;
        r->ticks++;
        r->late_ticks += count > IO_BATCH;
        int n = send_some(ops, out, c, control, r, count > IO_BATCH ? IO_BATCH : (int)count,
                          r->sent < warmup ? 0 : TS_MEASURED);
        if (n < 0)
            return n;
        cs_count(datagrams, (uint64_t)n);
        cs_count(bytes, (uint64_t)n * c->io.size);
    }
    /* the last datagram's slot is part of the interval */
    uint64_t end = start + (uint64_t)((double)total * gap_ns);
    if (r->sent == total && ts_now_ns() < end)
        ts_sleep_until(end);
    r->t1_ns = ts_now_ns();
    r->busy_ns = r->t0_ns ? ts_cpu_ns() - cpu : 0;
    return 0;
}

int ts_source(const struct io_system_ops *ops, const struct ts_source_config *c, struct ts_control *control,
              struct cs_counters *counters, struct ts_source_result *r)
{
    struct io_channel *out;
    if (c->io.size < TS_HEADER_BYTES || !(c->datagrams_per_second > 0))
        return -EINVAL;
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* the default of 50 us would make every gap that much longer */
    int err = ops->open(&c->io, &out);
    if (err < 0)
        return err;
    atomic_store(&control->ready, 1);
    err = run(ops, out, c, control, counters, r);
    ops->close(out);
    return err;
}
