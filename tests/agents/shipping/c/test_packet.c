#include "check.h"
#include "frames.h"
#include "random.h"

enum { PAYLOAD = 100, FRAME = CS_UDP_HEADROOM + PAYLOAD };

/* In memory of exactly that size, so that the sanitizer sees any read beyond it. */
static struct cs_packet parse(const uint8_t *frame, uint32_t head, uint32_t total)
{
    uint8_t *exact = malloc(head ? head : 1);
    memcpy(exact, frame, head);
    struct cs_packet p = cs_packet_parse(exact, head, total, &frame_us);
    free(exact);
    return p;
}

static void good(uint8_t *frame)
{
    frame_udp(frame, 5000, 9000, PAYLOAD);
}

TEST(what_we_write_is_what_we_read)
{
    uint8_t frame[FRAME];
    good(frame);
    struct cs_packet p = parse(frame, FRAME, FRAME);
    CHECK_EQ(p.kind, CS_PACKET_UDP);
    CHECK_EQ(p.sender.ip, frame_them.ip);
    CHECK_EQ(p.target, frame_us.ip);
    CHECK_EQ(p.source_port, 5000);
    CHECK_EQ(p.target_port, 9000);
    CHECK_EQ(p.payload_off, CS_UDP_HEADROOM);
    CHECK_EQ(p.payload_len, PAYLOAD);
}

TEST(headers_that_are_not_all_in_the_first_part_are_refused)
{
    uint8_t frame[FRAME];
    good(frame);
    for (uint32_t head = 0; head < CS_UDP_HEADROOM; head++)
        CHECK(parse(frame, head, FRAME).kind >= CS_PACKET_NOT_IP);
    for (uint32_t head = CS_UDP_HEADROOM; head <= FRAME; head++)
        CHECK_EQ(parse(frame, head, FRAME).kind, CS_PACKET_UDP);
    CHECK(parse(frame, FRAME, FRAME - 1).kind >= CS_PACKET_NOT_IP);
}

TEST(padding_is_not_payload)
{
    uint8_t frame[60] = {0};
    for (uint32_t len = 0; len <= 18; len++) {
        frame_udp(frame, 5000, 9000, len);
        struct cs_packet p = parse(frame, sizeof frame, sizeof frame);
        CHECK_EQ(p.kind, CS_PACKET_UDP);
        CHECK_EQ(p.payload_len, len);
    }
}

TEST(ip_options_are_skipped)
{
    for (uint32_t words = 1; words <= 10; words++) {
        uint8_t frame[FRAME + 40];
        good(frame);
        frame_add_options(frame, FRAME, words);
        struct cs_packet p = parse(frame, FRAME + words * 4, FRAME + words * 4);
        CHECK_EQ(p.kind, CS_PACKET_UDP);
        CHECK_EQ(p.payload_off, CS_UDP_HEADROOM + words * 4);
        CHECK_EQ(p.payload_len, PAYLOAD);
    }
}

static void bad(uint8_t *frame, uint32_t bytes, enum cs_packet_kind wanted)
{
    CHECK_EQ(parse(frame, bytes, bytes).kind, wanted);
}

/* Every value of a field, where corpus/frames.txt has some; the checksum is put right where it is not what is wrong. */
TEST(one_thing_wrong_is_enough_to_be_refused_by_its_name)
{
    uint8_t frame[FRAME];
    for (int bit = 0; bit < 48; bit++) {
        good(frame);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bad(frame, FRAME, CS_PACKET_NOT_FOR_US);
    }
    for (int bit = 0; bit < 16; bit++) {
        good(frame);
        frame[12 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        bad(frame, FRAME, CS_PACKET_NOT_IP);
    }
    for (int bit = 0; bit < 160; bit++) { /* no single flipped bit gets past the checksum */
        good(frame);
        frame[14 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        bad(frame, FRAME, CS_PACKET_BAD_HEADER);
    }
    for (int version = 0; version < 16; version++) {
        good(frame);
        frame[14] = (uint8_t)(version << 4 | 5);
        frame_checksum(frame);
        if (version != 4)
            bad(frame, FRAME, CS_PACKET_BAD_HEADER);
    }
    for (int words = 0; words < 5; words++) {
        good(frame);
        frame[14] = (uint8_t)(0x40 | words);
        frame_checksum(frame);
        bad(frame, FRAME, CS_PACKET_BAD_HEADER);
    }
    for (int bit = 0; bit < 14; bit++) {
        good(frame);
        frame[20 + 1 - bit / 8] |= (uint8_t)(1 << bit % 8);
        frame_checksum(frame);
        bad(frame, FRAME, bit == 13 ? CS_PACKET_BAD_FRAGMENT : CS_PACKET_FRAGMENT); /* more, of 108 bytes */
    }
    for (int protocol = 0; protocol < 256; protocol++) {
        good(frame);
        frame[23] = (uint8_t)protocol;
        frame_checksum(frame);
        if (protocol != 17)
            bad(frame, FRAME, CS_PACKET_NOT_UDP);
    }
    for (int bit = 0; bit < 32; bit++) {
        good(frame);
        frame[30 + bit / 8] ^= (uint8_t)(1 << bit % 8);
        frame_checksum(frame);
        bad(frame, FRAME, CS_PACKET_NOT_FOR_US);
    }
    for (uint32_t length = 0; length < 28; length++) {
        good(frame);
        frame_put16(frame + 16, length);
        frame_checksum(frame);
        bad(frame, FRAME, CS_PACKET_BAD_HEADER);
    }
    for (uint32_t length = FRAME - 14 + 1; length < 65536; length += 977) {
        good(frame);
        frame_put16(frame + 16, length);
        frame_checksum(frame);
        bad(frame, FRAME, CS_PACKET_BAD_HEADER);
    }
    for (uint32_t length = 0; length < 65536; length += length < 7 || length > 200 ? 1 : PAYLOAD + 2) {
        good(frame);
        frame_put16(frame + 38, length);
        bad(frame, FRAME, CS_PACKET_BAD_HEADER);
        if (length > 300)
            length += 499;
    }
}

TEST(nothing_outside_the_frame_is_ever_pointed_at)
{
    for (int i = 0; i < 200000; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t total = frame_mutant(frame), head = below(4) ? total : below(total + 1);
        struct cs_packet p = parse(frame, head, total);
        if (p.kind == CS_PACKET_UDP || p.kind == CS_PACKET_FRAGMENT) {
            CHECK(p.payload_off <= head && p.payload_off + p.payload_len <= total);
            CHECK_EQ(p.target, frame_us.ip);
        }
    }
}

/* Any bytes, in any two pieces, sum up to what the plain way says. */
TEST(a_sum_over_pieces_is_the_sum_of_the_whole)
{
    for (int i = 0; i < 2000; i++) {
        uint8_t datagram[700];
        uint32_t bytes = frame_datagram(datagram, frame_them.ip, (uint16_t)random64(), (uint16_t)random64(), below(600));
        uint32_t cut = below(bytes + 1), wrong = below(bytes * 8);
        uint64_t sum = (uint64_t)cs_packet_sum(datagram, cut, 0) + cs_packet_sum(datagram + cut, bytes - cut, cut);
        CHECK_EQ(cs_packet_udp_checksum(frame_them.ip, frame_us.ip, bytes, sum), 0);
        datagram[wrong / 8] ^= (uint8_t)(1 << wrong % 8);
        CHECK_EQ(cs_packet_udp_checksum(frame_them.ip, frame_us.ip, bytes, cs_packet_sum(datagram, bytes, 0)),
                 frame_udp_sum(datagram, bytes, frame_them.ip, frame_us.ip));
        CHECK(frame_udp_sum(datagram, bytes, frame_them.ip, frame_us.ip) != 0);
    }
}
