#include <errno.h>

#include "workloads.h"

/* One word, so that a source never sees the rate of one change with the size of another. */
enum { SIZE_BITS = 16 };
static const double PER_UNIT = 1e6, MOST = 1 << 28;

int ts_control_pace(struct ts_control *control, double datagrams_per_second, uint32_t size)
{
    if (!(datagrams_per_second * PER_UNIT >= 1 && datagrams_per_second <= MOST) || size < TS_HEADER_BYTES ||
        size >> SIZE_BITS)
        return -EINVAL;
    atomic_store(&control->pace, (uint64_t)(datagrams_per_second * PER_UNIT) << SIZE_BITS | size);
    return 0;
}

double ts_pace_rate(uint64_t pace)
{
    return (double)(pace >> SIZE_BITS) / PER_UNIT;
}

uint32_t ts_pace_size(uint64_t pace)
{
    return (uint32_t)(pace & ((1u << SIZE_BITS) - 1));
}

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
