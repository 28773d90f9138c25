/* The machine of c11.h itself: what the classic small programs may end with on it is what C11 says they may
 * (Batty et al., POPL 2011; Lahav et al., PLDI 2017). Each is explored, and the set of its ends looked at. */
#include "c11.h"

enum { X, Y, VARIABLES };

static struct program {
    uint64_t at[THREADS], result[THREADS][2];
    uint32_t variable[VARIABLES];
} program;

static const char *where(uint32_t thread);
static bool step(uint32_t thread);
static const char *wrong_end(void);

#include "check.h"
#include "explore.h"

static void (*code[THREADS])(uint64_t *result);
static uint64_t ends[64], ends_count;
static int first_order, second_order;

static const char *where(uint32_t thread)
{
    static const char *const names[THREADS] = {"first", "second", "third"};
    return names[thread];
}

static bool step(uint32_t thread)
{
    if (!code[thread] || program.at[thread])
        return false;
    code[thread](program.result[thread]);
    program.at[thread] = 1;
    return true;
}

/* Every result is below 16: an end is a number of one hexadecimal digit for each. */
static const char *wrong_end(void)
{
    uint64_t end = 0;
    for (uint32_t t = 0; t < THREADS; t++)
        end = end << 8 | program.result[t][0] << 4 | program.result[t][1];
    for (uint64_t i = 0; i < ends_count; i++)
        if (ends[i] == end)
            return NULL;
    CHECK(ends_count < 64);
    ends[ends_count++] = end;
    return NULL;
}

static void store(uint32_t variable, uint32_t value, int order)
{
    c11_store(&program.variable[variable], value, order);
}

static uint32_t load(uint32_t variable, int order)
{
    return c11_load(&program.variable[variable], order);
}

static uint32_t exchange(uint32_t variable, uint32_t value)
{
    return c11_exchange(&program.variable[variable], value, __ATOMIC_RELAXED);
}

/* Explore three threads (or fewer) from a memory of zeros; whether one of the ends is this. */
static bool may_end(uint64_t end, void (*a)(uint64_t *), void (*b)(uint64_t *), void (*c)(uint64_t *))
{
    code[0] = a, code[1] = b, code[2] = c;
    free(reached);
    reached = NULL;
    reached_count = reached_room = ends_count = 0;
    memset(&program, 0, sizeof program);
    start_memory();
    for (int i = 0; i < VARIABLES; i++)
        add_word(&program.variable[i], 0, 7);
    explore();
    for (uint64_t i = 0; i < ends_count; i++)
        if (ends[i] == end)
            return true;
    return false;
}

static void orders(int first, int second)
{
    first_order = first;
    second_order = second;
}

static void say_then_flag(uint64_t *r)
{
    (void)r;
    store(X, 1, __ATOMIC_RELAXED);
    store(Y, 1, first_order);
}

static void flag_then_read(uint64_t *r)
{
    r[0] = load(Y, second_order);
    r[1] = load(X, __ATOMIC_RELAXED);
}

TEST(a_message_is_sure_to_be_seen_only_with_release_and_acquire)
{
    orders(__ATOMIC_RELEASE, __ATOMIC_ACQUIRE);
    CHECK(!may_end(0x001000, say_then_flag, flag_then_read, NULL));
    CHECK(may_end(0x001100, say_then_flag, flag_then_read, NULL));
    CHECK(may_end(0x000100, say_then_flag, flag_then_read, NULL));
    orders(__ATOMIC_RELAXED, __ATOMIC_ACQUIRE);
    CHECK(may_end(0x001000, say_then_flag, flag_then_read, NULL));
    orders(__ATOMIC_RELEASE, __ATOMIC_RELAXED);
    CHECK(may_end(0x001000, say_then_flag, flag_then_read, NULL));
}

static void say_fence_flag(uint64_t *r)
{
    (void)r;
    store(X, 1, __ATOMIC_RELAXED);
    c11_fence(first_order);
    store(Y, 1, __ATOMIC_RELAXED);
}

static void flag_fence_read(uint64_t *r)
{
    r[0] = load(Y, __ATOMIC_RELAXED);
    c11_fence(second_order);
    r[1] = load(X, __ATOMIC_RELAXED);
}

TEST(fences_do_for_relaxed_accesses_what_release_and_acquire_do)
{
    orders(__ATOMIC_RELEASE, __ATOMIC_ACQUIRE);
    CHECK(!may_end(0x001000, say_fence_flag, flag_fence_read, NULL));
    orders(__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    CHECK(!may_end(0x001000, say_fence_flag, flag_fence_read, NULL));
    orders(__ATOMIC_ACQUIRE, __ATOMIC_ACQUIRE);
    CHECK(may_end(0x001000, say_fence_flag, flag_fence_read, NULL));
    orders(__ATOMIC_RELEASE, __ATOMIC_RELEASE);
    CHECK(may_end(0x001000, say_fence_flag, flag_fence_read, NULL));
}

static void x_then_y(uint64_t *r)
{
    store(X, 1, __ATOMIC_RELEASE);
    c11_fence(first_order);
    r[0] = load(Y, __ATOMIC_ACQUIRE);
}

static void y_then_x(uint64_t *r)
{
    store(Y, 1, __ATOMIC_RELEASE);
    c11_fence(second_order);
    r[0] = load(X, __ATOMIC_ACQUIRE);
}

TEST(only_two_full_fences_keep_both_from_missing_the_other)
{
    orders(__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    CHECK(!may_end(0x000000, x_then_y, y_then_x, NULL));
    orders(__ATOMIC_SEQ_CST, __ATOMIC_ACQ_REL);
    CHECK(may_end(0x000000, x_then_y, y_then_x, NULL));
    orders(__ATOMIC_ACQ_REL, __ATOMIC_SEQ_CST);
    CHECK(may_end(0x000000, x_then_y, y_then_x, NULL));
}

static void pass_on(uint64_t *r)
{
    r[0] = load(Y, __ATOMIC_ACQUIRE);
    if (r[0])
        store(Y, 2, first_order);
}

static void read_what_was_passed_on(uint64_t *r)
{
    r[0] = load(Y, __ATOMIC_ACQUIRE);
    r[1] = load(X, __ATOMIC_RELAXED);
}

TEST(what_one_learned_another_learns_from_it)
{
    orders(__ATOMIC_RELEASE, 0);
    CHECK(!may_end(0x001020, say_then_flag, pass_on, read_what_was_passed_on));
    CHECK(may_end(0x001021, say_then_flag, pass_on, read_what_was_passed_on));
}

static void write_1(uint64_t *r)
{
    (void)r;
    store(X, 1, __ATOMIC_RELAXED);
}

static void write_2(uint64_t *r)
{
    (void)r;
    store(X, 2, __ATOMIC_RELAXED);
}

static void read_twice(uint64_t *r)
{
    r[0] = load(X, __ATOMIC_RELAXED);
    r[1] = load(X, __ATOMIC_RELAXED);
}

TEST(a_word_never_goes_back)
{
    CHECK(may_end(0x000012, write_1, write_2, read_twice));
    CHECK(may_end(0x000021, write_1, write_2, read_twice));
    CHECK(!may_end(0x000010, write_1, write_2, read_twice));
    CHECK(!may_end(0x000020, write_1, write_2, read_twice));
}

static void write_1_read(uint64_t *r)
{
    store(X, 1, __ATOMIC_RELAXED);
    r[0] = load(X, __ATOMIC_RELAXED);
}

static void write_2_read(uint64_t *r)
{
    store(X, 2, __ATOMIC_RELAXED);
    r[0] = load(X, __ATOMIC_RELAXED);
}

TEST(all_agree_on_the_order_of_two_stores_to_a_word)
{
    CHECK(!may_end(0x201000, write_1_read, write_2_read, NULL));
    CHECK(may_end(0x101000, write_1_read, write_2_read, NULL) && may_end(0x202000, write_1_read, write_2_read, NULL));
    CHECK(may_end(0x102000, write_1_read, write_2_read, NULL));
}

static void exchange_1(uint64_t *r)
{
    r[0] = exchange(X, 1);
}

static void exchange_2(uint64_t *r)
{
    r[0] = exchange(X, 2);
}

TEST(an_exchange_takes_what_no_other_takes)
{
    CHECK(!may_end(0x000000, exchange_1, exchange_2, NULL));
    CHECK(may_end(0x001000, exchange_1, exchange_2, NULL));
    CHECK(may_end(0x200000, exchange_1, exchange_2, NULL));
}
