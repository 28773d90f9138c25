/* How a datagram is cut into fragments, and who owns its pages until the device is done: here we are the outbox. */
#define _GNU_SOURCE
#include <errno.h>

#include "frames.h"
#include "net/backend.h"
#include "net/fragment.h"
#include "pool_check.h"

enum { PAGES = 512, ALL = CS_UDP_BYTES + CS_UDP_MOST };

static struct cs_pool pool;
static struct cs_counters *counters;
static struct cs_netif netif = {.pool = &pool};
static struct cs_frame queue[CS_DATAGRAM_FRAGMENTS];
static uint32_t queued;
static struct cs_part part[CS_DATAGRAM_PARTS];
static uint32_t parts;
static uint8_t sent[CS_DATAGRAM_PARTS * CS_PAGE_SIZE], came[ALL];

void cs_outbox_put(struct cs_outbox *out, const struct cs_part *p, uint32_t count, uint32_t bytes, const struct cs_flow *flow,
                   uint16_t id)
{
    CHECK(queued < CS_DATAGRAM_FRAGMENTS);
    CHECK(count <= CS_FRAME_PARTS);
    CHECK(out == &netif.out && !flow); /* whole frames */
    memcpy(queue[queued].part, p, count * sizeof *p);
    queue[queued++].parts = count;
}

static void start(void)
{
    counters = new_counters();
    CHECK_EQ(cs_pool_create(&pool, PAGES, CS_PAGE_SIZE, counters), 0);
    netif.address = frame_us;
}

static void finish(void)
{
    check_pool(&pool);
    CHECK_EQ(pool.free_count, PAGES);
    cs_pool_destroy(&pool);
    cs_counters_close(counters);
}

static uint8_t *at(const struct cs_part *p)
{
    return pool.data + (size_t)p->page * CS_PAGE_SIZE + p->off;
}

/* One more part of the message, with those bytes of a page. */
static uint32_t add(uint32_t off, uint32_t len, uint32_t bytes)
{
    int page = cs_pool_take(&pool, CS_SENDING);
    CHECK(page >= 0 && parts < CS_DATAGRAM_PARTS);
    part[parts] = (struct cs_part){(uint32_t)page, off, len};
    for (uint32_t i = 0; i < len; i++)
        at(&part[parts])[i] = sent[bytes + i] = (uint8_t)random64();
    parts++;
    return bytes + len;
}

static int put(uint32_t mtu, uint32_t bytes)
{
    const struct cs_flow flow = {frame_them, 1111, 2222};
    netif.mtu = mtu;
    queued = 0;
    return cs_fragment_put(&netif, part, parts, bytes, &flow, 7);
}

/* The fragments follow each other, fit into the network, and are together what was sent. */
static void check_fragments(uint32_t mtu, uint32_t bytes)
{
    uint32_t total = 0;
    for (uint32_t i = 0; i < queued; i++) {
        uint8_t frame[CS_FRAME_PARTS * CS_PAGE_SIZE];
        uint32_t count = 0;
        for (uint32_t k = 0; k < queue[i].parts; count += queue[i].part[k++].len) {
            CHECK(queue[i].part[k].len > 0 && queue[i].part[k].off + queue[i].part[k].len <= CS_PAGE_SIZE);
            memcpy(frame + count, at(&queue[i].part[k]), queue[i].part[k].len);
        }
        CHECK(count <= CS_ETH_BYTES + mtu);
        struct cs_packet p = cs_packet_parse(frame, queue[i].part[0].len, count, &frame_them);
        CHECK_EQ(p.kind, CS_PACKET_FRAGMENT);
        CHECK_EQ(p.id, 7);
        CHECK_EQ(p.offset, total);
        CHECK_EQ(p.more, i + 1 < queued);
        CHECK_EQ(p.payload_off + p.payload_len, count);
        memcpy(came + total, frame + p.payload_off, p.payload_len);
        total += p.payload_len;
    }
    CHECK_EQ(total, CS_UDP_BYTES + bytes);
    CHECK(memcmp(came + CS_UDP_BYTES, sent, bytes) == 0);
    CHECK_EQ(came[0] * 256 + came[1], 1111);
    CHECK_EQ(came[2] * 256 + came[3], 2222);
    CHECK_EQ(came[4] * 256 + came[5], total);
    CHECK(came[6] || came[7]);
    CHECK_EQ(frame_udp_sum(came, total, frame_us.ip, frame_them.ip), 0);
}

/* The device is done with the frames, in any order: no page is free before its last. */
static void give_frames(void)
{
    check_pool(&pool);
    while (queued > 0) {
        uint32_t which = below(queued);
        struct cs_frame f = queue[which];
        queue[which] = queue[--queued];
        for (uint32_t k = 0; k < f.parts; k++) {
            CHECK_EQ(pool.shared->table[f.part[k].page].state, CS_SENDING);
            cs_pool_give(&pool, f.part[k].page);
        }
    }
    check_pool(&pool);
    CHECK_EQ(pool.free_count, PAGES);
    parts = 0;
}

TEST(any_parts_are_cut_into_a_datagram_and_every_page_comes_back)
{
    const uint32_t mtus[] = {576, 577, 1499, 1500, 4352, 9000};
    uint32_t largest = 0;
    start();
    for (int i = 0; i < 4000; i++) {
        uint32_t mtu = mtus[below(sizeof mtus / sizeof *mtus)], wanted = 1 + below(CS_DATAGRAM_PARTS), bytes = 0;
        uint32_t most = below(3) == 0 ? 20 : below(2) ? 600 : CS_PAGE_SIZE;
        while (parts < wanted && bytes + most <= CS_UDP_MOST) {
            uint32_t len = 1 + below(most);
            bytes = add(below(CS_PAGE_SIZE - len + 1), len, bytes);
        }
        int count = put(mtu, bytes);
        if (count == -EMSGSIZE) { /* more fragments than allowed: only where nearly all of them were needed */
            CHECK(mtu < 600 && bytes > 60000);
            for (uint32_t k = 0; k < parts; k++)
                cs_pool_give(&pool, part[k].page);
            parts = 0;
            continue;
        }
        CHECK_EQ(count, queued);
        if (count > 1)
            check_fragments(mtu, bytes);
        largest = bytes > largest ? bytes : largest;
        give_frames();
    }
    CHECK(largest > CS_UDP_MOST - CS_PAGE_SIZE);
    finish();
}

/* Whole pages, as most senders have them: each fragment is as full as it can be. */
TEST(the_largest_leaves_in_as_few_fragments_as_can_be)
{
    const uint32_t mtus[] = {576, 1500, 4352, 9000};
    start();
    for (size_t i = 0; i < sizeof mtus / sizeof *mtus; i++) {
        uint32_t bytes = 0, most = (mtus[i] - CS_IPV4_BYTES) & ~7u;
        while (bytes < CS_UDP_MOST)
            bytes = add(0, CS_UDP_MOST - bytes < CS_PAGE_SIZE ? CS_UDP_MOST - bytes : CS_PAGE_SIZE, bytes);
        CHECK_EQ(put(mtus[i], bytes), (ALL + most - 1) / most);
        check_fragments(mtus[i], bytes);
        give_frames();
    }
    finish();
}

TEST(what_cannot_be_sent_stays_with_the_caller)
{
    uint32_t bytes = 0, taken[PAGES], others = 0;
    start();
    while (bytes < CS_UDP_MOST + 1)
        bytes = add(0, CS_UDP_MOST + 1 - bytes < CS_PAGE_SIZE ? CS_UDP_MOST + 1 - bytes : CS_PAGE_SIZE, bytes);
    CHECK_EQ(put(1500, bytes), -EMSGSIZE);
    part[parts - 1].len--;
    CHECK_EQ(put(68, bytes - 1), -EMSGSIZE); /* in more fragments than allowed */
    while (pool.free_count > 1)
        taken[others++] = (uint32_t)cs_pool_take(&pool, CS_SENDING);
    CHECK_EQ(put(576, bytes - 1), -ENOBUFS); /* the headers need two pages */
    CHECK_EQ(pool.free_count, 1);
    CHECK_EQ(queued, 0);
    CHECK(put(1500, bytes - 1) > 0); /* one is enough */
    while (others > 0)
        cs_pool_give(&pool, taken[--others]);
    check_fragments(1500, bytes - 1);
    give_frames();
    finish();
}
