/* The frame buffer as its writers and those who look at it see it. */
#define _GNU_SOURCE
#include "screens.h"

#include <fcntl.h>

#include "devices/framebuffer.h"

enum { FRAMES = 25 };

static void draw_divided(void)
{
    static uint8_t wanted[FRAMES * FRAME], got[FRAME];
    host_start();
    int fd = screen(SOON_MS), at = 0;
    for (size_t i = 0; i < sizeof wanted; i++)
        wanted[i] = (uint8_t)random64();
    CHECK_EQ(seen_now(got, sizeof got), 0);
    while (at < FRAMES * FRAME) {
        int cids[3], offs[3], lens[3], count = 0;
        for (; count < 3 && at < FRAMES * FRAME; count++) {
            void *addr;
            offs[count] = (int)below(5000);
            lens[count] = (int)below(3 * FRAME);
            if (lens[count] > FRAMES * FRAME - at)
                lens[count] = FRAMES * FRAME - at;
            cids[count] = cs_alloc(offs[count] + lens[count] + 1, &addr, CS_MAPNOW);
            CHECK(cids[count] > 0);
            memcpy((uint8_t *)addr + offs[count], wanted + at, (size_t)lens[count]);
            at += lens[count];
        }
        CHECK_EQ(cs_write(fd, count, cids, offs, lens, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
        if (below(2))
            continue; /* nobody looks at this one */
        uint64_t number = seen_now(got, sizeof got);
        CHECK_EQ(number, at / FRAME);
        if (number)
            CHECK(memcmp(got, wanted + (number - 1) * FRAME, FRAME) == 0);
    }
    CHECK_EQ(counted("framebuffer_frames"), FRAMES);
    CHECK_EQ(counted("framebuffer_bytes"), FRAMES * FRAME);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(seen_now(got, sizeof got), FRAMES);
    CHECK(memcmp(got, wanted + (FRAMES - 1) * FRAME, FRAME) == 0);
    host_end();
}

TEST(a_picture_is_the_same_however_it_was_divided)
{
    draw_divided();
    dma = 1;
    draw_divided();
}

TEST(what_was_given_is_refused_and_nothing_can_be_read)
{
    host_start();
    int fd = screen(SOON_MS), cid = cs_alloc(FRAME, NULL, 0), len = FRAME;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), -EPERM);
    CHECK_EQ(cs_read(fd, FRAME, 1, &args, 0), -EOPNOTSUPP);
    CHECK_EQ(cs_ready(fd), -EOPNOTSUPP);
    CHECK_EQ(cs_writable(fd), 1);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), -EBADF);
    CHECK_EQ(counted("framebuffer_frames"), 1);
    host_end();
}

TEST(an_impossible_geometry_is_refused_and_changes_nothing)
{
    static const struct cs_framebuffer bad[] = {
        {0, 0, 1, 8, 0}, {0, 1, 0, 8, 0}, {0, 16385, 1, 8, 0}, {0, 1, 16385, 8, 0}, {0, 1, 1, 0, 0}, {0, 1, 1, 16, 0}, {0, 1, 1, 64, 0},
        {0, UINT32_MAX, UINT32_MAX, 32, 0}, {0, 65536, 65536, 8, 0}, {0, 16384, 2049, 8, 0}, {0, 16384, 513, 32, 0}, {0, 1, 1, UINT32_MAX, 0},
        {999, 1, 1, 8, 0}, {10000000001, 1, 1, 8, 0}, {UINT64_MAX, 1, 1, 8, 0}, {0, 1, 1, 8, 2}};
    static const struct cs_framebuffer good[] = {{0, 1, 1, 8, 0}, {1000, 16384, 512, 32, 0}, {10000000000, 7, 3, 24, 1}};
    struct cs_framebuffer is;
    host_start();
    int fd = screen(SOON_MS), channel = channel_end("test", SOON_MS);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        is = bad[i];
        CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &is), -EINVAL);
        CHECK_EQ(cs_ioctl(fd, CS_GET_FRAMEBUFFER, &is), 0);
        CHECK(is.width == WIDTH && is.height == HEIGHT && is.bits == BITS && is.bus_limit == 0);
    }
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, NULL), -EINVAL);
    CHECK_EQ(cs_ioctl(fd, CS_GET_FRAMEBUFFER, NULL), -EINVAL);
    CHECK_EQ(cs_ioctl(fd, 77, &is), -EINVAL);
    CHECK_EQ(cs_ioctl(channel, CS_GET_FRAMEBUFFER, &is), -ENOTTY);
    CHECK_EQ(cs_ioctl(12345, CS_GET_FRAMEBUFFER, &is), -EBADF);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        is = good[i];
        CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &is), 0);
        CHECK(is.width == good[i].width && is.bits == good[i].bits && is.bus_limit == good[i].bus_limit);
        CHECK_EQ(is.dma, good[i].dma);
    }
    host_end();
}

static void open_screen(void)
{
    CHECK(cs_open_framebuffer("screen", SOON_MS) >= 0);
}

static void draw_half(void)
{
    CHECK_EQ(paint(cs_open_framebuffer("screen", SOON_MS), 1, FRAME / 2, 0), 0);
    WITHIN(SOON_MS, counted("framebuffer_bytes") == FRAME + FRAME / 2);
}

TEST(the_geometry_stays_while_others_have_it_open_or_a_frame_is_half_drawn)
{
    static uint8_t pixels[FRAME];
    struct cs_framebuffer other_one = {.width = 10, .height = 10, .bits = 8}, is;
    uint64_t number;
    host_start();
    int fd = screen(SOON_MS), view = cs_view_framebuffer("screen");
    pid_t second = neighbour(open_screen);
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &other_one), -EBUSY);
    end_of(second);
    WITHIN(SOON_MS, cs_ioctl(fd, CS_SET_FRAMEBUFFER, &other_one) == 0);
    CHECK_EQ(cs_read_frame(view, &is, &number, pixels, FRAME), -ESTALE);
    close(view);
    view = cs_view_framebuffer("screen");
    CHECK_EQ(paint(fd, 9, 50, 0), 0);
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &other_one), -EBUSY);
    CHECK_EQ(paint(fd, 9, 50, 0), 0);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    CHECK_EQ(cs_read_frame(view, &is, &number, pixels, 99), -EMSGSIZE);
    CHECK_EQ(is.width, 10);
    CHECK_EQ(seen(view, pixels, 100), 1);
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &other_one), 0);
    close(view);
    host_end();
}

static void leave_unfinished(void)
{
    static uint8_t pixels[FRAME];
    host_start();
    int fd = screen(SOON_MS);
    CHECK_EQ(paint(fd, 7, FRAME, 0), 0);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    pid_t second = neighbour(draw_half);
    CHECK_EQ(paint(fd, 3, FRAME, 0), 0); /* waits for its turn */
    CHECK_EQ(seen_now(pixels, FRAME), 1);
    end_of(second);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    CHECK_EQ(seen_now(pixels, FRAME), 2);
    for (int i = 0; i < FRAME; i++)
        CHECK_EQ(pixels[i], 3);
    host_end();
}

TEST(a_frame_that_its_writer_left_unfinished_is_never_shown)
{
    leave_unfinished();
    dma = 1;
    leave_unfinished();
}

static void paint_many(void)
{
    int fd = cs_open_framebuffer("screen", SOON_MS);
    for (int i = 0; i < 400; i++)
        CHECK_EQ(paint(fd, (uint8_t)i, PAINTED, 0), 0);
    CHECK_EQ(cs_close(fd), 0);
}

static void write_by_turns(void)
{
    static uint8_t pixels[PAINTED];
    pid_t writers[3] = {0};
    uint64_t looks = 0, last = 0;
    host_start();
    int fd = opened("screen", (struct cs_framebuffer){.width = 64, .height = 64, .bits = 8, .dma = dma}, SOON_MS);
    int view = cs_view_framebuffer("screen");
    for (int i = 0; i < 2; i++)
        writers[i] = other(paint_many);
    while (last < 1200) {
        if (looks && !writers[2]) /* after the first look, so that there is a second, however late that one was */
            writers[2] = other(paint_many);
        uint64_t number = dma ? seen_now(pixels, PAINTED) : seen(view, pixels, PAINTED);
        CHECK(number >= last);
        looks += number > last;
        last = number;
        for (int i = 1; number && i < PAINTED; i++)
            CHECK_EQ(pixels[i], pixels[0]);
    }
    CHECK(looks > 1);
    for (int i = 0; i < 3; i++)
        ended_well(writers[i]);
    CHECK_EQ(cs_close(fd), 0);
    close(view);
    host_end();
}

TEST(frames_of_several_writers_are_never_mixed_and_never_torn)
{
    write_by_turns();
    dma = 1;
    write_by_turns();
}

TEST(a_viewer_cannot_write)
{
    char path[64];
    host_start();
    int fd = screen(SOON_MS), view = cs_view_framebuffer("screen");
    snprintf(path, sizeof path, "/proc/self/fd/%d", view);
    int again = open(path, O_RDWR | O_CLOEXEC);
    CHECK(again >= 0);
    for (int i = 0; i < 2; i++) {
        int at = i ? again : view;
        CHECK(mmap(NULL, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, at, 0) == MAP_FAILED);
        CHECK_EQ(pwrite(at, "x", 1, 0), -1);
        CHECK_EQ(ftruncate(at, 0), -1);
        CHECK_EQ(fallocate(at, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, CS_PAGE_SIZE), -1);
    }
    void *shown = mmap(NULL, CS_PAGE_SIZE, PROT_READ, MAP_SHARED, view, 0);
    CHECK(shown != MAP_FAILED);
    CHECK_EQ(mprotect(shown, CS_PAGE_SIZE, PROT_READ | PROT_WRITE), -1);
    CHECK_EQ(munmap(shown, CS_PAGE_SIZE), 0);
    close(view);
    close(again);
    CHECK_EQ(cs_close(fd), 0);
    host_end();
}

TEST(a_descriptor_that_is_no_view_is_refused)
{
    struct cs_framebuffer is;
    uint64_t number;
    uint8_t pixel;
    int pipe_ends[2], file = memfd_create("none", MFD_CLOEXEC);
    CHECK_EQ(pipe(pipe_ends), 0);
    CHECK_EQ(cs_read_frame(-1, &is, &number, &pixel, 1), -EBADF);
    CHECK_EQ(cs_read_frame(pipe_ends[0], &is, &number, &pixel, 1), -EPROTO);
    CHECK_EQ(cs_read_frame(file, &is, &number, &pixel, 1), -EPROTO);
    CHECK_EQ(ftruncate(file, 1 << 20), 0);
    CHECK_EQ(cs_read_frame(file, &is, &number, &pixel, 1), -EPROTO);
    CHECK_EQ(cs_read_frame(file, NULL, &number, &pixel, 1), -EINVAL);
    CHECK_EQ(cs_view_framebuffer("screen"), -ENOTCONN);
}

TEST(a_slow_bus_holds_its_writer_back_and_nobody_else)
{
    host_start();
    struct cs_framebuffer slow = {.bus_limit = 1000, .width = 64, .height = 64, .bits = 8}; /* a byte in a millisecond */
    int fd = opened("screen", slow, 20), udp = host_open(HOST_PORT, SOON_MS), err, held = 0, one;
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS);
    uint64_t before = now_ms();
    struct cs_args args = {.cids = &one};
    while ((err = paint(fd, 1, CS_PAGE_SIZE, CS_DONTWAIT)) == 0)
        held++;
    CHECK_EQ(err, -EAGAIN);
    CHECK(held >= 256 && held <= 257 + (int)(counted("framebuffer_bytes") / CS_PAGE_SIZE)); /* the ring's */
    CHECK_EQ(cs_writable(fd), 0);
    CHECK_EQ(paint(fd, 1, CS_PAGE_SIZE, 0), -ETIMEDOUT);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), -ETIMEDOUT);
    for (int i = 0; i < 50; i++) {
        CHECK_EQ(write_pattern(to, 0, 100, 3, 0), 0);
        CHECK_EQ(read_pattern(from, 100, 1, 3, 0, 0), 100);
        station_send(HOST_PORT, 100);
        CHECK_EQ(cs_read(udp, 2000, 1, &args, 0), 1);
        CHECK_EQ(cs_free(1, &one), 0);
    }
    uint64_t moved = counted("framebuffer_bytes");
    CHECK(moved <= now_ms() - before + 1 + 10 + 1); /* its rate, and what it makes up for after having been idle */
    CHECK_EQ(cs_close(fd), -ETIMEDOUT); /* closed all the same */
    CHECK_EQ(cs_close(fd), -EBADF);
    WITHIN(SOON_MS, counted("drop_closed") == (uint64_t)held - counted("framebuffer_bytes") / CS_PAGE_SIZE);
    host_end();
}

TEST(a_writer_may_wait_until_few_are_left)
{
    host_start();
    struct cs_framebuffer fast = {.bus_limit = 100000000, .width = 64, .height = 64, .bits = 8};
    int fd = opened("screen", fast, 30000), few = 3, none = 0, impossible = -1;
    for (int i = 0; i < 200; i++) {
        CHECK_EQ(paint(fd, 1, PAINTED, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, &few), 0);
        CHECK(counted("framebuffer_frames") + 3 >= (uint64_t)i + 1);
    }
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, &none), 0);
    CHECK_EQ(counted("framebuffer_frames"), 200);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, &impossible), -EINVAL);
    host_end();
}

TEST(a_writer_without_room_is_woken)
{
    host_start();
    struct cs_framebuffer fast = {.bus_limit = 100000000, .width = 64, .height = 64, .bits = 8};
    int fd = opened("screen", fast, SOON_MS);
    for (int i = 0; i < 1500; i++)
        CHECK_EQ(paint(fd, 1, PAINTED, 0), 0); /* six times the ring, and a third of the pool's pages */
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(counted("framebuffer_frames"), 1500);
    host_end();
}

static void draw_again_and_again(void)
{
    host_start();
    int fd = screen(SOON_MS);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(write_pattern(fd, 0, FRAME, 0, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    }
    uint64_t before = counted("manager_requests");
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(write_pattern(fd, 0, FRAME, 0, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    }
    CHECK_EQ(counted("manager_requests"), before);
    host_end();
}

TEST(what_was_drawn_is_used_again_without_a_call)
{
    draw_again_and_again();
    dma = 1;
    draw_again_and_again();
}

TEST(names_are_few_and_a_picture_stays_until_its_place_is_needed)
{
    static uint8_t pixels[640 * 480];
    char long_name[65];
    host_start();
    memset(long_name, 'x', 64);
    long_name[64] = 0;
    CHECK_EQ(cs_open_framebuffer(long_name, 0), -ENAMETOOLONG);
    CHECK_EQ(cs_open_framebuffer("", 0), -EINVAL);
    CHECK_EQ(cs_open_framebuffer(NULL, 0), -EINVAL);
    CHECK_EQ(cs_view_framebuffer(NULL), -EINVAL);
    CHECK_EQ(cs_view_framebuffer("a"), -ENOENT);
    int a = cs_open_framebuffer("a", SOON_MS), b = cs_open_framebuffer("b", SOON_MS);
    int c = cs_open_framebuffer("c", SOON_MS), d = cs_open_framebuffer("d", SOON_MS);
    CHECK(a >= 0 && b >= 0 && c >= 0 && d >= 0);
    CHECK_EQ(cs_open_framebuffer("e", SOON_MS), -ENOSPC);
    CHECK_EQ(paint(b, 5, sizeof pixels, 0), 0);
    CHECK_EQ(cs_close(b), 0);
    CHECK_EQ(cs_close(a), 0);
    int e = cs_open_framebuffer("e", SOON_MS), view = cs_view_framebuffer("b");
    CHECK(e >= 0 && view >= 0);
    CHECK_EQ(seen(view, pixels, sizeof pixels), 1);
    CHECK_EQ(pixels[sizeof pixels - 1], 5);
    CHECK_EQ(cs_view_framebuffer("a"), -ENOENT);
    close(view);
    host_end();
}

TEST(a_conventional_display_draws_the_same)
{
    static uint8_t pixels[FRAME], got[FRAME];
    const struct cs_framebuffer geometry = {.bus_limit = 1000000000, .width = WIDTH, .height = HEIGHT, .bits = BITS};
    struct cs_framebuffer_memory f;
    _Atomic int stop = 0;
    for (int i = 0; i < FRAME; i++)
        pixels[i] = (uint8_t)random64();
    CHECK_EQ(cs_framebuffer_make(&f, &geometry), 0);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(cs_framebuffer_show(&f, pixels, FRAME / 3, &stop), 0);
        CHECK_EQ(cs_framebuffer_show(&f, pixels + FRAME / 3, FRAME - FRAME / 3, NULL), 0);
        CHECK_EQ(seen(f.fd, got, FRAME), i + 1);
        CHECK(memcmp(pixels, got, FRAME) == 0);
    }
    CHECK_EQ(f.frames, 5);
    CHECK_EQ(f.bytes, 5 * FRAME);
    stop = 1;
    CHECK_EQ(cs_framebuffer_show(&f, pixels, FRAME, &stop), -EINTR);
    cs_framebuffer_free(&f);
    CHECK_EQ(cs_framebuffer_make(&f, &(struct cs_framebuffer){.width = 1, .height = 1, .bits = 1}), -EINVAL);
}
