/* Tells what came: every sequence number is remembered, so loss, duplicates and reordering are told apart. */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "workloads.h"

/* Sequence numbers beyond this are not from our source: 2^32 bits are 512 MiB. */
#define MAX_SEQUENCE (1ull << 32)

/* One source's numbers. */
struct book {
    uint32_t flow;
    uint64_t *seen; /* a bit per sequence number */
    uint64_t bits;
    uint64_t end; /* the highest that came + 1 */
};

/* A sink of any flow keeps so many books; the next source after that takes the place of the oldest. */
enum { BOOKS = 16 };

struct shelf {
    struct book book[BOOKS];
    int count, newest;
};

static uint64_t get(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static bool room_for(struct book *b, uint64_t sequence)
{
    if (sequence < b->bits)
        return true;
    uint64_t bits = b->bits ? b->bits : 1 << 16;
    while (bits <= sequence)
        bits *= 2;
    uint64_t *seen = realloc(b->seen, bits / 8);
    if (!seen)
        return false;
    memset((uint8_t *)seen + b->bits / 8, 0, (bits - b->bits) / 8);
    b->seen = seen;
    b->bits = bits;
    return true;
}

static bool has(const struct book *b, uint64_t sequence)
{
    return sequence < b->bits && b->seen[sequence / 64] >> (sequence % 64) & 1;
}

static void find_lost(const struct book *b, uint64_t end, struct ts_sink_result *r)
{
    for (uint64_t i = 0; i < end;) {
        if (has(b, i)) {
            i++;
            continue;
        }
        uint64_t first = i;
        while (i < end && !has(b, i))
            i++;
        if (r->lost_ranges < TS_LOST_RANGES)
            r->lost_range[r->lost_ranges++] = (struct ts_range){first, i - 1};
        r->lost += i - first;
    }
}

/* The book of that flow, begun if there is none. What the one it replaces, if any, says of losses is not forgotten. */
static struct book *book_of(struct shelf *s, uint32_t flow, struct ts_sink_result *r)
{
    if (s->count > 0 && s->book[s->newest].flow == flow)
        return &s->book[s->newest];
    for (int i = 0; i < s->count; i++)
        if (s->book[i].flow == flow)
            return &s->book[i];
    s->newest = s->count < BOOKS ? s->count++ : (s->newest + 1) % BOOKS;
    struct book *b = &s->book[s->newest];
    find_lost(b, b->end, r);
    free(b->seen);
    *b = (struct book){.flow = flow};
    return b;
}

static int enter(struct shelf *s, const struct ts_sink_config *c, struct ts_sink_result *r, const uint8_t *p, int len,
                 uint64_t now)
{
    uint64_t sequence = len >= TS_HEADER_BYTES ? get(p + 8, 8) : MAX_SEQUENCE;
    if (sequence >= MAX_SEQUENCE || get(p, 4) != TS_MAGIC || (c->flow && get(p + 4, 4) != c->flow)) {
        r->foreign++;
        return 0;
    }
    struct book *b = book_of(s, (uint32_t)get(p + 4, 4), r);
    bool measured = get(p + 24, 4) & TS_MEASURED;
    if (r->received++ == 0)
        r->first_ns = r->bin0_ns = now;
    r->last_ns = now;
    if (measured && r->received_measured++ == 0)
        r->first_measured_ns = now;
    if (measured)
        r->last_measured_ns = now;
    if (has(b, sequence)) {
        if (r->duplicate_list_count < TS_LOST_RANGES)
            r->duplicate_list[r->duplicate_list_count++] = sequence;
        r->duplicates++;
        return 0;
    }
    if (!room_for(b, sequence))
        return -ENOMEM;
    b->seen[sequence / 64] |= 1ull << (sequence % 64);
    r->unique++;
    uint64_t bin = (now - r->bin0_ns) / TS_BIN_NS;
    if (bin < TS_BINS) {
        r->bin[bin]++;
        r->bins = bin + 1;
    }
    r->unique_measured += measured;
    if (sequence < b->end) {
        r->reordered++;
        return 0;
    }
    r->highest += sequence + 1 - b->end;
    b->end = sequence + 1;
    return 0;
}

static int receive(const struct io_system_ops *ops, struct io_channel *in, const struct ts_sink_config *c,
                   struct ts_control *control, struct cs_counters *counters, struct shelf *s, struct ts_sink_result *r)
{
    cs_counter *datagrams = cs_counter_get(counters, "datagrams_in"), *bytes = cs_counter_get(counters, "bytes_in");
    /* what is missing between these two is lost, or still on its way */
    cs_counter *unique = cs_counter_get(counters, "datagrams_unique");
    cs_counter *expected = cs_counter_get(counters, "datagrams_expected");
    struct io_message m[IO_BATCH];
    uint64_t expect;
    while (!atomic_load_explicit(&control->stop, memory_order_relaxed)) {
        expect = atomic_load_explicit(&control->expect, memory_order_relaxed);
        if (expect && r->unique >= expect)
            break;
        int n = ops->read(in, m, IO_BATCH), err = 0;
        if (n < 0)
            return n;
        uint64_t now = ts_now_ns(), got = 0;
        for (int i = 0; i < n && err == 0; i++) {
            void *addrs[IO_PARTS];
            for (int k = 0; k < m[i].parts; k++)
                got += (uint64_t)m[i].part[k].len;
            if ((err = ops->map(in, &m[i], addrs)) == 0)
                err = enter(s, c, r, (uint8_t *)addrs[0] + m[i].part[0].off, m[i].part[0].len, now);
        }
        ops->free(in, m, n);
        if (err < 0)
            return err;
        r->bytes += got;
        cs_count(datagrams, (uint64_t)n);
        cs_count(bytes, got);
        cs_count_set(unique, r->unique);
        cs_count_set(expected, r->highest);
    }
    expect = atomic_load_explicit(&control->expect, memory_order_relaxed);
    for (int i = 0; i < s->count; i++)
        find_lost(&s->book[i], c->flow && expect > s->book[i].end ? expect : s->book[i].end, r);
    r->busy_ns = ts_cpu_ns();
    return 0;
}

int ts_sink(const struct io_system_ops *ops, const struct ts_sink_config *c, struct ts_control *control,
            struct cs_counters *counters, struct ts_sink_result *r)
{
    struct io_channel *in;
    struct shelf s = {0};
    if (c->flow)
        book_of(&s, c->flow, r); /* nothing may come, and all be lost */
    int err = ops->open(&c->io, &in);
    if (err < 0)
        return err;
    atomic_store(&control->ready, 1);
    err = receive(ops, in, c, control, counters, &s, r);
    ops->close(in);
    for (int i = 0; i < s.count; i++)
        free(s.book[i].seen);
    return err;
}
