/* Fault points: where tests let a process die. In the library as it is built they are nothing at all. With CS_FAULTS
 * every point enters its name into a table that the linker collects, and calls the test's function as it is passed.
 * docs/crash-safety.md says how they are used. */
#ifndef CS_FAULT_H
#define CS_FAULT_H

#ifdef CS_FAULTS

struct cs_fault {
    const char *name; /* begins with "manager." where the manager passes it */
};

void cs_fault_passed(const struct cs_fault *point);

#define CS_FAULT(what)                                                                                                 \
    do {                                                                                                               \
        static const struct cs_fault point_ __attribute__((section("cs_faults"), used)) = {what};                      \
        cs_fault_passed(&point_);                                                                                      \
    } while (0)

#else
#define CS_FAULT(what) ((void)0)
#endif

#endif
