/* A clock that can be put ahead, ours and the manager's. Link with --wrap=clock_gettime. */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#include "check.h"

static _Atomic time_t *ahead_s; /* shared with the manager */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    int err = __real_clock_gettime(clock, t);
    t->tv_sec += ahead_s ? atomic_load(ahead_s) : 0;
    return err;
}

/* Before the manager is started. */
static inline void clock_start(void)
{
    ahead_s = mmap(NULL, sizeof *ahead_s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(ahead_s != MAP_FAILED);
}

#endif
