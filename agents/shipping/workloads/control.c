#include "workloads.h"

void ts_control_stop(struct ts_control *control)
{
    atomic_store(&control->stop, 1);
}

void ts_control_expect(struct ts_control *control, uint64_t count)
{
    atomic_store(&control->expect, count);
}

int ts_control_ready(struct ts_control *control)
{
    return atomic_load(&control->ready);
}
