/* A pool of 2 MiB pages, in every protection tier: containers are whole ones of them, and everything else is as always. */
#define _GNU_SOURCE
#include "hostile.h"

#include "devices/framebuffer.h"
#include "files.h"
#include "secrets.h"

enum { PAGE = CS_LARGE_PAGE, POOL = 24, PART = 5000, BYTES = PAGE + PART };

static void prepare(void)
{
    host.protection = (uint32_t)atoi(getenv("TIER"));
    host.zeroing = CS_ZERO_EDGES;
    host.large_pages = POOL;
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
}

static int filled(int len, uint8_t value, uint8_t **addr)
{
    void *at;
    int cid = cs_alloc(len, &at, CS_MAPNOW);
    CHECK(cid > 0);
    CHECK_EQ((uintptr_t)at % (host.protection == CS_COOPERATIVE ? CS_PAGE_SIZE : PAGE), 0);
    *addr = memset(at, value, (size_t)len);
    return cid;
}

static void write_some(void)
{
    uint8_t *addr;
    int fd = channel_end("way", SOON_MS), len = BYTES, cid;
    for (int i = 1; i <= 2 * POOL; i++) {
        while ((cid = cs_alloc(len, NULL, 0)) == -ENOBUFS) /* half of the pool is on its way */
            poll(NULL, 0, 1);
        CHECK_EQ(cs_free(1, &cid), 0);
        cid = filled(len, (uint8_t)i, &addr);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
        WITHIN(SOON_MS, counted("channel_messages") >= (uint64_t)i);
        CHECK_EQ(peek(addr) < 0, host.protection == CS_STRICT);
        CHECK_EQ(host.protection == CS_COOPERATIVE || !poke(addr + PAGE), 1);
    }
}

TEST(an_operation_goes_from_one_process_to_the_other)
{
    int cid, len, size;
    void *addr;
    struct cs_args args = {.cids = &cid, .lens = &len, .sizes = &size, .addrs = &addr};
    prepare();
    host_start_manager();
    pid_t writer = other(write_some);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("way", 5 * SOON_MS);
    for (int i = 1; i <= 2 * POOL; i++) {
        CHECK_EQ(cs_read(fd, 2 * PAGE, 1, &args, CS_MAPALL), 1);
        CHECK_EQ(len, BYTES);
        CHECK_EQ(size, 2 * PAGE);
        CHECK(all_are(addr, len, i) && all_are((uint8_t *)addr + len, size - len, 0));
        CHECK_EQ(cs_free(1, &cid), 0);
        cs_flush();
    }
    ended_well(writer);
    host_end();
}

TEST(what_does_not_fit_into_a_read_stays_for_the_next)
{
    uint8_t *addr;
    int len = 2 * PAGE + PART, cids[1], offs[1], lens[1], sum = 0;
    void *addrs[1];
    struct cs_args args = {.cids = cids, .offs = offs, .lens = lens, .addrs = addrs};
    prepare();
    host_start();
    int to = channel_end("way", SOON_MS), from = channel_end("way", SOON_MS), cid = filled(len, 1, &addr);
    for (int i = 0; i < len; i++)
        addr[i] = pattern_byte(1, (uint32_t)i);
    CHECK_EQ(cs_write(to, 1, &cid, NULL, &len, 0), 0);
    for (int size = PART; sum < len; size = size == PART ? PAGE : PART) {
        CHECK_EQ(cs_read(from, size, 1, &args, CS_MAPALL), 1);
        CHECK(lens[0] > 0 && lens[0] <= size);
        for (int i = 0; i < lens[0]; i++)
            CHECK_EQ(((uint8_t *)addrs[0])[offs[0] + i], pattern_byte(1, (uint32_t)(sum + i)));
        sum += lens[0];
        CHECK_EQ(cs_free(1, cids), 0);
    }
    CHECK_EQ(sum, len);
    host_end();
}

TEST(files_are_read_and_written)
{
    prepare();
    file_make("large", 3 * PAGE + PART);
    host_start();
    CHECK_EQ(copy_file("large", "large-copy", 1 << 20), 0);
    file_same("large", "large-copy");
    CHECK(unlink("large") == 0 && unlink("large-copy") == 0);
    host_end();
}

TEST(frames_are_drawn_and_their_containers_come_back)
{
    static uint8_t pixels[1024 * 1024];
    struct cs_framebuffer geometry = {.width = 1024, .height = 1024, .bits = 8};
    uint8_t *addr;
    uint64_t number;
    int len = sizeof pixels;
    prepare();
    host_start();
    int fd = cs_open_framebuffer("screen", SOON_MS);
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &geometry), 0);
    int view = cs_view_framebuffer("screen");
    CHECK(view >= 0);
    for (int i = 1; i <= 3 * POOL; i++) {
        int cid = filled(len, (uint8_t)i, &addr);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
        CHECK_EQ(poke(addr), host.protection == CS_COOPERATIVE);
        CHECK_EQ(cs_read_frame(view, &geometry, &number, pixels, sizeof pixels), 0);
        CHECK(number == (uint64_t)i && all_are(pixels + 1, len - 1, (uint8_t)i));
    }
    close(view);
    host_end();
}

TEST(there_is_no_network_in_front_of_them)
{
    char error[256] = "";
    struct cs_manager *m;
    struct cs_counters *counters;
    struct cs_manager_config c = {.interfaces = 1, .backend = "wire", .queue = 1, .page_bytes = CS_LARGE_PAGE};
    int file = memfd_create("counters", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(file, CS_COUNTERS_BYTES), 0);
    CHECK((counters = cs_counters_open(file)));
    CHECK_EQ(cs_manager_open(&m, &c, counters, error, sizeof error), -EINVAL);
    CHECK(strstr(error, "page_bytes"));
    cs_counters_close(counters);
    close(file);
}
