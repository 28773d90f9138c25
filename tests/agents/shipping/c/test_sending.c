/* Messages that do not fit into a frame, as a process writes them and the far station gets them. */
#define _GNU_SOURCE
#include "fragments.h"

static uint8_t sent[ALL], came[ALL];

/* One container with so many bytes of the message from there on. */
static int fill(int size, int off, int len, uint8_t *bytes)
{
    void *addr;
    int cid = cs_alloc(size, &addr, CS_MAPNOW);
    CHECK(cid > 0);
    for (int i = 0; i < len; i++)
        ((uint8_t *)addr)[off + i] = bytes[i] = (uint8_t)random64();
    return cid;
}

/* It comes as it was sent; how many fragments. */
static uint32_t check_arrives(uint32_t bytes)
{
    uint32_t fragments = 0;
    CHECK_EQ(station_receive_whole(came, host_mtu, &fragments), CS_UDP_BYTES + bytes);
    CHECK(memcmp(came + CS_UDP_BYTES, sent, bytes) == 0);
    return fragments;
}

TEST(one_container_of_any_offset_and_length_leaves_as_one_datagram)
{
    host_mtu = 1500;
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (int i = 0; i < 100; i++) {
        int off = (int)below(5000), len = i < 4 ? (int)CS_UDP_MOST - i : 1473 + (int)below(60000), zero = 0;
        int cid = fill(off + len, off, len, sent);
        CHECK_EQ(cs_write(fd, 1, &cid, off ? &off : &zero, &len, 0), 0);
        CHECK_EQ(check_arrives((uint32_t)len), ((uint32_t)len + CS_UDP_BYTES + 1479) / 1480);
    }
    CHECK_EQ(all_drops(), 0);
    host_end();
}

TEST(as_many_containers_as_a_message_can_have_leave_as_one_datagram)
{
    int cids[CS_DATAGRAM_PARTS + 1], offs[CS_DATAGRAM_PARTS + 1], lens[CS_DATAGRAM_PARTS + 1];
    host_mtu = 4352;
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (int i = 0; i < 50; i++) {
        int most = (int[]){1, 9, 40, 511}[i % 4], bytes = 0;
        for (uint32_t k = 0; k < CS_DATAGRAM_PARTS; bytes += lens[k++]) {
            offs[k] = (int)below(3000);
            lens[k] = most == 1 ? 1 : 1 + (int)below((uint32_t)most);
            cids[k] = fill(CS_PAGE_SIZE, offs[k], lens[k], sent + bytes);
        }
        CHECK_EQ(cs_write(fd, CS_DATAGRAM_PARTS, cids, offs, lens, 0), 0);
        check_arrives((uint32_t)bytes);
    }
    for (uint32_t k = 0; k <= CS_DATAGRAM_PARTS; k++) {
        offs[k] = 0, lens[k] = 1;
        cids[k] = cs_alloc(1, NULL, 0);
    }
    CHECK_EQ(cs_write(fd, CS_DATAGRAM_PARTS + 1, cids, offs, lens, 0), -EINVAL);
    CHECK_EQ(cs_free(CS_DATAGRAM_PARTS + 1, cids), 0);
    CHECK_EQ(all_drops(), 0);
    host_end();
}

TEST(more_pages_than_a_message_can_have_are_dropped_by_name)
{
    int cids[2], offs[2] = {0, 0}, lens[2] = {1, (int)CS_DATAGRAM_PARTS * CS_PAGE_SIZE};
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    cids[0] = cs_alloc(1, NULL, 0);
    cids[1] = cs_alloc(lens[1], NULL, 0);
    CHECK_EQ(cs_write(fd, 2, cids, offs, lens, 0), 0);
    cids[0] = fill(1, 0, 1, sent);
    lens[1] = 20000;
    cids[1] = fill(lens[1], 0, lens[1], sent + 1);
    CHECK_EQ(cs_write(fd, 2, cids, offs, lens, 0), 0);
    check_arrives(20001);
    CHECK_EQ(counted("drop_too_big"), 1);
    CHECK_EQ(all_drops(), 1);
    host_end();
}

TEST(what_came_in_fragments_is_written_on_unmapped)
{
    static uint8_t datagram[ALL];
    int cids[CS_DATAGRAM_PARTS], offs[CS_DATAGRAM_PARTS], lens[CS_DATAGRAM_PARTS];
    struct cs_args args = {.cids = cids, .offs = offs, .lens = lens};
    host_mtu = 1500;
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (uint32_t piece = 552; piece < 6000; piece += 888) {
        frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT, CS_UDP_MOST);
        for (uint32_t from = 0; from < ALL; from += piece)
            station_fragment(0, (uint16_t)piece, datagram, from, from + piece < ALL ? from + piece : ALL, from + piece < ALL);
        int n = cs_read(fd, ALL, CS_DATAGRAM_PARTS, &args, 0);
        CHECK(n >= (int)(ALL / piece));
        CHECK_EQ(cs_write(fd, n, cids, offs, lens, 0), 0);
        memcpy(sent, datagram + CS_UDP_BYTES, CS_UDP_MOST);
        check_arrives(CS_UDP_MOST);
    }
    CHECK_EQ(all_drops(), 0);
    host_end();
}

/* More frames than may wait in front of the network: all of it leaves, also when the writer has gone. */
TEST(what_was_written_before_closing_is_sent)
{
    enum { MESSAGES = 40 };
    host_mtu = 1500;
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), zero = 0, len = (int)CS_UDP_MOST;
    int cid = fill(len, 0, len, sent);
    CHECK_EQ(cs_write(fd, 1, &cid, &zero, &len, 0), 0);
    check_arrives(CS_UDP_MOST); /* the neighbour is known */
    for (int i = 0; i < MESSAGES; i++) {
        cid = fill(len, 0, len, sent);
        CHECK_EQ(cs_write(fd, 1, &cid, &zero, &len, CS_MORE), 0);
    }
    CHECK_EQ(cs_close(fd), 0);
    for (int i = 0; i < MESSAGES; i++) {
        uint32_t fragments = 0;
        CHECK_EQ(station_receive_whole(came, host_mtu, &fragments), ALL);
    }
    CHECK(memcmp(came + CS_UDP_BYTES, sent, CS_UDP_MOST) == 0);
    CHECK_EQ(all_drops(), 0);
    host_end();
}
