/* A user-level process in the middle, of a network's path or of a local one: everything that comes in on one channel goes
 * out on the other. */
#include <errno.h>
#include <stdbool.h>

#include "workloads.h"

/* Bytes to pass on. A socket says how long a datagram was (MSG_TRUNC), of which no more than `size` bytes are in its buffer. */
static uint64_t cut_off(struct io_message *m, int count, uint32_t size)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++)
        for (int k = 0; k < m[i].parts; k++) {
            if (m[i].part[k].len > (int)size)
                m[i].part[k].len = (int)size;
            bytes += (uint64_t)m[i].part[k].len;
        }
    return bytes;
}

static int forward(const struct io_system_ops *ops, struct io_channel *in, struct io_channel *out, bool local,
                   uint32_t size, struct ts_control *control, struct cs_counters *counters, struct ts_forwarder_result *r)
{
    cs_counter *messages_in = cs_counter_get(counters, local ? "operations_in" : "datagrams_in");
    cs_counter *messages_out = cs_counter_get(counters, local ? "operations_out" : "datagrams_out");
    cs_counter *bytes_in = cs_counter_get(counters, "bytes_in"), *bytes_out = cs_counter_get(counters, "bytes_out");
    cs_counter *dropped = cs_counter_get(counters, "drop_forwarder_stopped");
    struct io_message m[IO_BATCH];
    while (!atomic_load_explicit(&control->stop, memory_order_relaxed)) {
        int n = ops->read(in, m, IO_BATCH), done = 0, err = 0;
        if (n < 0)
            return n == -ENODATA ? 0 : n;
        if (n == 0)
            continue;
        uint64_t bytes = cut_off(m, n, size);
        r->received += (uint64_t)n;
        r->batches++;
        r->bytes += bytes;
        cs_count(messages_in, (uint64_t)n);
        cs_count(bytes_in, bytes);
        while (done < n && err >= 0 && !atomic_load_explicit(&control->stop, memory_order_relaxed)) {
            err = ops->write(out, m + done, n - done);
            done += err > 0 ? err : 0;
        }
        r->sent += (uint64_t)done;
        cs_count(messages_out, (uint64_t)done);
        cs_count(bytes_out, done == n ? bytes : bytes / (uint64_t)n * (uint64_t)done);
        if (done < n) { /* stopped, or failed, with datagrams in hand */
            ops->free(out, m + done, n - done);
            r->dropped += (uint64_t)(n - done);
            cs_count(dropped, (uint64_t)(n - done));
        }
        if (err < 0)
            return err;
    }
    return 0;
}

int ts_forwarder(const struct io_system_ops *ops, const struct ts_forwarder_config *c, struct ts_control *control,
                 struct cs_counters *counters, struct ts_forwarder_result *r)
{
    struct io_channel *in, *out;
    int err = ops->open(&c->in, &in);
    if (err < 0)
        return err;
    err = ops->open(&c->out, &out);
    if (err == 0) {
        atomic_store(&control->ready, 1);
        err = forward(ops, in, out, c->in.channel, c->in.size, control, counters, r);
        r->busy_ns = ts_cpu_ns();
        ops->close(out);
    }
    ops->close(in);
    return err;
}
