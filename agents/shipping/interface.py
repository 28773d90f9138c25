"""What Python sees of the C library, in cffi's dialect of C. Mirrors the headers named beside each part."""

from __future__ import annotations

CDEF = """
/* core/counters.h */
struct cs_counters;
struct cs_counters *cs_counters_open(int fd);
void cs_counters_close(struct cs_counters *c);
void *cs_counter_get(struct cs_counters *c, const char *name);
void cs_counter_release(struct cs_counters *c, void *counter);

/* core/manager.h */
struct cs_interface_config { char name[16]; uint8_t mac[6]; uint32_t ip, mask; uint32_t mtu; };
struct cs_manager_config {
    struct cs_interface_config interface[8]; uint32_t interfaces;
    char socket[108]; char backend[16]; uint32_t queue; bool segmentation; uint32_t pages;
    uint32_t protection, zeroing; bool no_recycling; uint32_t page_bytes;
};
struct cs_manager;
int cs_manager_open(struct cs_manager **out, const struct cs_manager_config *config,
                    struct cs_counters *counters, char *error, size_t error_bytes);
uint32_t cs_manager_close(struct cs_manager *m);
int ts_manager(struct cs_manager *m, struct ts_control *control);
const char *ts_manager_backend(struct cs_manager *m);
const char *ts_manager_mode(struct cs_manager *m);
bool ts_manager_huge(struct cs_manager *m);
bool ts_manager_segments(struct cs_manager *m);

/* include/cs.h */
#define CS_PAGE_SIZE ...
enum cs_options { CS_MAPALL, CS_MAPNOW, CS_DONTWAIT, CS_MORE, ... };
struct cs_args { int *cids; int *offs; int *lens; int *sizes; void **addrs; };
int cs_read(int fd, int size, int maxcon, struct cs_args *args, int options);
int cs_write(int fd, int count, const int *cids, const int *offs, const int *lens, int options);
int cs_map(int count, const int *cids, void **addrs, int options);
int cs_unmap(int count, const int *cids);
int cs_alloc(int size, void **addr, int options);
int cs_free(int count, const int *cids);
int ts_write_one(int fd, int cid, int off, int len, int options);
int ts_free_one(int cid);
int cs_attach(const char *manager_socket);
void cs_count_allocations(struct cs_counters *c);
void cs_detach(void);
int cs_manager_fd(void);
int cs_open_channel(const char *name, int queue, int timeout_ms);
struct cs_framebuffer { uint64_t bus_limit; uint32_t width, height, bits, dma; };
enum cs_requests { CS_GET_FRAMEBUFFER, CS_SET_FRAMEBUFFER, CS_DRAIN };
int cs_open_framebuffer(const char *name, int timeout_ms);
int cs_ioctl(int fd, unsigned request, void *arg);
int cs_view_framebuffer(const char *name);
int cs_read_frame(int view, struct cs_framebuffer *geometry, uint64_t *number, void *pixels, size_t bytes);
int cs_open_udp(uint32_t local, uint16_t local_port, uint32_t remote, uint16_t remote_port, int queue,
                int timeout_ms);
int cs_open_file(const char *path, int flags, int timeout_ms);
int cs_adopt_file(int file, int flags, int timeout_ms);
enum cs_file_how { CS_FILE_DIRECT, CS_FILE_URING, ... };
int cs_file_how(int fd);
int cs_close(int fd);
int cs_ready(int fd);

/* include/io_system.h */
struct io_config {
    const char *channel; const struct cs_framebuffer *framebuffer; bool shown;
    uint32_t local, remote; uint16_t local_port, remote_port; uint32_t queue; uint32_t size; uint32_t wanted;
    bool pieces;
    int timeout_ms;
    const char *manager_socket;
};
struct io_system_ops { const char *name; bool on_our_stack; ...; };
const struct io_system_ops *io_system(const char *name);
const struct io_system_ops *io_system_at(int index);
const struct io_system_ops *io_local_system(const char *name);
const struct io_system_ops *io_local_system_at(int index);

/* workloads/workloads.h */
struct ts_control { ...; };
struct ts_source_config {
    struct io_config io; uint32_t flow; double datagrams_per_second; uint64_t warmup_ns, duration_ns;
};
struct ts_source_result {
    uint64_t sent, sent_measured, bytes_measured, t0_ns, t1_ns, ticks, late_ticks, busy_ns, held_back;
};
struct ts_forwarder_config { struct io_config in, out; };
struct ts_forwarder_result { uint64_t received, sent, dropped, batches, bytes, busy_ns; };
struct ts_copier_config {
    const char *source, *target, *manager_socket; uint32_t operation_bytes;
};
struct ts_copier_result { uint64_t bytes, operations, t0_ns, t1_ns, synced_ns, busy_ns; int how; };
int ts_copier(const struct ts_copier_config *config, struct ts_control *control,
              struct cs_counters *counters, struct ts_copier_result *result);
struct ts_range { uint64_t first, last; };
struct ts_sink_config { struct io_config io; uint32_t flow; };
struct ts_sink_result {
    uint64_t received, received_measured, unique, unique_measured, duplicates, reordered, foreign, bytes,
             highest, first_ns, last_ns, first_measured_ns, last_measured_ns, busy_ns, lost, lost_ranges;
    struct ts_range lost_range[1000];
    uint64_t duplicate_list_count;
    uint64_t duplicate_list[1000];
    uint64_t bin0_ns, bins;
    uint32_t bin[60000];
};
struct ts_interval { uint64_t warmup_ns, duration_ns, warmup_operations, operations; };
struct ts_measure {
    uint64_t operations, bytes, operations_measured, bytes_measured, t0_ns, t1_ns, busy_ns;
};
struct ts_picture { uint32_t width, height, bytes; };
struct ts_access { uint32_t part; bool verify; uint64_t image; struct ts_picture moving; };
struct ts_producer_config {
    struct io_config io; struct ts_access access; struct ts_interval interval; double fps;
};
struct ts_producer_result { struct ts_measure measure; uint64_t held_back, skipped; };
struct ts_consumer_config {
    struct io_config io; struct ts_access access; struct ts_interval interval;
    const struct io_config *screen; double fps;
};
struct ts_consumer_result { struct ts_measure measure; uint64_t mismatches, ended, dropped, late; };
int ts_source(const struct io_system_ops *ops, const struct ts_source_config *config,
              struct ts_control *control, struct cs_counters *counters, struct ts_source_result *result);
int ts_forwarder(const struct io_system_ops *ops, const struct ts_forwarder_config *config,
                 struct ts_control *control, struct cs_counters *counters,
                 struct ts_forwarder_result *result);
int ts_sink(const struct io_system_ops *ops, const struct ts_sink_config *config, struct ts_control *control,
            struct cs_counters *counters, struct ts_sink_result *result);
int ts_producer(const struct io_system_ops *ops, const struct ts_producer_config *config,
                struct ts_control *control, struct cs_counters *counters, struct ts_producer_result *result);
int ts_consumer(const struct io_system_ops *ops, const struct ts_consumer_config *config,
                struct ts_control *control, struct cs_counters *counters, struct ts_consumer_result *result);
int ts_hog(struct ts_control *control, struct cs_counters *counters);
int ts_metronome(struct ts_control *control, int cpu, uint64_t period_ns);
void ts_control_stop(struct ts_control *control);
void ts_control_expect(struct ts_control *control, uint64_t count);
int ts_control_ready(struct ts_control *control);
int ts_control_pace(struct ts_control *control, double datagrams_per_second, uint32_t size);
"""

SOURCE = """
#include "cs.h"
#include "io_system.h"
#include "../core/manager.h"
#include "../core/process.h"
#include "../workloads/workloads.h"

/* For one container, so that Python need not make arrays: they cost more than the call. */
static int ts_write_one(int fd, int cid, int off, int len, int options)
{
    return cs_write(fd, 1, &cid, &off, &len, options);
}

static int ts_free_one(int cid)
{
    return cs_free(1, &cid);
}

static int ts_manager(struct cs_manager *m, struct ts_control *control)
{
    atomic_store(&control->ready, 1);
    return cs_manager_run(m, &control->stop);
}

static const char *ts_manager_backend(struct cs_manager *m)
{
    return m->interfaces ? m->interface[0]->netif.backend->name : "none";
}

static bool ts_manager_huge(struct cs_manager *m)
{
    return m->pool.huge;
}

static const char *ts_manager_mode(struct cs_manager *m)
{
    return m->interfaces ? m->interface[0]->netif.mode : "none";
}

static bool ts_manager_segments(struct cs_manager *m)
{
    return m->interfaces && m->interface[0]->netif.out.fd >= 0;
}
"""
