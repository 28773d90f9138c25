/* Screens of a host: their writers, and those who look at them. */
#ifndef SCREENS_H
#define SCREENS_H

#include "channel.h"

enum { WIDTH = 100, HEIGHT = 31, BITS = 24, FRAME = WIDTH * HEIGHT * BITS / 8, PAINTED = 64 * 64 };

static inline int opened(const char *name, struct cs_framebuffer geometry, int timeout_ms)
{
    int fd = cs_open_framebuffer(name, timeout_ms);
    CHECK(fd >= 0);
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &geometry), 0);
    return fd;
}

static uint32_t dma; /* of the screens that a test opens */

static inline int screen(int timeout_ms)
{
    return opened("screen", (struct cs_framebuffer){.width = WIDTH, .height = HEIGHT, .bits = BITS, .dma = dma}, timeout_ms);
}

/* The last whole frame; its number, or 0 if there is none. */
static inline uint64_t seen(int view, uint8_t *pixels, size_t bytes)
{
    struct cs_framebuffer geometry;
    uint64_t number;
    int err = cs_read_frame(view, &geometry, &number, pixels, bytes);
    CHECK(err == 0 || err == -ENODATA);
    return err == 0 ? number : 0;
}

/* The same of the screen as it is now. */
static inline uint64_t seen_now(uint8_t *pixels, size_t bytes)
{
    int view = cs_view_framebuffer("screen");
    CHECK(view >= 0);
    uint64_t number = seen(view, pixels, bytes);
    close(view);
    return number;
}

/* One frame of one colour, in as many containers of a page as it takes. */
static inline int paint(int fd, uint8_t colour, int bytes, int options)
{
    for (int at = 0; at < bytes; at += CS_PAGE_SIZE) {
        void *addr;
        int cid = cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW), len = bytes - at < CS_PAGE_SIZE ? bytes - at : CS_PAGE_SIZE;
        CHECK(cid > 0);
        memset(addr, colour, CS_PAGE_SIZE);
        int err = cs_write(fd, 1, &cid, NULL, &len, options);
        if (err < 0) {
            CHECK_EQ(cs_free(1, &cid), 0);
            return err;
        }
    }
    return 0;
}

#endif
