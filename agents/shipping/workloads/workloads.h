/* What processes on a host do, written once against the table of operations. Each runs until *stop, or until
 * its work is done, and returns 0 or -errno. Python calls one of these once and waits with the GIL released. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <stdatomic.h>
#include <stdbool.h>
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
    _Atomic uint64_t pace;   /* source: as ts_control_pace() says from now on; 0: as its config says */
};

struct ts_source_config {
    struct io_config io;
    uint32_t flow;
    double datagrams_per_second;
    uint64_t warmup_ns, duration_ns; /* duration 0: until it is stopped */
};

struct ts_source_result {
    uint64_t sent, sent_measured, bytes_measured;
    uint64_t t0_ns, t1_ns; /* CLOCK_MONOTONIC, of the measured interval as it was */
    uint64_t ticks, late_ticks; /* looks at the clock; those that found more due than one batch */
    uint64_t busy_ns;      /* CPU time of this thread in the measured interval */
    uint64_t held_back;    /* writes that the network did not take at once */
};

struct ts_forwarder_config {
    struct io_config in, out;
};

struct ts_forwarder_result {
    uint64_t received, sent, dropped, batches, bytes, busy_ns;
};

struct ts_copier_config {
    const char *source, *target;
    const char *manager_socket; /* NULL: read(2) and write(2) */
    uint32_t operation_bytes;
};

struct ts_copier_result {
    uint64_t bytes, operations; /* writes */
    /* CLOCK_MONOTONIC: files open; target closed, as cp ends; all of it on the disk (fsync(2)) */
    uint64_t t0_ns, t1_ns, synced_ns;
    uint64_t busy_ns; /* CPU time of this thread from t0 to t1 */
    int how;          /* enum cs_file_how that hold for both files; 0 with read(2) and write(2) */
};

struct ts_range {
    uint64_t first, last;
};

struct ts_sink_config {
    struct io_config io;
    uint32_t flow; /* 0: of any source, each with books of its own */
};

#define TS_LOST_RANGES 1000
/* Arrivals over time: different datagrams that came, per 10 ms from bin0_ns on, for up to ten minutes. */
#define TS_BIN_NS 10000000u
#define TS_BINS 60000

struct ts_sink_result {
    uint64_t received, received_measured, unique, unique_measured, duplicates, reordered, foreign;
    uint64_t bytes;
    uint64_t highest; /* sequence number + 1, of all flows together; 0: nothing came */
    uint64_t first_ns, last_ns, first_measured_ns, last_measured_ns, busy_ns;
    uint64_t lost, lost_ranges; /* below `expect`, or below highest when that is not known */
    struct ts_range lost_range[TS_LOST_RANGES];
    uint64_t duplicate_list_count; /* the first of them, by sequence number */
    uint64_t duplicate_list[TS_LOST_RANGES];
    uint64_t bin0_ns, bins;
    uint32_t bin[TS_BINS];
};

/* What of a local channel's stream is measured: what moves in an interval of time, or so many operations. */
struct ts_interval {
    uint64_t warmup_ns, duration_ns;
    uint64_t warmup_operations, operations; /* operations 0: by time */
};

struct ts_measure {
    uint64_t operations, bytes;                   /* all */
    uint64_t operations_measured, bytes_measured; /* a reader: without those that came at t0 */
    uint64_t t0_ns, t1_ns; /* CLOCK_MONOTONIC; of a reader: when the interval's first and its last operation came */
    uint64_t busy_ns;      /* CPU time of this thread in the measured interval */
};

/* Pixels of so many bytes, rows from the top. */
struct ts_picture {
    uint32_t width, height, bytes;
};

/* How much of each operation a process looks at: all of it if 1, its first half if 2, nothing and without mapping it if
 * 0. One word of each cache line is written or read, or every byte when the data is to be verified. */
struct ts_access {
    uint32_t part;
    bool verify;
    uint64_t image; /* a video frame of the server with that mark: only its number is written to what holds the image; 0: no */
    struct ts_picture moving; /* the image; of width 0: a still one */
};

struct ts_producer_config {
    struct io_config io;
    struct ts_access access;
    struct ts_interval interval;
    double fps; /* one operation is due each 1/fps seconds; 0: as fast as they are taken */
};

struct ts_producer_result {
    struct ts_measure measure;
    uint64_t held_back; /* looks for room that found none in time */
    uint64_t skipped;   /* numbers whose time had passed when the one before was taken */
};

struct ts_consumer_config {
    struct io_config io;
    struct ts_access access;
    struct ts_interval interval;
    const struct io_config *screen; /* what came is shown there; NULL: it is freed */
    double fps;                     /* the rate of a paced video server, whose numbers are looked at; 0: they are not */
};

struct ts_consumer_result {
    struct ts_measure measure;
    uint64_t mismatches; /* bytes that are not what the producer wrote */
    uint64_t ended;      /* its writer closed or died: else it was stopped */
    uint64_t dropped;    /* numbers that never came */
    uint64_t late;       /* shown more than a frame's time after they were due, as seen from the first one */
};

int ts_source(const struct io_system_ops *ops, const struct ts_source_config *config, struct ts_control *control,
              struct cs_counters *counters, struct ts_source_result *result);
int ts_forwarder(const struct io_system_ops *ops, const struct ts_forwarder_config *config, struct ts_control *control,
                 struct cs_counters *counters, struct ts_forwarder_result *result);
int ts_sink(const struct io_system_ops *ops, const struct ts_sink_config *config, struct ts_control *control,
            struct cs_counters *counters, struct ts_sink_result *result);
int ts_producer(const struct io_system_ops *ops, const struct ts_producer_config *config, struct ts_control *control,
                struct cs_counters *counters, struct ts_producer_result *result);
int ts_consumer(const struct io_system_ops *ops, const struct ts_consumer_config *config, struct ts_control *control,
                struct cs_counters *counters, struct ts_consumer_result *result);
/* Figure 2's cp, through the six calls or, as an expert would write it, with read(2) and write(2). target is made, or cut to
 * nothing. Ends when all is copied. */
int ts_copier(const struct ts_copier_config *config, struct ts_control *control, struct cs_counters *counters,
              struct ts_copier_result *result);
/* Artificial CPU load: a tight loop with little impact on the cache (CS95-441, section 3). */
int ts_hog(struct ts_control *control, struct cs_counters *counters);

/* Wake every period_ns on that CPU at real-time priority, until *stop. Needs CAP_SYS_NICE. */
int ts_metronome(struct ts_control *control, int cpu, uint64_t period_ns);

/* control.c: for the thread that takes commands */
void ts_control_stop(struct ts_control *control);
void ts_control_expect(struct ts_control *control, uint64_t count);
int ts_control_ready(struct ts_control *control);
/* -EINVAL for what does not fit: up to 2^28 datagrams per second, to the millionth, of up to 65535 bytes. */
int ts_control_pace(struct ts_control *control, double datagrams_per_second, uint32_t size);
/* What that said. */
double ts_pace_rate(uint64_t pace);
uint32_t ts_pace_size(uint64_t pace);

/* clock.c */
uint64_t ts_now_ns(void);
uint64_t ts_cpu_ns(void); /* of the calling thread */
void ts_sleep_until(uint64_t ns);

/* measure.c: the measured interval of one end of a local channel */
struct ts_watch {
    const struct ts_interval *interval;
    struct ts_measure *measure;
    uint64_t start_ns, cpu_ns; /* of the first operation; CPU time when the measured interval began */
    uint64_t operations, bytes; /* before the measured interval */
    bool measuring, over;
};

/* A writer, before each operation: false when all is done. */
bool ts_watch_goes_on(struct ts_watch *w);
/* A reader, with each operation that came: its bytes are counted, too. */
void ts_watch_arrived(struct ts_watch *w, uint64_t bytes);
/* No operation follows. */
void ts_watch_end(struct ts_watch *w);

/* access.c: write the operation of that number, or read it. The number of a video frame is its first word. */
uint64_t ts_access_number(const void *bytes);
void ts_access_write(const struct ts_access *a, uint64_t number, void *bytes, uint32_t count);
void ts_access_read(const struct ts_access *a, uint64_t number, const void *bytes, uint32_t count, uint64_t *mismatches);

/* picture.c: a moving picture. Begin where nothing of it is yet, else clear away the frame that is there; then show another. */
void ts_picture_begin(const struct ts_picture *p, void *frame);
void ts_picture_clear(const struct ts_picture *p, uint64_t number, void *frame);
void ts_picture_show(const struct ts_picture *p, uint64_t number, void *frame);

#endif
