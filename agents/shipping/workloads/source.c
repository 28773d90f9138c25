/* Sends numbered datagrams at a steady rate. The schedule is absolute: what is late is sent at once, so that
 * the mean rate holds; only a network that holds the sender back makes it fall behind. Rate and size may change
 * meanwhile: the schedule then goes on from where it is. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>

#include "workloads.h"

enum { HEAD_START_NS = 50000000, LOOK_NS = 100000000 };

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

/* When each datagram is due: number `from` at `start`, the others a gap apart. Those below `warmup` are not measured. */
struct schedule {
    uint64_t start, from, warmup, total;
    double gap_ns;
};

static uint64_t due_at(const struct schedule *s, uint64_t number)
{
    return s->start + (uint64_t)((double)(number - s->from) * s->gap_ns);
}

static uint64_t so_many(const struct ts_source_config *c, double gap_ns)
{
    return c->duration_ns ? (uint64_t)((double)c->duration_ns / gap_ns) : UINT64_MAX / 2;
}

/* Another rate from now on. What is left of warm-up and of the measured interval takes as long as it would have. */
static void change_rate(struct schedule *s, const struct ts_source_config *c, uint64_t sent, uint64_t now, double gap_ns)
{
    const bool warm = sent >= s->warmup;
    const uint64_t part = warm ? s->total : s->warmup;
    const uint64_t end = warm && !c->duration_ns ? now : due_at(s, part);
    const uint64_t left = sent + (end > now ? (uint64_t)((double)(end - now) / gap_ns) : 0);
    if (!warm) {
        s->warmup = left;
        s->total = left + so_many(c, gap_ns);
    } else if (c->duration_ns) {
        s->total = left;
    }
    s->start = now;
    s->from = sent;
    s->gap_ns = gap_ns;
}

struct source {
    const struct io_system_ops *ops;
    struct ts_source_config config; /* as it was opened */
    struct io_channel *out;
    struct ts_control *control;
    struct ts_source_result *result;
    cs_counter *datagrams, *bytes;
    struct schedule schedule;
    uint64_t pace;
    uint32_t size; /* of what is sent now */
};

static bool stopped(const struct source *s)
{
    return atomic_load_explicit(&s->control->stop, memory_order_relaxed);
}

static bool paced_anew(const struct source *s)
{
    return atomic_load_explicit(&s->control->pace, memory_order_relaxed) != s->pace;
}

/* Wait for that moment, but not so long that nobody could stop or change the source. */
static void wait_for(uint64_t ns)
{
    uint64_t look = ts_now_ns() + LOOK_NS;
    ts_sleep_until(ns < look ? ns : look);
}

/* Do as the control block says. A channel that was opened for smaller datagrams is opened again. */
static int obey(struct source *s)
{
    s->pace = atomic_load_explicit(&s->control->pace, memory_order_relaxed);
    s->size = ts_pace_size(s->pace);
    change_rate(&s->schedule, &s->config, s->result->sent, ts_now_ns(), 1e9 / ts_pace_rate(s->pace));
    if (s->size <= s->config.io.size)
        return 0;
    s->ops->close(s->out);
    s->out = NULL;
    s->config.io.size = s->size;
    return s->ops->open(&s->config.io, &s->out);
}

static int send_some(struct source *s, int count, uint32_t flags)
{
    const struct io_system_ops *ops = s->ops;
    struct ts_source_result *r = s->result;
    struct io_message m[IO_BATCH];
    uint64_t now = ts_now_ns();
    int done = 0;
    for (int i = 0; i < count; i++) {
        void *addrs[IO_PARTS];
        int err = ops->alloc(s->out, (int)s->size, &m[i]);
        if (err < 0 || (err = ops->map(s->out, &m[i], addrs)) < 0) {
            ops->free(s->out, m, i);
            return err;
        }
        stamp((uint8_t *)addrs[0] + m[i].part[0].off, s->config.flow, r->sent + (uint64_t)i, now, flags);
    }
    while (done < count && !stopped(s)) {
        int n = ops->write(s->out, m + done, count - done);
        if (n < 0) {
            ops->free(s->out, m + done, count - done);
            return n;
        }
        r->held_back += n < count - done;
        done += n;
    }
    ops->free(s->out, m + done, count - done);
    r->sent += (uint64_t)done;
    cs_count(s->datagrams, (uint64_t)done);
    cs_count(s->bytes, (uint64_t)done * s->size);
    if (flags & TS_MEASURED) {
        r->sent_measured += (uint64_t)done;
        r->bytes_measured += (uint64_t)done * s->size;
    }
    return 0;
}

static int run(struct source *s)
{
    struct ts_source_result *r = s->result;
    struct schedule *plan = &s->schedule;
    int err;
    if (plan->warmup > 0) {
        /* The first one goes ahead, so that everybody on its way knows the next station's address: while ARP waits
         * for a reply, the kernel keeps some 25 datagrams of this size and drops the rest without a name. */
        if ((err = send_some(s, 1, 0)) < 0)
            return err;
        ts_sleep_until(ts_now_ns() + HEAD_START_NS);
    }
    uint64_t cpu = 0;
    plan->start = ts_now_ns();
    while (r->sent < plan->total && !stopped(s)) {
        if (paced_anew(s) && (err = obey(s)) < 0)
            return err;
        uint64_t now = ts_now_ns(), due = plan->from + (uint64_t)((double)(now - plan->start) / plan->gap_ns) + 1;
        /* a batch never straddles the start of the measured interval */
        uint64_t limit = r->sent < plan->warmup ? plan->warmup : plan->total;
        if (due > limit)
            due = limit;
        if (due <= r->sent) {
            wait_for(due_at(plan, r->sent));
            continue;
        }
        if (r->sent >= plan->warmup && r->t0_ns == 0) {
            /* what warm-up was late must not be caught up here: the schedule starts again */
            plan->start = now;
            plan->from = r->sent;
            due = r->sent + 1;
            r->t0_ns = now;
            cpu = ts_cpu_ns();
        }
        uint64_t count = due - r->sent;
        r->ticks++;
        r->late_ticks += count > IO_BATCH;
        err = send_some(s, count > IO_BATCH ? IO_BATCH : (int)count, r->sent < plan->warmup ? 0 : TS_MEASURED);
        if (err < 0)
            return err;
    }
    /* the last datagram's slot is part of the interval */
    while (r->sent >= plan->total && ts_now_ns() < due_at(plan, plan->total) && !stopped(s))
        wait_for(due_at(plan, plan->total));
    r->t1_ns = ts_now_ns();
    r->busy_ns = r->t0_ns ? ts_cpu_ns() - cpu : 0;
    return 0;
}

int ts_source(const struct io_system_ops *ops, const struct ts_source_config *c, struct ts_control *control,
              struct cs_counters *counters, struct ts_source_result *r)
{
    if (c->io.size < TS_HEADER_BYTES || !(c->datagrams_per_second > 0))
        return -EINVAL;
    const double gap_ns = 1e9 / c->datagrams_per_second;
    const uint64_t warmup = (uint64_t)((double)c->warmup_ns / gap_ns);
    struct source s = {
        .ops = ops,
        .config = *c,
        .control = control,
        .result = r,
        .datagrams = cs_counter_get(counters, "datagrams_out"),
        .bytes = cs_counter_get(counters, "bytes_out"),
        .schedule = {.warmup = warmup, .total = warmup + so_many(c, gap_ns), .gap_ns = gap_ns},
        .size = c->io.size,
    };
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* the default of 50 us would make every gap that much longer */
    int err = ops->open(&s.config.io, &s.out);
    if (err < 0)
        return err;
    atomic_store(&control->ready, 1);
    err = run(&s);
    if (s.out)
        ops->close(s.out);
    return err;
}
