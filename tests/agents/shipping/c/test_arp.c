#include "check.h"
#include "net/arp.h"

static const struct cs_address us = {{2, 0, 0, 0, 0, 1}, 0x0a010001}, them = {{2, 0, 0, 0, 0, 2}, 0x0a010002};

static struct cs_packet parsed(const uint8_t *frame, uint32_t bytes)
{
    uint8_t *exact = malloc(bytes);
    memcpy(exact, frame, bytes);
    struct cs_packet p = cs_packet_parse(exact, bytes, bytes, &us);
    free(exact);
    return p;
}

TEST(a_request_is_broadcast_and_understood)
{
    uint8_t frame[60] = {0};
    cs_packet_arp(frame, &them, &(struct cs_address){.ip = us.ip});
    for (int i = 0; i < 6; i++)
        CHECK_EQ(frame[i], 255);
    struct cs_packet p = parsed(frame, sizeof frame);
    CHECK_EQ(p.kind, CS_PACKET_ARP_REQUEST);
    CHECK_EQ(p.sender.ip, them.ip);
    CHECK_EQ(p.target, us.ip);
    CHECK(memcmp(p.sender.mac, them.mac, 6) == 0);
}

TEST(a_reply_goes_to_the_one_who_asked)
{
    uint8_t frame[42];
    cs_packet_arp(frame, &them, &us);
    CHECK(memcmp(frame, us.mac, 6) == 0);
    CHECK_EQ(parsed(frame, sizeof frame).kind, CS_PACKET_ARP_REPLY);
}

TEST(a_request_for_somebody_else_is_not_answered)
{
    uint8_t frame[42];
    cs_packet_arp(frame, &them, &(struct cs_address){.ip = us.ip + 7});
    CHECK_EQ(parsed(frame, sizeof frame).kind, CS_PACKET_NOT_FOR_US);
}

TEST(a_cut_or_foreign_arp_frame_is_refused)
{
    uint8_t frame[42];
    cs_packet_arp(frame, &them, &us);
    for (uint32_t bytes = 0; bytes < sizeof frame; bytes++)
        CHECK(parsed(frame, bytes).kind >= CS_PACKET_NOT_IP);
    for (int at = 14; at < 22; at++) {
        uint8_t wrong[42];
        memcpy(wrong, frame, sizeof wrong);
        wrong[at] ^= 0x40;
        CHECK_EQ(parsed(wrong, sizeof wrong).kind, CS_PACKET_BAD_HEADER);
    }
}

/* What nobody can have as an address must be neither learned nor answered. */
TEST(a_sender_without_a_station_address_is_refused)
{
    const uint8_t nobody[2][6] = {{0}, {255, 255, 255, 255, 255, 255}};
    for (int i = 0; i < 2; i++) {
        uint8_t frame[42];
        cs_packet_arp(frame, &them, &us);
        memcpy(frame + 22, nobody[i], 6);
        CHECK_EQ(parsed(frame, sizeof frame).kind, CS_PACKET_BAD_HEADER);
    }
}

TEST(only_neighbours_we_asked_about_are_learned)
{
    struct cs_arp arp = {0};
    cs_arp_heard(&arp, &them, 1);
    CHECK_EQ(arp.count, 0);
    struct cs_neighbour *n = cs_arp_hold(&arp, them.ip, 1);
    CHECK(n && !n->known);
    CHECK(cs_arp_hold(&arp, them.ip, 2) == n);
    cs_arp_heard(&arp, &them, 3);
    CHECK(n->known && memcmp(n->address.mac, them.mac, 6) == 0);
    cs_arp_heard(&arp, &(struct cs_address){{2, 0, 0, 0, 0, 9}, them.ip}, 4); /* it moved */
    CHECK_EQ(n->address.mac[5], 9);
}

TEST(a_request_is_repeated_but_not_at_once)
{
    struct cs_arp arp = {0};
    struct cs_neighbour *n = cs_arp_hold(&arp, them.ip, 1000);
    CHECK(cs_arp_ask(n, 1000));
    CHECK(!cs_arp_ask(n, 1001));
    CHECK(!cs_arp_ask(n, 1000 + CS_ARP_RETRY_NS - 1));
    CHECK(cs_arp_ask(n, 1000 + CS_ARP_RETRY_NS));
}

/* A neighbour who answered at that time. */
static struct cs_neighbour *known_at(struct cs_arp *arp, uint64_t now)
{
    struct cs_neighbour *n = cs_arp_hold(arp, them.ip, now);
    CHECK(n && cs_arp_ask(n, now));
    cs_arp_heard(arp, &them, now);
    return n;
}

TEST(a_neighbour_who_answers_again_is_never_lost)
{
    struct cs_arp arp = {0};
    uint64_t now = 1;
    struct cs_neighbour *n = known_at(&arp, now);
    for (int minute = 0; minute < 10; minute++) {
        CHECK(!cs_arp_ask(n, now + CS_ARP_FRESH_NS - 1));
        now += CS_ARP_FRESH_NS;
        for (int unanswered = 0; unanswered < CS_ARP_POLLS; unanswered++, now += CS_ARP_POLL_NS) {
            CHECK(cs_arp_ask(n, now));
            CHECK(n->known); /* in use meanwhile */
            CHECK(!cs_arp_ask(n, now + CS_ARP_POLL_NS - 1));
            CHECK(n->known);
        }
        cs_arp_heard(&arp, &them, --now);
        CHECK(n->known);
    }
}

TEST(a_neighbour_who_no_longer_answers_is_forgotten_and_asked_for)
{
    struct cs_arp arp = {0};
    struct cs_neighbour *n = known_at(&arp, 1);
    uint64_t now = 1 + CS_ARP_FRESH_NS;
    for (int unanswered = 0; unanswered < CS_ARP_POLLS; unanswered++, now += CS_ARP_POLL_NS)
        CHECK(cs_arp_ask(n, now));
    CHECK(n->known);
    CHECK(cs_arp_ask(n, now));
    CHECK(!n->known);
    CHECK(!cs_arp_ask(n, now + CS_ARP_RETRY_NS - 1));
    CHECK(cs_arp_ask(n, now + CS_ARP_RETRY_NS));
    cs_arp_heard(&arp, &them, now + CS_ARP_RETRY_NS);
    CHECK(n->known);
    CHECK(!cs_arp_ask(n, now + CS_ARP_FRESH_NS));
}

TEST(a_full_table_loses_the_least_recently_used_that_nobody_holds)
{
    static struct cs_arp arp;
    for (uint32_t i = 0; i < CS_NEIGHBOURS; i++) {
        struct cs_neighbour *n = cs_arp_hold(&arp, 1000 + i, i);
        CHECK(n);
        if (i != 0)
            cs_arp_leave(n, i == 1 ? 500 : i); /* the first is held, the second was used last */
    }
    for (uint32_t i = 2; i < CS_NEIGHBOURS; i++)
        CHECK(cs_arp_hold(&arp, 2000 + i, 1000) == &arp.table[i]);
    CHECK(cs_arp_hold(&arp, 3000, 1000) == &arp.table[1]);
    CHECK(!cs_arp_hold(&arp, 3001, 1000)); /* all are held */
    CHECK(cs_arp_hold(&arp, 1000, 1000) == &arp.table[0]);
    cs_arp_heard(&arp, &(struct cs_address){{2, 0, 0, 0, 0, 9}, 3000}, 1000);
    cs_arp_leave(&arp.table[1], 1000);
    CHECK(cs_arp_hold(&arp, 3001, 1000) == &arp.table[1]);
    CHECK(!arp.table[1].known);
}
