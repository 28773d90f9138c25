/* The clock of a bus, on a clock of our own: what it grants is counted, not timed. */
#include "check.h"
#include "devices/framebuffer.h"
#include "random.h"

static const uint64_t limits[] = {1000, 1001, 72000000, 999999937, 10000000000};
enum { LIMITS = sizeof limits / sizeof *limits, MS = 1000000, SLACK_MS = 10 };
static const uint64_t NS = 1000000000;

/* Ask again and again for as long as it grants, at times at most `step` apart; what was granted within `ns`. */
static uint64_t granted(uint64_t limit, uint64_t start, uint64_t ns, uint64_t step, uint32_t wanted)
{
    struct cs_bus bus = {.limit = limit};
    uint64_t sum = 0, last = 0;
    for (uint64_t now = start; now <= start + ns; now += 1 + random64() % step) {
        for (uint32_t got; (got = cs_bus_grant(&bus, now, wanted)) > 0; sum += got)
            CHECK(got <= wanted);
        CHECK(cs_bus_due_ns(&bus) > now);
        last = now;
    }
    CHECK(last > start + ns - step);
    return sum;
}

/* limit * ns / 10^9 in whole bytes, rounded down. */
static uint64_t share(uint64_t limit, uint64_t ns)
{
    return (uint64_t)((unsigned __int128)limit * ns / NS);
}

TEST(the_limit_is_never_exceeded_and_is_reached)
{
    static const uint64_t starts[] = {10 * MS, 123456789012345, UINT64_MAX / 8};
    for (int i = 0; i < LIMITS; i++)
        for (int s = 0; s < 3; s++) {
            const uint64_t ns = limits[i] > NS ? NS / 2 : 2500 * (uint64_t)MS, grant = limits[i] / 1000;
            uint64_t sum = granted(limits[i], starts[s], ns, 3 * MS, 4096);
            CHECK(sum <= share(limits[i], ns + SLACK_MS * MS + 1) + (grant < 4096 ? grant : 4096) + 1);
            CHECK(sum + share(limits[i], 3 * MS) + 1 >= share(limits[i], ns));
        }
}

TEST(time_in_which_nothing_was_asked_for_is_not_made_up_for)
{
    for (int i = 0; i < LIMITS; i++) {
        struct cs_bus bus = {.limit = limits[i]};
        uint64_t sum = 0;
        for (uint64_t now = NS; now < 100 * NS; now += 10 * NS) /* ten seconds without a word, each time */
            for (uint32_t got; (got = cs_bus_grant(&bus, now, 4096)) > 0; sum += got) {
            }
        CHECK(sum <= 10 * (share(limits[i], SLACK_MS * MS) + 4096));
    }
}

TEST(without_a_limit_all_is_granted)
{
    struct cs_bus bus = {0};
    CHECK_EQ(cs_bus_grant(&bus, 0, 1), 1);
    CHECK_EQ(cs_bus_grant(&bus, 0, 5000), 5000);
    CHECK_EQ(cs_bus_grant(&bus, 0, UINT32_MAX), UINT32_MAX);
    CHECK_EQ(cs_bus_due_ns(&bus), 0);
}
