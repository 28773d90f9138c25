/* Every frame of corpus/frames.txt, and every truncation of its good ones, to the parser and to a manager. */
#define _GNU_SOURCE
#include <ctype.h>

#include "corpus.h"
#include "host.h"

enum { BYTES = 128, FRAMES = 4096, BAD_FRAMES = 200 };

static struct frame {
    enum cs_packet_kind becomes;
    uint32_t bytes;
    uint8_t byte[BYTES];
} corpus[FRAMES];
static uint32_t frames;

static struct frame *add(enum cs_packet_kind becomes)
{
    CHECK(frames < FRAMES);
    struct frame *f = &corpus[frames++];
    f->becomes = becomes;
    f->bytes = 0;
    return f;
}

static enum cs_packet_kind kind_named(const char *name)
{
    int kind = 0;
    while (kind < CS_PACKET_KINDS && strcmp(name, cs_packet_kind_names[kind]) != 0)
        kind++;
    CHECK(kind < CS_PACKET_KINDS);
    return (enum cs_packet_kind)kind;
}

/* The file's frames; how many of them are bad. */
static uint32_t read_corpus(void)
{
    char line[CORPUS_LINE], name[32], hex[2 * BYTES + 1];
    uint32_t bad = 0;
    FILE *file = corpus_open("frames.txt");
    for (frames = 0; corpus_line(file, line);) {
        CHECK_EQ(sscanf(line, "%31s %256s", name, hex), 2);
        struct frame *f = add(kind_named(name));
        for (const char *p = hex; *p; p += 2) {
            unsigned byte;
            CHECK(isxdigit(p[0]) && isxdigit(p[1]) && sscanf(p, "%2x", &byte) == 1);
            f->byte[f->bytes++] = (uint8_t)byte;
        }
        bad += f->becomes >= CS_PACKET_NOT_IP;
    }
    fclose(file);
    return bad;
}

/* In place of the file's frames: the good ones cut short, as they are refused from the first missing byte on. */
static void cut_the_good_ones_short(void)
{
    uint32_t all = frames;
    for (uint32_t i = 0; i < all; i++)
        for (uint32_t bytes = 1; corpus[i].becomes < CS_PACKET_NOT_IP && bytes < corpus[i].bytes; bytes++) {
            struct frame *f = add(bytes < CS_ETH_BYTES ? CS_PACKET_NOT_IP : CS_PACKET_BAD_HEADER);
            memcpy(f->byte, corpus[i].byte, f->bytes = bytes);
        }
    CHECK(frames > all);
    memmove(corpus, corpus + all, (frames -= all) * sizeof *corpus);
}

/* In memory of exactly the frame's size, so that the sanitizer sees any read beyond it. */
static void parse_all(void)
{
    for (uint32_t i = 0; i < frames; i++) {
        uint8_t *exact = malloc(corpus[i].bytes);
        memcpy(exact, corpus[i].byte, corpus[i].bytes);
        struct cs_packet p = cs_packet_parse(exact, corpus[i].bytes, corpus[i].bytes, &frame_us);
        if (p.kind != corpus[i].becomes) {
            for (uint32_t k = 0; k < corpus[i].bytes; k++)
                fprintf(stderr, "%02x", exact[k]);
            fprintf(stderr, " becomes %s, not %s\n", cs_packet_kind_names[p.kind],
                    cs_packet_kind_names[corpus[i].becomes]);
            exit(1);
        }
        free(exact);
    }
}

/* A manager counts each bad frame once, under its name, and has every page back. */
static void drop_all(void)
{
    uint64_t expected[CS_PACKET_KINDS] = {0};
    host_start();
    for (uint32_t i = 0; i < frames; i++) {
        if (corpus[i].becomes < CS_PACKET_NOT_IP)
            continue;
        CHECK_EQ(send(host.wire, corpus[i].byte, corpus[i].bytes, 0), corpus[i].bytes);
        expected[corpus[i].becomes]++;
    }
    station_send(HOST_PORT, 0); /* the last: nobody has that port open */
    WITHIN(SOON_MS, counted("drop_no_port") == 1);
    for (int kind = CS_PACKET_NOT_IP; kind < CS_PACKET_KINDS; kind++) {
        char name[64];
        snprintf(name, sizeof name, "drop_%s", cs_packet_kind_names[kind]);
        CHECK_EQ(counted(name), expected[kind]);
    }
    CHECK_EQ(counted("datagrams_in"), 0);
    WITHIN(SOON_MS, counted("containers_receiving") == 2 * HOST_QUEUE);
    host_end();
}

TEST(every_frame_becomes_what_the_corpus_says)
{
    CHECK(read_corpus() >= BAD_FRAMES);
    parse_all();
}

TEST(every_bad_frame_is_counted_by_its_name_and_leaves_nothing_behind)
{
    read_corpus();
    drop_all();
}

TEST(every_truncation_of_a_good_frame_is_refused)
{
    read_corpus();
    cut_the_good_ones_short();
    parse_all();
    drop_all();
}
