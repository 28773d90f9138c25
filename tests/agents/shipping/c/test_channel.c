/* The local channel as its two ends see it. */
#define _GNU_SOURCE
#include "channel.h"

#include <sys/epoll.h>

static const int sizes[] = {0, 1, 4096, 4097, 50000, BIG, 4 << 20};
enum { SIZES = sizeof sizes / sizeof *sizes, MANY = 20000 };

static void write_all_sizes(void)
{
    int fd = channel_end("test", SOON_MS);
    for (uint32_t i = 0; i < SIZES; i++)
        for (int off = 0; off <= 100; off += 100)
            for (int err; (err = write_pattern(fd, off, sizes[i], i, 0)) != 0; poll(NULL, 0, 1))
                CHECK_EQ(err, -ENOBUFS); /* half of the pool is on its way */
}

TEST(a_container_of_any_size_reaches_the_other_process_whole)
{
    host_start();
    int fd = channel_end("test", SOON_MS), cid, off, len, size;
    void *addr;
    struct cs_args args = {&cid, &off, &len, &size, &addr};
    pid_t writer = other(write_all_sizes);
    for (uint32_t i = 0; i < SIZES; i++)
        for (int wanted = 0; wanted <= 100; wanted += 100) {
            CHECK_EQ(cs_read(fd, 8 << 20, 64, &args, CS_MAPALL), 1);
            CHECK_EQ(off, wanted);
            CHECK_EQ(len, sizes[i]);
            CHECK(size % CS_PAGE_SIZE == 0 && size >= off + len);
            for (int k = 0; k < len; k++)
                CHECK_EQ(((uint8_t *)addr)[off + k], pattern_byte(i, (uint32_t)k));
            CHECK_EQ(cs_free(1, &cid), 0);
        }
    ended_well(writer);
    CHECK_EQ(counted("channel_messages"), 2 * SIZES);
    host_end();
}

TEST(what_was_given_to_the_other_end_is_refused)
{
    host_start();
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS), got, zero = 0, one = 1;
    int cid = cs_alloc(BIG, NULL, 0);
    struct cs_args args = {.cids = &got};
    CHECK_EQ(cs_write(to, 1, &cid, NULL, NULL, 0), 0);
    CHECK_EQ(cs_write(to, 1, &cid, &zero, &one, 0), -EPERM);
    CHECK_EQ(cs_read(from, BIG, 1, &args, 0), 1);
    CHECK(got != cid); /* the same pages under a new name */
    CHECK_EQ(got & 0xfffff, cid & 0xfffff);
    CHECK_EQ(cs_free(1, &cid), -EPERM);
    CHECK_EQ(cs_free(1, &got), 0);
    host_end();
}

static void write_one(void)
{
    CHECK_EQ(write_pattern(channel_end("one", SOON_MS), 0, CS_PAGE_SIZE, 1, 0), 0);
}

/* Whoever is at its other end never had it. */
TEST(what_came_from_a_closed_channel_is_not_given_back_through_the_next)
{
    host_start();
    int fd = channel_end("one", SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    ended_well(other(write_one));
    CHECK_EQ(cs_read(fd, BIG, 1, &args, 0), 1);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(channel_end("two", SOON_MS), fd);
    channel_end("two", SOON_MS);
    CHECK_EQ(cs_free(1, &cid), 0);
    CHECK_EQ(cs_alloc(CS_PAGE_SIZE, NULL, 0), cid); /* it stayed with us */
    host_end();
}

TEST(arrays_may_be_left_out)
{
    host_start();
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS), off = 100, len = 0, got;
    struct cs_args args = {.cids = &got, .lens = &len}, only_cids = {.cids = &got};
    int cid = cs_alloc(2 * CS_PAGE_SIZE, NULL, 0);
    CHECK_EQ(cs_write(to, 1, &cid, &off, NULL, 0), 0);
    CHECK_EQ(cs_read(from, BIG, 1, &args, 0), 1);
    CHECK_EQ(len, 2 * CS_PAGE_SIZE - 100);
    CHECK_EQ(cs_map(1, &got, NULL, 0), 0);
    CHECK_EQ(cs_write(to, 1, &got, NULL, NULL, 0), 0);
    CHECK_EQ(cs_read(from, BIG, 1, &only_cids, CS_MAPALL), 1);
    host_end();
}

TEST(a_message_of_several_containers_is_read_in_as_many_reads_as_one_likes)
{
    host_start();
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS);
    for (uint32_t round = 0; round < 400; round++) {
        int cids[8], offs[8], lens[8], count = 1 + (int)below(8), total = 0, at = 0;
        for (int i = 0; i < count; i++) {
            int pages = 1 + (int)below(4);
            void *addr;
            CHECK((cids[i] = cs_alloc(pages * CS_PAGE_SIZE, &addr, CS_MAPNOW)) > 0);
            offs[i] = (int)below(3) ? (int)below((uint32_t)pages * CS_PAGE_SIZE) : 0;
            lens[i] = (int)below((uint32_t)(pages * CS_PAGE_SIZE - offs[i])) + 1;
            for (int k = 0; k < lens[i]; k++)
                ((uint8_t *)addr)[offs[i] + k] = pattern_byte(round, (uint32_t)(total + k));
            total += lens[i];
        }
        CHECK_EQ(cs_write(to, count, cids, offs, lens, 0), 0);
        CHECK_EQ(write_pattern(to, 0, 1, round, 0), 0); /* the next message stays apart */
        while (at < total) {
            int size = below(3) ? 1 + (int)below(20000) : 1 + (int)below(50);
            int got = read_pattern(from, size, 1 + (int)below(8), round, (uint32_t)at, 0);
            CHECK(got > 0);
            at += got;
        }
        CHECK_EQ(at, total);
        CHECK_EQ(read_pattern(from, BIG, 64, round, 0, 0), 1);
    }
    host_end();
}

TEST(whole_pages_of_a_container_are_read_without_a_copy)
{
    host_start();
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS), got, len, size;
    int cid = cs_alloc(BIG, NULL, 0);
    struct cs_args args = {.cids = &got, .lens = &len, .sizes = &size};
    CHECK_EQ(cs_write(to, 1, &cid, NULL, NULL, 0), 0);
    for (int at = 0; at < BIG; at += 8192) { /* Figure 2 of the paper */
        CHECK_EQ(cs_read(from, 8192, 1, &args, 0), 1);
        CHECK_EQ(len, 8192);
        CHECK_EQ(size, 8192);
        CHECK_EQ(got & 0xfffff, (cid & 0xfffff) + at / CS_PAGE_SIZE);
        CHECK_EQ(cs_free(1, &got), 0);
    }
    host_end();
}

TEST(closing_with_a_container_read_in_part_gives_back_the_rest)
{
    host_start();
    for (int i = 0; i < 100; i++) { /* more than the pool holds */
        int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS);
        CHECK_EQ(write_pattern(to, 0, BIG, 1, 0), 0);
        CHECK_EQ(read_pattern(from, i % 2 ? 10 : 5000, 1, 1, 0, 0), i % 2 ? 10 : 4096);
        CHECK_EQ(write_pattern(to, 0, BIG, 1, 0), 0);
        CHECK_EQ(cs_close(from), 0);
        CHECK_EQ(cs_close(to), 0);
    }
    host_end();
}

static void read_all_in_order(void)
{
    int fd = channel_end("test", SOON_MS);
    for (uint32_t i = 0; i < MANY; i++)
        CHECK_EQ(read_pattern(fd, BIG, 4, i, 0, 0), 1 + (int)(i % 9));
    CHECK_EQ(read_pattern(fd, BIG, 4, 0, 0, 0), 0);
}

TEST(nothing_is_lost_or_reordered_when_both_sleep_and_wake)
{
    host_start();
    int fd = channel_end("test", SOON_MS);
    pid_t reader = other(read_all_in_order);
    for (uint32_t i = 0; i < MANY; i++)
        CHECK_EQ(write_pattern(fd, 0, 1 + (int)(i % 9), i, i % 5 ? CS_MORE : 0), 0);
    CHECK_EQ(cs_close(fd), 0);
    ended_well(reader);
    host_end();
}

TEST(a_full_reader_holds_the_writer_back)
{
    host_start();
    int to = channel_end("test", 50), from = channel_end("test", SOON_MS), err, written = 0, read = 0;
    while ((err = write_pattern(to, 0, 100, (uint32_t)written, CS_DONTWAIT)) == 0)
        written++;
    CHECK_EQ(err, -EAGAIN);
    CHECK(written >= SHORT_QUEUE);
    WITHIN(SOON_MS, counted("channel_messages") >= SHORT_QUEUE);
    while ((err = write_pattern(to, 0, 100, (uint32_t)written, 0)) == 0 || written < 2 * SHORT_QUEUE)
        written += err == 0;
    CHECK_EQ(err, -ETIMEDOUT);
    for (; read < written; read++)
        CHECK_EQ(read_pattern(from, BIG, 1, (uint32_t)read, 0, 0), 100);
    CHECK_EQ(read_pattern(from, BIG, 1, 0, 0, CS_DONTWAIT), -EAGAIN);
    CHECK_EQ(write_pattern(to, 0, 100, 0, 0), 0);
    host_end();
}

TEST(what_is_written_before_the_other_end_opens_waits_for_it)
{
    host_start();
    int to = channel_end("test", SOON_MS);
    CHECK_EQ(write_pattern(to, 0, BIG, 3, 0), 0);
    int from = channel_end("test", SOON_MS);
    CHECK_EQ(read_pattern(from, BIG, 1, 3, 0, 0), BIG);
    host_end();
}

TEST(the_end_comes_after_all_that_was_written)
{
    for (int fill = 0; fill < 3; fill++) { /* nothing; a little; more than fits into the reader's ring */
        host_start();
        int to = channel_end("test", 50), from = channel_end("test", SOON_MS), written = 0, cid;
        struct cs_args args = {.cids = &cid};
        while (fill > 0 && (fill == 2 || written < 3) && write_pattern(to, 0, 100, (uint32_t)written, 0) == 0)
            written++;
        CHECK_EQ(cs_close(to), 0);
        for (int i = 0; i < written; i++)
            CHECK_EQ(read_pattern(from, BIG, 1, (uint32_t)i, 0, 0), 100);
        CHECK_EQ(cs_read(from, BIG, 1, &args, 0), 0);
        CHECK_EQ(cs_read(from, BIG, 1, &args, CS_DONTWAIT), 0);
        CHECK_EQ(write_pattern(from, 0, 1, 0, 0), -EPIPE);
        CHECK_EQ(counted("drop_closed"), 0);
        host_end();
    }
}

TEST(a_name_has_two_ends_and_no_more)
{
    char too_long[65];
    memset(too_long, 'x', 64);
    too_long[64] = 0;
    CHECK_EQ(cs_open_channel("test", SHORT_QUEUE, 0), -ENOTCONN);
    host_start();
    int one = channel_end("test", 0), another = channel_end("test", 0);
    CHECK_EQ(cs_open_channel("test", SHORT_QUEUE, 0), -EADDRINUSE);
    CHECK_EQ(cs_close(one), 0);
    CHECK_EQ(cs_open_channel("test", SHORT_QUEUE, 0), -EADDRINUSE);
    CHECK_EQ(cs_close(another), 0);
    one = channel_end("test", 0);
    CHECK_EQ(cs_open_channel("", SHORT_QUEUE, 0), -EINVAL);
    CHECK_EQ(cs_open_channel(NULL, SHORT_QUEUE, 0), -EINVAL);
    CHECK_EQ(cs_open_channel("q", 0, 0), -EINVAL);
    CHECK_EQ(cs_open_channel("q", 65537, 0), -EINVAL);
    CHECK_EQ(cs_open_channel(too_long, SHORT_QUEUE, 0), -ENAMETOOLONG);
    CHECK(cs_open_channel(too_long + 1, SHORT_QUEUE, 0) >= 0);
    int cids[65] = {0};
    struct cs_args args = {.cids = cids};
    CHECK_EQ(cs_write(one, 65, cids, NULL, NULL, 0), -EINVAL);
    CHECK_EQ(cs_read(one, 0, 1, &args, 0), -EINVAL);
    host_end();
}

static void write_when_told(void)
{
    int fd = channel_end("test", SOON_MS), back = channel_end("back", SOON_MS);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(read_pattern(back, 1, 1, i, 0, 0), 1);
        CHECK_EQ(write_pattern(fd, 0, BIG, i, 0), 0);
    }
}

TEST(a_descriptor_polls_readable_when_there_is_something_to_read)
{
    host_start();
    int fd = channel_end("test", 0), back = channel_end("back", SOON_MS), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    pid_t writer = other(write_when_told);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(cs_ready(fd), 0);
        CHECK_EQ(write_pattern(back, 0, 1, i, 0), 0);
        for (int now; (now = cs_ready(fd)) != 1;) {
            CHECK_EQ(now, 0);
            CHECK_EQ(epoll_wait(epoll, &event, 1, SOON_MS), 1);
        }
        CHECK_EQ(read_pattern(fd, BIG, 1, i, 0, CS_DONTWAIT), BIG);
    }
    ended_well(writer);
    CHECK_EQ(cs_ready(fd), 1); /* the end */
    CHECK_EQ(read_pattern(fd, BIG, 1, 0, 0, CS_DONTWAIT), 0);
    CHECK_EQ(cs_writable(fd), -EPIPE);
    CHECK_EQ(cs_writable(-1), -EBADF);
    close(epoll);
    host_end();
}

TEST(a_descriptor_polls_readable_when_a_full_channel_has_room_again)
{
    host_start();
    int to = channel_end("test", 50), from = channel_end("test", SOON_MS), written = fill_channel(to, 100, 7);
    struct pollfd fd = {.fd = to, .events = POLLIN};
    CHECK_EQ(cs_writable(to), 0);
    CHECK_EQ(poll(&fd, 1, 0), 0);
    for (int read = 0; read < written; read++)
        CHECK_EQ(read_pattern(from, BIG, 1, 7, 0, 0), 100);
    CHECK_EQ(poll(&fd, 1, SOON_MS), 1);
    CHECK_EQ(cs_writable(to), 1);
    host_end();
}
