/* A picture that moves, for people who watch a frame buffer: a bar that crosses it, which a torn frame breaks, and the
 * frame's number. Only what differs from the frame that the memory held before is drawn: two bars and the number. */
#include <string.h>

#include "workloads.h"

enum {
    BAR_PART = 32,   /* of the width */
    STEPS = 128,     /* of the bar, across the picture */
    CELL = 32,       /* pixels of a square of the ground */
    DARK = 32, SHADES = 128, LIGHTER = 24, WHITE = 255,
    DIGITS = 8, GLYPH_WIDTH = 3, GLYPH_HEIGHT = 5, ADVANCE = GLYPH_WIDTH + 1,
};

/* Rows from the top, three bits each, the leftmost first. */
static const uint16_t glyph[10] = {0x7b6f, 0x2c97, 0x73e7, 0x73cf, 0x5bc9, 0x79cf, 0x79ef, 0x7249, 0x7bef, 0x7bcf};

static void fill(const struct ts_picture *p, uint8_t *frame, uint32_t x, uint32_t y, uint32_t count, int shade)
{
    uint8_t *at = frame + ((size_t)y * p->width + x) * p->bytes;
    memset(at, shade, (size_t)count * p->bytes);
    for (size_t alpha = 3; p->bytes == 4 && alpha < (size_t)count * 4; alpha += 4)
        at[alpha] = WHITE; /* opaque */
}

static void ground(const struct ts_picture *p, uint8_t *frame, uint32_t x, uint32_t y, uint32_t count)
{
    const int shade = DARK + (int)((uint64_t)y * SHADES / p->height);
    for (uint32_t end = x + count, next; x < end; x = next) {
        next = (x / CELL + 1) * CELL < end ? (x / CELL + 1) * CELL : end;
        fill(p, frame, x, y, next - x, shade + ((x / CELL + y / CELL) % 2 ? LIGHTER : 0));
    }
}

/* The bar of the frame of that number, or the ground where it was. It leaves on the right and comes back on the left. */
static void bar(const struct ts_picture *p, uint64_t number, uint8_t *frame, bool shown)
{
    const uint32_t wide = p->width / BAR_PART + 1, step = p->width / STEPS + 1;
    const uint32_t x = (uint32_t)(number * step % p->width);
    const uint32_t right = wide < p->width - x ? wide : p->width - x, left = wide - right;
    for (uint32_t y = 0; y < p->height; y++) {
        if (shown) {
            fill(p, frame, x, y, right, WHITE);
            fill(p, frame, 0, y, left, WHITE);
        } else {
            ground(p, frame, x, y, right);
            ground(p, frame, 0, y, left);
        }
    }
}

/* The number's last digits, in a black box at the upper left. Not in a picture that is too small for them. */
static void text(const struct ts_picture *p, uint64_t number, uint8_t *frame)
{
    uint32_t dot = p->height / 60 < p->width / 64 ? p->height / 60 : p->width / 64;
    uint8_t digit[DIGITS];
    for (int i = DIGITS - 1; i >= 0; i--, number /= 10)
        digit[i] = number % 10;
    for (uint32_t y = 0; y < (GLYPH_HEIGHT + 2) * dot; y++) {
        const int row = (int)(y / dot) - 1;
        fill(p, frame, dot, dot + y, (DIGITS * ADVANCE + 1) * dot, 0);
        for (uint32_t i = 0; i < DIGITS * GLYPH_WIDTH && row >= 0 && row < GLYPH_HEIGHT; i++) {
            const uint32_t at = i / GLYPH_WIDTH, column = i % GLYPH_WIDTH;
            if (glyph[digit[at]] >> ((GLYPH_HEIGHT - row) * GLYPH_WIDTH - 1 - column) & 1)
                fill(p, frame, (2 + at * ADVANCE + column) * dot, dot + y, dot, WHITE);
        }
    }
}

void ts_picture_begin(const struct ts_picture *p, void *frame)
{
    for (uint32_t y = 0; y < p->height; y++)
        ground(p, frame, 0, y, p->width);
}

void ts_picture_clear(const struct ts_picture *p, uint64_t number, void *frame)
{
    bar(p, number, frame, false);
}

void ts_picture_show(const struct ts_picture *p, uint64_t number, void *frame)
{
    bar(p, number, frame, true);
    text(p, number, frame);
}
