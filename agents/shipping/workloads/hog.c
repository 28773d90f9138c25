#include "workloads.h"

int ts_hog(struct ts_control *control, struct cs_counters *counters)
{
    cs_counter *rounds = cs_counter_get(counters, "rounds");
    atomic_store(&control->ready, 1);
    while (!atomic_load_explicit(&control->stop, memory_order_relaxed)) {
        for (int i = 0; i < 1000000; i++)
            __asm__ volatile("" ::: "memory");
        cs_count(rounds, 1);
    }
    return 0;
}
