/* The measured interval of one end of a local channel. A writer's begins and ends between operations; a reader sees
 * operations come, so its interval lasts from one that came to another, and what came after the first was moved in it. */
#include "workloads.h"

static void begin(struct ts_watch *w, uint64_t now)
{
    w->measuring = true;
    w->measure->t0_ns = w->measure->t1_ns = now;
    w->operations = w->measure->operations;
    w->bytes = w->measure->bytes;
    w->cpu_ns = ts_cpu_ns();
}

static void finish(struct ts_watch *w)
{
    if (!w->over && w->measuring)
        w->measure->busy_ns = ts_cpu_ns() - w->cpu_ns;
    w->over = true;
}

static void count(struct ts_watch *w, uint64_t now)
{
    w->measure->t1_ns = now;
    w->measure->operations_measured = w->measure->operations - w->operations;
    w->measure->bytes_measured = w->measure->bytes - w->bytes;
}

bool ts_watch_goes_on(struct ts_watch *w)
{
    const struct ts_interval *i = w->interval;
    uint64_t now = ts_now_ns();
    if (w->start_ns == 0)
        w->start_ns = now;
    if (w->measuring)
        count(w, now);
    else if (i->operations ? w->measure->operations >= i->warmup_operations : now - w->start_ns >= i->warmup_ns)
        begin(w, now);
    if (w->measuring &&
        (i->operations ? w->measure->operations_measured >= i->operations : now - w->measure->t0_ns >= i->duration_ns))
        finish(w);
    return !w->over;
}

void ts_watch_arrived(struct ts_watch *w, uint64_t bytes)
{
    const struct ts_interval *i = w->interval;
    uint64_t now = ts_now_ns();
    if (w->start_ns == 0)
        w->start_ns = now;
    bool warm = i->operations ? w->measure->operations >= i->warmup_operations : now - w->start_ns >= i->warmup_ns;
    w->measure->operations++;
    w->measure->bytes += bytes;
    if (w->over)
        return;
    if (!w->measuring) {
        if (warm)
            begin(w, now);
        return;
    }
    if (!i->operations && now - w->measure->t0_ns > i->duration_ns) {
        finish(w);
        return;
    }
    count(w, now);
    if (i->operations && w->measure->operations_measured + 1 == i->operations)
        finish(w);
}

void ts_watch_end(struct ts_watch *w)
{
    finish(w);
}
