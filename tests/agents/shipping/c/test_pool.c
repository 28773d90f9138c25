#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool_check.h"
#include "random.h"

enum { PAGES = 64, ME = 1, OTHER = 2 };

static struct cs_counters *counters;

static struct cs_pool new_pool(void)
{
    struct cs_pool p;
    counters = new_counters();
    CHECK_EQ(cs_pool_create(&p, PAGES, CS_PAGE_SIZE, counters), 0);
    check_pool(&p);
    return p;
}

static void end(struct cs_pool *p)
{
    check_pool(p);
    cs_pool_destroy(p);
    cs_counters_close(counters);
}

static uint32_t cid_of(const struct cs_pool *p, uint32_t page)
{
    return cs_cid(page, p->shared->table[page].generation);
}

TEST(every_page_can_be_taken_once)
{
    struct cs_pool p = new_pool();
    for (uint32_t i = 0; i < PAGES; i++)
        CHECK(cs_pool_take(&p, CS_RECEIVING) >= 0);
    CHECK_EQ(cs_pool_take(&p, CS_RECEIVING), -ENOBUFS);
    CHECK_EQ(cs_pool_take_run(&p, 1, ME), -ENOBUFS);
    check_pool(&p);
    for (uint32_t i = 0; i < PAGES; i++)
        cs_pool_give(&p, i);
    CHECK_EQ(p.free_count, PAGES);
    end(&p);
}

TEST(a_size_that_cannot_be_is_refused)
{
    struct cs_pool p;
    CHECK_EQ(cs_pool_create(&p, 0, CS_PAGE_SIZE, NULL), -EINVAL);
    CHECK_EQ(cs_pool_create(&p, (1u << CS_PAGE_BITS) + 1, CS_PAGE_SIZE, NULL), -EINVAL);
}

TEST(only_the_owner_may_name_a_container)
{
    struct cs_pool p = new_pool();
    int page = cs_pool_take_run(&p, 1, ME);
    CHECK_EQ(cs_pool_check(&p, cid_of(&p, (uint32_t)page), 0, 1, ME), page);
    CHECK_EQ(cs_pool_check(&p, cid_of(&p, (uint32_t)page), 0, 1, OTHER), -EPERM);
    CHECK_EQ(cs_pool_check(&p, cid_of(&p, (uint32_t)page), 0, 1, 0), -EPERM);
    end(&p);
}

TEST(a_stale_generation_is_refused)
{
    struct cs_pool p = new_pool();
    uint32_t page = (uint32_t)cs_pool_take_run(&p, 1, ME), before = cid_of(&p, page);
    uint32_t now = cs_pool_move(&p, page, ME, CS_OWNED);
    CHECK(now != before);
    CHECK_EQ(cs_pool_check(&p, before, 0, 1, ME), -EPERM);
    CHECK_EQ(cs_pool_check(&p, now, 0, 1, ME), page);
    cs_pool_give(&p, page);
    CHECK_EQ(cs_pool_check(&p, now, 0, 1, ME), -EPERM);
    end(&p);
}

/* 0 and negative numbers are errors in the six calls, so they can never name a container. */
TEST(an_identifier_is_always_positive_however_often_a_page_was_used)
{
    struct cs_pool p = new_pool();
    for (int i = 0; i < 3 * (int)CS_GENERATION_MASK; i++) {
        CHECK_EQ(cs_pool_take(&p, CS_RECEIVING), 0);
        CHECK((int32_t)cs_pool_move(&p, 0, ME, CS_OWNED) > 0);
        cs_pool_split(&p, 0);
        cs_pool_give(&p, 0);
    }
    end(&p);
}

TEST(bytes_outside_the_container_are_refused)
{
    struct cs_pool p = new_pool();
    uint32_t page = (uint32_t)cs_pool_take_run(&p, 2, ME), cid = cid_of(&p, page), bytes = 2 * CS_PAGE_SIZE;
    const struct {
        uint32_t off, len;
        bool good;
    } cases[] = {
        {0, bytes, true}, {bytes, 0, true}, {bytes - 1, 1, true}, {0, 0, true},
        {1, bytes, false}, {bytes, 1, false}, {bytes + 1, 0, false}, {0, bytes + 1, false},
        {UINT32_MAX, 1, false}, {1, UINT32_MAX, false}, {UINT32_MAX, UINT32_MAX, false},
        {1u << 31, 1u << 31, false}, {UINT32_MAX - bytes + 1, bytes, false}, {bytes, UINT32_MAX - bytes + 1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(cs_pool_check(&p, cid, cases[i].off, cases[i].len, ME), cases[i].good ? (int64_t)page : -EPERM);
    end(&p);
}

TEST(a_made_up_identifier_is_refused)
{
    struct cs_pool p = new_pool();
    uint32_t mine = cid_of(&p, (uint32_t)cs_pool_take_run(&p, 1, ME));
    CHECK_EQ(cs_pool_check(&p, mine | 1u << 31, 0, 0, ME), -EPERM);
    CHECK_EQ(cs_pool_check(&p, cs_cid(PAGES, 1), 0, 0, ME), -EPERM);
    for (int i = 0; i < 100000; i++) {
        uint32_t cid = (uint32_t)random64();
        if (cid != mine)
            CHECK_EQ(cs_pool_check(&p, cid, 0, 0, ME), -EPERM);
    }
    end(&p);
}

TEST(the_middle_of_a_container_is_no_container)
{
    struct cs_pool p = new_pool();
    uint32_t page = (uint32_t)cs_pool_take_run(&p, 4, ME);
    for (uint32_t i = 1; i < 4; i++)
        for (uint32_t generation = 0; generation <= CS_GENERATION_MASK; generation++)
            CHECK_EQ(cs_pool_check(&p, cs_cid(page + i, generation), 0, 0, ME), -EPERM);
    end(&p);
}

TEST(a_run_is_found_only_where_pages_are_adjacent)
{
    struct cs_pool p = new_pool();
    CHECK_EQ(cs_pool_take_run(&p, 0, ME), -ENOBUFS);
    CHECK_EQ(cs_pool_take_run(&p, PAGES + 1, ME), -ENOBUFS);
    for (uint32_t i = 0; i < PAGES; i++)
        cs_pool_take(&p, CS_RECEIVING);
    for (uint32_t i = 0; i < PAGES; i += 2)
        cs_pool_give(&p, i);
    CHECK_EQ(cs_pool_take_run(&p, 2, ME), -ENOBUFS);
    cs_pool_give(&p, 41);
    CHECK_EQ(cs_pool_take_run(&p, 3, ME), 40);
    CHECK_EQ(p.shared->table[40].pages, 3);
    end(&p);
}

TEST(a_run_of_the_whole_pool_goes_and_comes_back)
{
    struct cs_pool p = new_pool();
    CHECK_EQ(cs_pool_take_run(&p, PAGES, ME), 0);
    check_pool(&p);
    CHECK_EQ(p.free_count, 0);
    cs_pool_give(&p, 0);
    CHECK_EQ(p.free_count, PAGES);
    end(&p);
}

TEST(a_container_that_is_sent_is_split_and_its_pages_come_back_one_by_one)
{
    struct cs_pool p = new_pool();
    uint32_t page = (uint32_t)cs_pool_take_run(&p, 3, ME), cid = cid_of(&p, page);
    cs_pool_split(&p, page);
    check_pool(&p);
    CHECK_EQ(cs_pool_check(&p, cid, 0, 0, ME), -EPERM);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK_EQ(p.shared->table[page + i].state, CS_SENDING);
        cs_pool_give(&p, page + i);
        check_pool(&p);
    }
    CHECK_EQ(p.free_count, PAGES);
    end(&p);
}

TEST(a_container_is_cut_into_two_of_the_same_owner)
{
    struct cs_pool p = new_pool();
    uint32_t page = (uint32_t)cs_pool_take_run(&p, 5, ME), cid = cid_of(&p, page);
    CHECK_EQ(cs_pool_cut(&p, page, 0), -EINVAL);
    CHECK_EQ(cs_pool_cut(&p, page, 5), -EINVAL);
    CHECK_EQ(cs_pool_cut(&p, page, UINT32_MAX), -EINVAL);
    uint32_t rest = (uint32_t)cs_pool_cut(&p, page, 2);
    check_pool(&p);
    CHECK_EQ(cs_pool_check(&p, cid, 0, 2 * CS_PAGE_SIZE, ME), page);
    CHECK_EQ(cs_pool_check(&p, cid, 0, 2 * CS_PAGE_SIZE + 1, ME), -EPERM);
    CHECK_EQ(cs_pool_check(&p, rest, 0, 3 * CS_PAGE_SIZE, ME), page + 2);
    cs_pool_give(&p, page);
    check_pool(&p);
    CHECK_EQ(cs_pool_check(&p, rest, 0, 3 * CS_PAGE_SIZE, ME), page + 2);
    cs_pool_give(&p, page + 2);
    CHECK_EQ(p.free_count, PAGES);
    end(&p);
}

TEST(a_run_that_was_given_back_is_found_again_wherever_it_is)
{
    struct cs_pool p = new_pool();
    for (uint32_t i = 0; i < PAGES / 4; i++)
        CHECK_EQ(cs_pool_take_run(&p, 4, ME), 4 * i);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t page = 4 * below(PAGES / 4);
        cs_pool_give(&p, page);
        CHECK_EQ(cs_pool_take_run(&p, 5, ME), -ENOBUFS);
        CHECK_EQ(cs_pool_take_run(&p, 4, ME), page);
    }
    end(&p);
}

TEST(reclaiming_takes_what_one_owner_has_and_nothing_else)
{
    struct cs_pool p = new_pool();
    uint32_t kept[4];
    for (uint32_t i = 0; i < 4; i++) {
        cs_pool_take_run(&p, i + 1, ME);
        kept[i] = cid_of(&p, (uint32_t)cs_pool_take_run(&p, 2, OTHER));
        cs_pool_take(&p, CS_RECEIVING);
        cs_pool_take(&p, CS_SENDING);
    }
    CHECK_EQ(cs_pool_reclaim(&p, ME), 4);
    check_pool(&p);
    CHECK_EQ(cs_pool_reclaim(&p, ME), 0);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(cs_pool_check(&p, kept[i], 0, 2 * CS_PAGE_SIZE, OTHER), cs_cid_page(kept[i]));
    CHECK_EQ(cs_count_value(p.states[CS_RECEIVING]), 4);
    CHECK_EQ(cs_count_value(p.states[CS_SENDING]), 4);
    end(&p);
}

TEST(counts_sum_to_the_pool_whatever_happens)
{
    struct cs_pool p = new_pool();
    for (int i = 0; i < 20000; i++) {
        uint32_t page = below(PAGES);
        const struct cs_container *c = &p.shared->table[page];
        switch (below(7)) {
        case 0: cs_pool_take(&p, below(2) ? CS_RECEIVING : CS_SENDING); break;
        case 1: cs_pool_take_run(&p, 1 + below(5), (uint16_t)(1 + below(3))); break;
        case 2: if (c->state != CS_FREE && c->state != CS_TAIL) cs_pool_give(&p, page); break;
        case 3: if (c->state == CS_RECEIVING) cs_pool_move(&p, page, ME, CS_OWNED); break;
        case 4: if (c->state == CS_OWNED) cs_pool_split(&p, page); break;
        case 5: if (c->state == CS_OWNED) cs_pool_cut(&p, page, below(c->pages + 1)); break;
        case 6: if (below(40) == 0) cs_pool_reclaim(&p, (uint16_t)(1 + below(3))); break;
        }
        check_pool(&p);
    }
    end(&p);
}

TEST(a_process_cannot_write_or_shrink_what_it_is_given_read_only)
{
    struct cs_pool p = new_pool();
    CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.table_fd, 0) == MAP_FAILED);
    CHECK(ftruncate(p.data_fd, 0) < 0);
    CHECK(fcntl(p.data_fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
    end(&p);
}
