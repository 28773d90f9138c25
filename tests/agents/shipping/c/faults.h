/* The fault points of the library in a program that is built with CS_FAULTS: which there are, and the death of this
 * process or of another at one of them. */
#ifndef FAULTS_H
#define FAULTS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "check.h"
#include "core/fault.h"

enum { FAULTS = 160 };

extern const struct cs_fault __start_cs_faults[], __stop_cs_faults[]; /* the linker's */

static struct {
    _Atomic int later;
    _Atomic uint32_t later_passages;
} *faults; /* shared by all processes of the test */

/* This process, and what it forks, gets that signal when it passes the point so many times. */
static struct {
    int point, signal;
    uint32_t passages;
} fault_armed = {.point = -1};

void cs_fault_passed(const struct cs_fault *point)
{
    int i = (int)(point - __start_cs_faults);
    if (faults && i == atomic_load_explicit(&faults->later, memory_order_relaxed) &&
        atomic_fetch_sub(&faults->later_passages, 1) == 1)
        raise(SIGKILL);
    if (i == fault_armed.point && --fault_armed.passages == 0)
        raise(fault_armed.signal);
}

static inline const char *fault_name(int point)
{
    return __start_cs_faults[point].name;
}

static inline bool fault_is(int point, const char *name)
{
    return strcmp(fault_name(point), name) == 0;
}

/* Find the points whose names begin so, or do not; how many. */
static inline int faults_find(const char *prefix, bool with, int *points)
{
    int all = (int)(__stop_cs_faults - __start_cs_faults), count = 0;
    CHECK(all > 0 && all <= FAULTS);
    for (int i = 0; i < all; i++) {
        for (int k = 0; k < i; k++)
            if (fault_is(i, fault_name(k))) {
                fprintf(stderr, "two fault points are called %s\n", fault_name(i));
                exit(1);
            }
        if ((strncmp(fault_name(i), prefix, strlen(prefix)) == 0) == with)
            points[count++] = i;
    }
    return count;
}

static inline void faults_share(void)
{
    faults = mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(faults != MAP_FAILED);
    faults->later = -1;
}

/* Whoever passes the point that is the last of so many times, though it runs already, is killed. */
static inline void faults_arm_later(int point, uint32_t passages)
{
    atomic_store(&faults->later, -1);
    atomic_store(&faults->later_passages, passages);
    atomic_store(&faults->later, point);
}

static struct {
    bool told;
    uint32_t number, passages;
    int point;
} fault_now;

static void fault_say_now(int status, void *unused)
{
    (void)unused;
    if (status)
        fprintf(stderr, "death %u, at the passage %u of %s\n", fault_now.number, fault_now.passages, fault_name(fault_now.point));
}

/* What a failure from now on is about. */
static inline void fault_is_now(uint32_t number, int point, uint32_t passages)
{
    if (!fault_now.told)
        on_exit(fault_say_now, NULL);
    fault_now.told = true;
    fault_now.number = number;
    fault_now.point = point;
    fault_now.passages = passages;
}

#endif
