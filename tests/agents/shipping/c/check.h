/* One behaviour per TEST function; `program NAME` runs one. Exit code 0 passed, 1 failed, 77 skipped. */
#ifndef CHECK_H
#define CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                                    \
    do {                                                                                                               \
        if (!(what)) {                                                                                                 \
            fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what);                                       \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define CHECK_EQ(got, wanted)                                                                                          \
    do {                                                                                                               \
        long long got_ = (long long)(got), wanted_ = (long long)(wanted);                                              \
        if (got_ != wanted_) {                                                                                         \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld (%s)\n", __FILE__, __LINE__, #got, got_, wanted_, #wanted);    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

struct test {
    const char *name;
    void (*run)(void);
};

static struct test check_tests[64];
static int check_count;

#define TEST(name)                                                                                                     \
    static void name(void);                                                                                            \
    __attribute__((constructor)) static void register_##name(void)                                                     \
    {                                                                                                                  \
        check_tests[check_count++] = (struct test){#name, name};                                                       \
    }                                                                                                                  \
    static void name(void)

int main(int argc, char **argv)
{
    for (int i = 0; i < check_count; i++)
        if (argc == 2 && strcmp(argv[1], check_tests[i].name) == 0) {
            check_tests[i].run();
            return 0;
        }
    fprintf(stderr, "usage: %s TEST\n", argv[0]);
    return 2;
}

#endif
