/* What producer and consumer do with an operation's memory: the same for every system.
 *
 * A video server is memory-resident: its images are there before they are sent. A private buffer keeps its image, and so
 * does a container that comes back from its path; the server's mark at both ends of the memory says so. Anything else is
 * filled first. Layout of a frame: number, mark, the image, mark. */
#include <string.h>

#include "workloads.h"

enum { LINE = 64, WORD = sizeof(uint64_t), NUMBER = 0, MARK = WORD, IMAGE = 2 * WORD };

static uint32_t extent(const struct ts_access *a, uint32_t count)
{
    return a->part ? count / a->part : 0;
}

/* Different in each operation and at each place of it. */
static uint64_t word(uint64_t number, uint32_t at)
{
    return (number + 1) * 0x9e3779b97f4a7c15u ^ at * 0xbf58476d1ce4e5b9u;
}

static uint64_t read_word(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, sizeof value); /* the writer says where its data begins */
    return value;
}

uint64_t ts_access_number(const void *bytes)
{
    return read_word((const uint8_t *)bytes + NUMBER);
}

static void compare(uint64_t number, const uint8_t *p, uint32_t from, uint32_t to, uint64_t *mismatches)
{
    for (uint32_t at = from; at + WORD <= to; at += WORD)
        for (uint64_t differs = read_word(p + at) ^ word(number, at); differs; differs >>= 8)
            *mismatches += (differs & 0xff) != 0;
}

static void write_word(uint8_t *p, uint64_t value)
{
    memcpy(p, &value, sizeof value);
}

/* Its upper left and lower right are number and marks all the same. */
static void write_moving(const struct ts_picture *moving, bool kept, uint64_t number, uint8_t *p)
{
    if (kept)
        ts_picture_clear(moving, read_word(p + NUMBER), p);
    else
        ts_picture_begin(moving, p);
    ts_picture_show(moving, number, p);
}

static void write_frame(const struct ts_access *a, uint64_t number, uint8_t *p, uint32_t count)
{
    const bool kept = read_word(p + MARK) == a->image && read_word(p + count - WORD) == a->image;
    if (a->moving.width)
        write_moving(&a->moving, kept, number, p);
    else if (!kept)
        for (uint32_t at = IMAGE; at + WORD < count; at += WORD)
            write_word(p + at, word(0, at));
    if (a->moving.width || !kept) {
        write_word(p + MARK, a->image);
        write_word(p + count - WORD, a->image);
    }
    write_word(p + NUMBER, number);
}

void ts_access_write(const struct ts_access *a, uint64_t number, void *bytes, uint32_t count)
{
    uint8_t *p = bytes;
    uint32_t end = extent(a, count), step = a->verify ? WORD : LINE;
    if (a->image)
        write_frame(a, number, p, count);
    else
        for (uint32_t at = 0; at + WORD <= end; at += step)
            write_word(p + at, a->verify ? word(number, at) : number);
    __asm__ volatile("" ::: "memory"); /* it is in memory now, also where nobody reads it */
}

void ts_access_read(const struct ts_access *a, uint64_t number, const void *bytes, uint32_t count, uint64_t *mismatches)
{
    const uint8_t *p = bytes;
    uint32_t end = extent(a, count);
    uint64_t sum = 0;
    if (a->verify && a->image)
        compare(0, p, IMAGE, count - WORD, mismatches);
    else if (a->verify)
        compare(number, p, 0, end, mismatches);
    else
        for (uint32_t at = 0; at + WORD <= end; at += LINE)
            sum += read_word(p + at);
    __asm__ volatile("" : : "r"(sum)); /* or it might not be read at all */
}
