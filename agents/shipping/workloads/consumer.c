/* Takes operations from a local channel as fast as they come; a video display shows them. */
#include <errno.h>

#include "workloads.h"

struct player {
    const struct io_system_ops *ops;
    const struct ts_consumer_config *config;
    struct ts_control *control;
    struct ts_consumer_result *result;
    struct io_channel *in, *screen;
    uint64_t next, first, first_ns; /* numbers; when the first came */
};

/* Look at what came, as far as is wanted. Sets its number, if that is. */
static int look(struct player *p, struct io_message *m, uint64_t *number)
{
    const struct ts_consumer_config *c = p->config;
    void *addrs[IO_PARTS];
    uint64_t bytes = 0;
    int err;
    for (int i = 0; i < m->parts; i++)
        bytes += (uint64_t)m->part[i].len;
    if (m->parts != 1 || bytes != c->io.size)
        return -EMSGSIZE; /* the writer's operations are others */
    if (!c->access.part && !(c->fps > 0))
        return 0;
    if ((err = p->ops->map(p->in, m, addrs)) < 0)
        return err;
    const uint8_t *data = (const uint8_t *)addrs[0] + m->part[0].off;
    if (c->fps > 0)
        *number = ts_access_number(data);
    ts_access_read(&c->access, p->result->measure.operations, data, c->io.size, &p->result->mismatches);
    return 0;
}

/* How the frame of that number, which is shown now, keeps to the rate. */
static void judge(struct player *p, uint64_t number)
{
    uint64_t now = ts_now_ns();
    if (p->first_ns == 0) {
        p->first_ns = now;
        p->first = number;
    } else if (number > p->next) {
        p->result->dropped += number - p->next;
    }
    p->next = number + 1;
    p->result->late += (double)(now - p->first_ns) > (double)(number - p->first + 1) * 1e9 / p->config->fps;
}

/* 1: shown; 0: it was stopped before; or -errno. */
static int show(struct player *p, struct io_message *m)
{
    int done = 0;
    while (done == 0 && !atomic_load_explicit(&p->control->stop, memory_order_relaxed))
        done = p->ops->write(p->screen, m, 1);
    if (done == 1 && p->ops->flush)
        p->ops->flush();
    return done;
}

/* One operation: 1, 0 (nothing came in time, or it was stopped) or -errno. */
static int consume_one(struct player *p)
{
    struct io_message m;
    uint64_t number = 0;
    int n = p->ops->read(p->in, &m, 1), err = n > 0 ? look(p, &m, &number) : 0, done = 1;
    if (n <= 0)
        return n;
    if (err == 0 && p->screen)
        done = show(p, &m);
    if (err < 0 || done <= 0 || !p->screen)
        p->ops->free(p->in, &m, 1);
    if (err == 0 && done == 1 && p->config->fps > 0)
        judge(p, number);
    return err < 0 ? err : done;
}

static int consume(struct player *p, struct cs_counters *counters)
{
    cs_counter *operations = cs_counter_get(counters, "operations_in"), *bytes = cs_counter_get(counters, "bytes_in");
    struct ts_watch watch = {.interval = &p->config->interval, .measure = &p->result->measure};
    int done = 0;
    while (done >= 0 && !atomic_load_explicit(&p->control->stop, memory_order_relaxed)) {
        if ((done = consume_one(p)) <= 0)
            continue;
        ts_watch_arrived(&watch, p->config->io.size);
        cs_count(operations, 1);
        cs_count(bytes, p->config->io.size);
    }
    ts_watch_end(&watch);
    p->result->ended = done == -ENODATA;
    return done < 0 && done != -ENODATA ? done : 0;
}

int ts_consumer(const struct io_system_ops *ops, const struct ts_consumer_config *c, struct ts_control *control,
                struct cs_counters *counters, struct ts_consumer_result *r)
{
    struct player p = {.ops = ops, .config = c, .control = control, .result = r};
    int err = ops->open(&c->io, &p.in);
    if (err < 0)
        return err;
    if (c->screen)
        err = ops->open(c->screen, &p.screen);
    if (err == 0) {
        atomic_store(&control->ready, 1);
        err = consume(&p, counters);
        if (p.screen)
            ops->close(p.screen);
    }
    ops->close(p.in);
    return err;
}
