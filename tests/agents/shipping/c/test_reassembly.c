/* Which fragments make a datagram, and what is given up when: the list alone, against a map of bytes. */
#define _GNU_SOURCE
#include "frames.h"
#include "net/reassembly.h"
#include "pool_check.h"

enum { PAGES = 4096, MOST = PAGES / CS_REASSEMBLY_SHARE };

static struct cs_pool pool;
static struct cs_counters *counters;
static struct cs_reassembly list;
static struct cs_part whole[CS_DATAGRAM_PARTS];
static uint64_t now = 1;

static void start(void)
{
    counters = new_counters();
    CHECK_EQ(cs_pool_create(&pool, PAGES, CS_PAGE_SIZE, counters), 0);
    cs_reassembly_open(&list, &pool, counters);
}

static void finish(void)
{
    check_pool(&pool);
    CHECK_EQ(pool.free_count, PAGES);
    CHECK_EQ(list.pages, 0);
    cs_pool_destroy(&pool);
    cs_counters_close(counters);
}

static uint64_t dropped(enum cs_reassembly_drop why)
{
    return cs_count_value(list.drops[why]);
}

/* A fragment comes in that many parts; how many has the datagram that it completes? Each part remembers in its offset
 * where in the datagram it begins. */
static uint32_t add_parts(uint32_t source, uint16_t id, uint32_t from, uint32_t to, bool more, uint32_t parts)
{
    struct cs_packet packet = {.kind = CS_PACKET_FRAGMENT, .sender.ip = source, .id = id, .offset = from,
                               .payload_len = to - from, .more = more};
    struct cs_frame f = {.parts = parts};
    for (uint32_t i = 0; i < parts; i++) {
        int page = cs_pool_take(&pool, CS_RECEIVING);
        CHECK(page >= 0);
        f.part[i] = (struct cs_part){(uint32_t)page, from + i, i + 1 < parts ? 1 : to - from - i};
    }
    return cs_reassembly_add(&list, &packet, &f, now, whole);
}

static uint32_t add(uint16_t id, uint32_t from, uint32_t to, bool more)
{
    return add_parts(1, id, from, to, more, 1);
}

/* What came out is all of it, in order. */
static void take_whole(uint32_t parts, uint32_t bytes)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < parts; at += whole[i++].len) {
        CHECK_EQ(whole[i].off, at);
        cs_pool_give(&pool, whole[i].page);
    }
    CHECK_EQ(at, bytes);
}

static void expire_all(void)
{
    now += CS_REASSEMBLY_NS;
    cs_reassembly_expire(&list, now);
    CHECK_EQ(list.count, 0);
    CHECK_EQ(list.pages, 0);
    CHECK_EQ(pool.free_count, PAGES);
}

/* In units of 8 bytes. */
struct fragment {
    uint32_t from, to;
    bool more;
};

enum { UNITS = 4, KINDS = UNITS * (UNITS + 1), LENGTH = 4 };

static struct fragment kind(uint32_t number)
{
    struct fragment f = {.more = number % 2};
    for (number /= 2; number >= UNITS - f.from; f.from++)
        number -= UNITS - f.from;
    f.to = f.from + 1 + number;
    return f;
}

/* The rules of RFC 791 and RFC 5722 over a map of bytes: the datagram's length, 0: not yet all, -1: given up. */
static int model(const struct fragment *sent, uint32_t count)
{
    bool here[UNITS] = {0};
    uint32_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct fragment f = sent[i];
        bool copy = false;
        for (uint32_t k = 0; k < i; k++)
            copy |= sent[k].from == f.from && sent[k].to == f.to && sent[k].more == f.more;
        if (copy)
            continue;
        if (end && (!f.more || f.to > end))
            return -1;
        for (uint32_t unit = f.from; unit < f.to; unit++) {
            if (here[unit])
                return -1;
            here[unit] = true;
        }
        for (uint32_t unit = f.to; unit < UNITS; unit++)
            if (!f.more && here[unit])
                return -1;
        if (!f.more)
            end = f.to;
        uint32_t unit = 0;
        while (unit < end && here[unit])
            unit++;
        if (end && unit == end)
            return (int)end;
    }
    return 0;
}

TEST(every_sequence_of_fragments_ends_as_the_rules_say)
{
    uint32_t sequences = 1, completed = 0, given_up = 0;
    start();
    for (int i = 0; i < LENGTH; i++)
        sequences *= KINDS;
    for (uint32_t number = 0; number < sequences; number++) {
        struct fragment sent[LENGTH];
        uint64_t overlaps = dropped(CS_REASSEMBLY_OVERLAP), timeouts = dropped(CS_REASSEMBLY_TIMEOUT);
        uint32_t rest = number, count = 0;
        int end = 0;
        while (count < LENGTH && end <= 0) {
            struct fragment f = sent[count++] = kind(rest % KINDS);
            rest /= KINDS;
            if (end < 0) { /* what still comes of it is not counted again */
                CHECK_EQ(add(7, f.from * 8, f.to * 8, f.more), 0);
                continue;
            }
            end = model(sent, count);
            uint32_t parts = add(7, f.from * 8, f.to * 8, f.more);
            CHECK_EQ(parts > 0, end > 0);
            take_whole(parts, end > 0 ? (uint32_t)end * 8 : 0);
            CHECK_EQ(dropped(CS_REASSEMBLY_OVERLAP) - overlaps, end < 0);
        }
        completed += end > 0;
        given_up += end < 0;
        expire_all();
        CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT) - timeouts, end == 0);
        CHECK_EQ(dropped(CS_REASSEMBLY_OVERLAP) - overlaps, end < 0);
    }
    CHECK(completed > 1000 && given_up > 1000);
    finish();
}

static void add_copies(uint16_t id, uint32_t copies)
{
    uint64_t before = cs_count_value(list.copies);
    CHECK_EQ(add(id, 0, 8, true), 0);
    CHECK_EQ(add(id, 8, 16, false), 0);
    CHECK_EQ(add(id, 0, 16, false), 0); /* cut up in another way by another router */
    CHECK_EQ(cs_count_value(list.copies) - before, copies);
}

TEST(what_still_comes_of_a_datagram_that_was_whole_is_a_copy)
{
    start();
    CHECK_EQ(add(1, 0, 8, true), 0);
    CHECK_EQ(add(1, 0, 8, true), 0); /* so is this one */
    CHECK_EQ(cs_count_value(list.copies), 1);
    take_whole(add(1, 8, 16, false), 16);
    add_copies(1, 3);
    now += CS_REASSEMBLY_NS - 1;
    add_copies(1, 3);
    CHECK_EQ(list.count, 0);
    now++; /* from now on nobody remembers */
    CHECK_EQ(add(1, 8, 16, false), 0);
    CHECK_EQ(list.count, 1);
    expire_all();
    CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT), 1);
    finish();
}

TEST(an_identifier_that_comes_again_is_not_taken_for_a_copy)
{
    start();
    CHECK_EQ(add(1, 0, 8, true), 0);
    take_whole(add(1, 8, 16, false), 16);
    CHECK_EQ(add_parts(2, 1, 0, 8, true, 1), 0); /* somebody else's */
    take_whole(add_parts(2, 1, 8, 16, false, 1), 16);
    CHECK_EQ(add(1, 16, 24, false), 0); /* longer than that one was */
    CHECK_EQ(add(1, 0, 8, true), 0);
    take_whole(add(1, 8, 16, true), 24);
    for (uint16_t id = 2; id <= 1 + CS_REASSEMBLED; id++) { /* its sender goes on */
        CHECK_EQ(add(id, 0, 8, true), 0);
        take_whole(add(id, 8, 16, false), 16);
    }
    CHECK_EQ(add(1, 0, 8, true), 0);
    take_whole(add(1, 8, 24, false), 24);
    CHECK_EQ(cs_count_value(list.copies), 0);
    finish();
}

TEST(senders_and_datagrams_are_told_apart)
{
    start();
    for (uint16_t id = 0; id < 8; id++)
        for (uint32_t source = 1; source <= 8; source++)
            CHECK_EQ(add_parts(source, id, 0, 8, true, 1), 0);
    for (uint16_t id = 8; id-- > 0;)
        for (uint32_t source = 1; source <= 8; source++) {
            uint32_t parts = add_parts(source, id, 8, 8 + 8 * source + id, false, 2);
            CHECK_EQ(parts, 3);
            take_whole(parts, 8 + 8 * source + id);
        }
    CHECK_EQ(list.count, 0);
    finish();
}

TEST(nobody_waits_longer_than_the_time_after_the_first)
{
    start();
    now = 5;
    CHECK_EQ(add(1, 8, 16, false), 0);
    now = 6;
    CHECK_EQ(add(2, 8, 16, false), 0);
    CHECK_EQ(add(1, 16, 24, true), 0); /* given up: past its end */
    now = CS_REASSEMBLY_NS + 4;
    CHECK_EQ(add(2, 0, 7 * 8, true), 0);
    CHECK_EQ(dropped(CS_REASSEMBLY_OVERLAP), 2);
    CHECK_EQ(add(3, 0, 8, true), 0);
    cs_reassembly_expire(&list, now);
    CHECK_EQ(list.count, 3);
    cs_reassembly_expire(&list, CS_REASSEMBLY_NS + 5);
    CHECK_EQ(list.count, 2);
    cs_reassembly_expire(&list, CS_REASSEMBLY_NS + 6);
    CHECK_EQ(list.count, 1);
    CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT), 0); /* both were counted already */
    expire_all();
    CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT), 1);
    finish();
}

TEST(the_oldest_makes_way_when_there_are_too_many)
{
    start();
    for (uint16_t id = 0; id < CS_REASSEMBLIES; id++)
        CHECK_EQ(add(id, 0, 8, true), 0);
    CHECK_EQ(add(5, 0, 16, true), 0); /* given up: the first to go, as it has nothing to lose */
    CHECK_EQ(add(1000, 0, 8, true), 0);
    CHECK_EQ(dropped(CS_REASSEMBLY_FULL), 0);
    CHECK_EQ(add(1001, 0, 8, true), 0);
    CHECK_EQ(dropped(CS_REASSEMBLY_FULL), 1);
    take_whole(add(1, 8, 16, false), 16); /* the second oldest is still here */
    CHECK_EQ(add(0, 8, 16, false), 0);    /* the oldest is not */
    CHECK_EQ(dropped(CS_REASSEMBLY_FULL), 1);
    expire_all();
    CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT), CS_REASSEMBLIES);
    finish();
}

TEST(the_oldest_makes_way_when_they_have_too_many_pages)
{
    start();
    for (uint16_t id = 0; id < 3; id++)
        for (uint32_t i = 0; i < 100 && list.pages < MOST; i++)
            CHECK_EQ(add(id, i * 8, i * 8 + 8, true), 0);
    CHECK_EQ(list.pages, MOST);
    CHECK_EQ(add_parts(1, 1, 800, 864, true, CS_FRAME_PARTS), 0);
    CHECK_EQ(list.pages, MOST - 100 + CS_FRAME_PARTS);
    CHECK_EQ(dropped(CS_REASSEMBLY_FULL), 1);
    CHECK_EQ(add(0, 800, 808, false), 0); /* what still comes of it is let go */
    CHECK_EQ(list.pages, MOST - 100 + CS_FRAME_PARTS);
    take_whole(add(1, 864, 865, false), 865);
    CHECK_EQ(dropped(CS_REASSEMBLY_FULL), 1);
    expire_all();
    finish();
}

TEST(one_that_has_all_the_pages_makes_way_for_itself)
{
    start();
    list.most_pages = 10;
    for (uint32_t i = 0; i < 11; i++)
        CHECK_EQ(add(1, i * 8, i * 8 + 8, i < 10), 0);
    CHECK_EQ(dropped(CS_REASSEMBLY_FULL), 1);
    CHECK_EQ(list.pages, 0);
    expire_all();
    CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT), 0);
    finish();
}

TEST(as_many_parts_as_a_message_can_have_and_no_more)
{
    start();
    for (uint32_t i = 0; i < CS_DATAGRAM_PARTS; i++) {
        uint32_t parts = add(1, i * 8, i * 8 + 8, i + 1 < CS_DATAGRAM_PARTS);
        CHECK_EQ(parts, i + 1 < CS_DATAGRAM_PARTS ? 0 : CS_DATAGRAM_PARTS);
        take_whole(parts, parts * 8);
    }
    for (uint32_t i = 0; i <= CS_DATAGRAM_PARTS; i++)
        CHECK_EQ(add(2, i * 8, i * 8 + 8, i < CS_DATAGRAM_PARTS), 0);
    CHECK_EQ(dropped(CS_REASSEMBLY_PIECES), 1);
    expire_all();
    CHECK_EQ(dropped(CS_REASSEMBLY_TIMEOUT), 0);
    finish();
}

TEST(what_is_incomplete_at_the_end_is_counted)
{
    start();
    CHECK_EQ(add(1, 0, 8, true), 0);
    CHECK_EQ(add(2, 0, 8, true), 0);
    CHECK_EQ(add(2, 0, 16, true), 0);
    cs_reassembly_close(&list);
    CHECK_EQ(dropped(CS_REASSEMBLY_CLOSED), 1);
    cs_pool_destroy(&pool);
    cs_counters_close(counters);
}
