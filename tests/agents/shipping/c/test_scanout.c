/* Frame buffers that fetch their pictures by themselves (DMA): containers stay with the device while they are shown. */
#define _GNU_SOURCE
#include "screens.h"

/* A frame of that colour in so many containers of four bytes each, and the rest of it in one. */
static void paint_crumbs(int fd, uint8_t colour, int crumbs)
{
    for (int i = 0; i <= crumbs; i++) {
        void *addr;
        int len = i < crumbs ? 4 : FRAME - 4 * crumbs, cid = cs_alloc(len, &addr, CS_MAPNOW);
        CHECK(cid > 0);
        memset(addr, colour, (size_t)len);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
    }
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
}

TEST(a_frame_in_more_pieces_than_a_device_with_dma_remembers_is_shown_all_the_same)
{
    static uint8_t pixels[FRAME];
    dma = 1;
    host_start();
    int fd = screen(SOON_MS);
    for (int i = 1; i <= 9; i++) { /* more and fewer than 1024, looked at or not */
        paint_crumbs(fd, (uint8_t)i, i % 2 ? 1020 + i : 3);
        if (i % 3)
            continue;
        CHECK_EQ(seen_now(pixels, FRAME), i);
        for (int k = 0; k < FRAME; k++)
            CHECK_EQ(pixels[k], i);
    }
    host_end();
}

TEST(with_dma_containers_stay_with_the_device_while_they_are_shown)
{
    static uint8_t pixels[FRAME];
    const uint64_t pages = (FRAME + CS_PAGE_SIZE - 1) / CS_PAGE_SIZE;
    dma = 1;
    host_start();
    int fd = screen(SOON_MS), view = cs_view_framebuffer("screen");
    for (int i = 1; i <= 3; i++) {
        CHECK_EQ(paint(fd, (uint8_t)i, FRAME, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
        CHECK_EQ(counted("containers_sending"), pages);
        CHECK_EQ(seen(view, pixels, FRAME), 0); /* no CPU has copied it */
    }
    CHECK_EQ(seen_now(pixels, FRAME), 3);
    CHECK_EQ(counted("containers_sending"), 0);
    CHECK_EQ(seen(view, pixels, FRAME), 3); /* it is the same memory */
    CHECK_EQ(paint(fd, 4, FRAME, 0), 0);
    CHECK_EQ(paint(fd, 5, FRAME / 2, 0), 0);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    CHECK(counted("containers_sending") > pages);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(counted("containers_sending"), 0);
    CHECK_EQ(seen(view, pixels, FRAME), 4);
    CHECK_EQ(pixels[FRAME - 1], 4);
    close(view);
    host_end();
}

TEST(a_device_with_dma_keeps_no_more_than_its_part_of_the_pool)
{
    static uint8_t pixels[FRAME];
    void *addr;
    int len = 100, last = FRAME - 6 * 100;
    dma = 1;
    host_start();
    int fd = screen(SOON_MS);
    for (int i = 0; i < 7; i++) { /* each a tenth of the pool, for a hundred bytes */
        int cid = cs_alloc(HOST_POOL / 10 * CS_PAGE_SIZE, &addr, CS_MAPNOW);
        CHECK(cid > 0);
        memset(addr, 9, FRAME);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, i < 6 ? &len : &last, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
        CHECK(counted("containers_sending") <= 2);
    }
    CHECK_EQ(counted("containers_sending"), 2);
    CHECK_EQ(seen_now(pixels, FRAME), 1);
    for (int i = 0; i < FRAME; i++)
        CHECK_EQ(pixels[i], 9);
    CHECK_EQ(counted("containers_sending"), 0);
    CHECK_EQ(paint(fd, 1, FRAME, 0), 0); /* there is room again */
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    CHECK_EQ(counted("containers_sending"), (FRAME + CS_PAGE_SIZE - 1) / CS_PAGE_SIZE);
    host_end();
}
