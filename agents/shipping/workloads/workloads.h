/* What processes on a host do, written once against the table of operations. Each runs until *stop, or until
 * its work is done, and returns 0 or -errno. Python calls one of these once and waits with the GIL released. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <stdatomic.h>
#include <stdint.h>

#include "../core/counters.h"
#include "io_system.h"

/* At the start of each datagram's payload, all big-endian: who sent it, which one it is, when, and whether it
 * belongs to the measured interval (not to warm-up). */
#define TS_MAGIC 0x54534850u
#define TS_HEADER_BYTES 28
enum ts_flags { TS_MEASURED = 1 };

/* Shared with the thread that takes commands. */
struct ts_control {
    _Atomic int stop;
    _Atomic int ready;       /* the workload has opened what it needs */
    _Atomic uint64_t expect; /* sink: done when this many different datagrams have come; 0: not known */
};

struct ts_source_config {
    struct io_config io;
    uint32_t flow;
    double datagrams_per_second;
    uint64_t warmup_ns, duration_ns;
};

struct ts_source_result {
    uint64_t sent, sent_measured;
    uint64_t t0_ns, t1_ns; /* CLOCK_MONOTONIC, of the measured interval as it was */
    uint64_t ticks, late_ticks; /* looks at the clock; those that found more due than one batch */
    uint64_t busy_ns;      /* CPU time of this thread in the measured interval */
    uint64_t held_back;    /* writes that the network did not take at once */
};

struct ts_forwarder_config {
    struct io_config in, out;
};

struct ts_forwarder_result {
    uint64_t received, sent, dropped, batches;
};

struct ts_range {
    uint64_t first, last;
};

struct ts_sink_config {
    struct io_config io;
    uint32_t flow;
};

#define TS_LOST_RANGES 1000
/* Arrivals over time: different datagrams that came, per 10 ms from bin0_ns on, for up to ten minutes. */
#define TS_BIN_NS 10000000u
#define TS_BINS 60000

struct ts_sink_result {
    uint64_t received, received_measured, unique, unique_measured, duplicates, reordered, foreign;
    uint64_t bytes;
    uint64_t highest; /* sequence number + 1; 0: nothing came */
    uint64_t first_ns, last_ns, first_measured_ns, last_measured_ns, busy_ns;
    uint64_t lost, lost_ranges; /* below `expect`, or below highest when that is not known */
    struct ts_range lost_range[TS_LOST_RANGES];
    uint64_t duplicate_list_count; /* the first of them, by sequence number */
    uint64_t duplicate_list[TS_LOST_RANGES];
    uint64_t bin0_ns, bins;
    uint32_t bin[TS_BINS];
};

int ts_source(const struct io_system_ops *ops, const struct ts_source_config *config, struct ts_control *control,
              struct cs_counters *counters, struct ts_source_result *result);
int ts_forwarder(const struct io_system_ops *ops, const struct ts_forwarder_config *config, struct ts_control *control,
                 struct cs_counters *counters, struct ts_forwarder_result *result);
int ts_sink(const struct io_system_ops *ops, const struct ts_sink_config *config, struct ts_control *control,
            struct cs_counters *counters, struct ts_sink_result *result);
/* Artificial CPU load: a tight loop with little impact on the cache (CS95-441, section 3). */
int ts_hog(struct ts_control *control, struct cs_counters *counters);

/* Wake every period_ns on that CPU at real-time priority, until *stop. Needs CAP_SYS_NICE. */
int ts_metronome(struct ts_control *control, int cpu, uint64_t period_ns);

/* control.c: for the thread that takes commands */
void ts_control_stop(struct ts_control *control);
void ts_control_expect(struct ts_control *control, uint64_t count);
int ts_control_ready(struct ts_control *control);

/* clock.c */
uint64_t ts_now_ns(void);
uint64_t ts_cpu_ns(void); /* of the calling thread */

#endif
