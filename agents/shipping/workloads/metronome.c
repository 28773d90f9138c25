/* Makes a CPU budget bite on time. The kernel settles a group's quota when it switches tasks or at its tick, which
 * is 4 ms at HZ=250: a hog on a budget of 1 ms per 100 ms runs four times its share and pays it back over seconds
 * (sched-bwc.rst). A real-time task that wakes every half millisecond makes it settle then. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "workloads.h"

int ts_metronome(struct ts_control *control, int cpu, uint64_t period_ns)
{
    const struct sched_param priority = {.sched_priority = 1};
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    if (sched_setaffinity(0, sizeof cpus, &cpus) < 0 || sched_setscheduler(0, SCHED_FIFO, &priority) < 0)
        return -errno;
    for (uint64_t next = ts_now_ns(); !atomic_load_explicit(&control->stop, memory_order_relaxed);) {
        next += period_ns;
        struct timespec t = {.tv_sec = (time_t)(next / 1000000000u), .tv_nsec = (long)(next % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    }
    return 0;
}
