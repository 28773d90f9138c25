/* Hostile frames from the network, hostile descriptors and ring indices from a process, the same each time. */
#define _GNU_SOURCE
#include "fuzz_manager.h"

TEST(any_frame_is_delivered_or_dropped_by_name)
{
    start();
    add_bystander();
    for (int i = 0; i < 30000; i++) {
        uint8_t frame[FRAME_MAX];
        uint32_t bytes = frame_mutant(frame);
        wire_first_part = below(3) ? CS_PAGE_SIZE - WIRE_HEADROOM : 1 + below(bytes);
        if (bytes > wire_first_part + CS_PAGE_SIZE)
            continue;
        CHECK_EQ(send(wire, frame, bytes, 0), bytes);
        if (below(4) == 0) {
            one_pass();
            drain_wire();
            if (below(3) == 0)
                consume(&bystander);
            check_pool(&m->pool);
            check_bystander();
        }
    }
    CHECK(cs_count_value(m->datagrams_in) > 500);
    CHECK(cs_count_value(m->drops[CS_PACKET_BAD_HEADER]) > 500);
    finish();
}

/* Whatever it says, of a size that is drawn soon more often than not. */
static void change_geometry(struct peer *p)
{
    struct cs_request q = {.call = CS_CALL_IOCTL, .ioctl = {(uint32_t)p->endpoint, CS_SET_FRAMEBUFFER, {0}}};
    int fds[CS_REPLY_FDS];
    if (below(3)) {
        q.ioctl.geometry.width = 1 + below(9);
        q.ioctl.geometry.height = 1 + below(9);
        q.ioctl.geometry.bits = 8 + 8 * below(4);
        q.ioctl.geometry.bus_limit = below(2) ? 0 : 1000 + random64() % 10000000000;
        q.ioctl.geometry.dma = below(2);
    } else
        for (size_t i = 0; i < sizeof q.ioctl.geometry; i++)
            ((uint8_t *)&q.ioctl.geometry)[i] = (uint8_t)random64();
    call(p, q, fds);
}

TEST(any_descriptor_and_any_ring_index_harm_only_their_sender)
{
    start();
    add_bystander();
    uint8_t reply[42];
    cs_packet_arp(reply, &frame_them, &frame_us);
    int before = open_descriptors();
    uint64_t dropped = 0, lived = 0;
    for (int life = 0; life < 300; life++) {
        bool draws = life % 3 == 2;
        attach(&hostile);
        if (draws) {
            open_endpoint_as(&hostile, (struct cs_request){.call = CS_CALL_OPEN_FRAMEBUFFER, .framebuffer = {"screen"}});
            change_geometry(&hostile);
        } else
            open_endpoint(&hostile, HOSTILE_PORT);
        struct cs_reply own = allocate(&hostile, 1 + below(4), CS_ALLOC_BATCH);
        CHECK_EQ(send(wire, reply, sizeof reply, 0), sizeof reply);
        one_pass(); /* the neighbour is known from here on */
        bool impossible = below(2); /* some only lie about containers, others about the rings too */
        for (int step = 0; step < 20 && m->process[hostile.slot] >= 0; step++) {
            uint32_t waiting = hostile.tx.next - m->endpoint[hostile.endpoint].tx.next;
            for (uint32_t n = below(40); n > 0 && (impossible || waiting++ < hostile.tx.capacity); n--)
                *cs_ring_reserve(&hostile.tx) = (struct cs_desc){
                    some_cid(&own), below(3) ? 0 : some_number(), below(3) ? below(200) : some_number(),
                    below(3) ? below(4) & CS_DESC_MORE : (uint32_t)random64()};
            cs_ring_submit(&hostile.tx);
            if (impossible && below(12) == 0)
                hostile.tx.shared->produced = (uint32_t)random64();
            if (impossible && below(12) == 0)
                hostile.rx.shared->consumed = (uint32_t)random64();
            hostile.tx.shared->consumed = (uint32_t)random64(); /* not its to write */
            hostile.rx.shared->produced = (uint32_t)random64();
            hostile.rx.shared->waiting = hostile.tx.shared->waiting = below(2);
            wire_room = below(4) ? 256 : below(3);
            if (draws && below(4) == 0)
                change_geometry(&hostile);
            one_pass();
            drain_wire();
            check_pool(&m->pool);
            check_bystander();
        }
        if (m->process[hostile.slot] < 0)
            dropped++;
        else
            lived++;
        disconnect(&hostile);
        check_nothing_left(&hostile);
        check_pool(&m->pool);
    }
    CHECK(dropped > 10 && lived > 10); /* both kinds of life were had */
    CHECK(cs_count_value(m->drops[CS_DROP_BAD_DESCRIPTOR]) > 100);
    CHECK(cs_count_value(m->datagrams_out) > 100);
    CHECK(cs_count_value(m->frames) > 100);
    CHECK_EQ(open_descriptors(), before + 1); /* the picture stays */
    wire_room = 256;
    finish();
}
