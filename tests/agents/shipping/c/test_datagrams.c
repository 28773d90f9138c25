/* What comes and goes through a UDP endpoint, and opening and closing it. */
#define _GNU_SOURCE
#include "datagrams.h"

TEST(a_datagram_arrives_with_its_bytes_whatever_its_size)
{
    const uint32_t sizes[] = {0, 1, 18, 1000, 3798, 3799, 4300, 8900};
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int cids[8], offs[8], lens[8], sum = 0;
        void *addrs[8];
        struct cs_args args = {cids, offs, lens, NULL, addrs};
        station_send(HOST_PORT, sizes[i]);
        int n = cs_read(fd, FRAME_MAX, 8, &args, CS_MAPALL);
        CHECK(n >= 1);
        for (int k = 0; k < n; sum += lens[k++])
            CHECK(is_pattern((uint8_t *)addrs[k] + offs[k], (uint32_t)sum, (uint32_t)lens[k], sizes[i]));
        CHECK_EQ(sum, sizes[i]);
        CHECK_EQ(cs_free(n, cids), 0);
    }
    host_end();
}

TEST(a_datagram_in_two_fragments_arrives_as_two_containers)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cids[8], offs[8], lens[8], sizes[8];
    struct cs_args args = {cids, offs, lens, sizes, NULL};
    station_send(HOST_PORT, 4300);
    CHECK_EQ(cs_read(fd, FRAME_MAX, 8, &args, 0), 2);
    CHECK_EQ(offs[0], WIRE_HEADROOM + CS_UDP_HEADROOM);
    CHECK_EQ(lens[0], CS_PAGE_SIZE - WIRE_HEADROOM - CS_UDP_HEADROOM);
    CHECK_EQ(offs[1], WIRE_HEADROOM);
    CHECK_EQ(lens[1], 4300 - lens[0]);
    CHECK_EQ(sizes[0], CS_PAGE_SIZE);
    CHECK_EQ(sizes[1], CS_PAGE_SIZE);
    CHECK(cids[0] != cids[1]);
    host_end();
}

TEST(what_was_read_can_be_written_on_unmapped)
{
    const uint32_t sizes[] = {0, 1, 4300, 8900};
    uint8_t payload[FRAME_MAX];
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int cids[8], offs[8], lens[8];
        station_send(HOST_PORT, sizes[i]);
        int n = take(fd, cids, offs, lens, 0);
        CHECK(n >= 1);
        CHECK_EQ(cs_write(fd, n, cids, offs, lens, 0), 0);
        CHECK_EQ(station_receive(payload, SOON_MS), sizes[i]);
        CHECK(is_pattern(payload, 0, sizes[i], sizes[i]));
    }
    host_end();
}

TEST(new_data_is_sent_from_wherever_it_lies)
{
    const struct { int bytes, off, len; } cases[] = {
        {1, 0, 1}, {4096, 0, 4096}, {4096, 41, 10}, {4096, 42, 10}, {4096, 4095, 1}, {4096, 17, 0},
        {8192, 4000, 192}, {8192, 4096, 4096}, {12288, 100, 8900}, {12288, 12287, 1},
    };
    uint8_t payload[FRAME_MAX];
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *addr;
        int cid = cs_alloc(cases[i].bytes, &addr, CS_MAPNOW);
        CHECK(cid > 0);
        for (int k = 0; k < cases[i].bytes; k++)
            ((uint8_t *)addr)[k] = (uint8_t)(k * 31 + k / 256);
        CHECK_EQ(cs_write(fd, 1, &cid, &cases[i].off, &cases[i].len, 0), 0);
        CHECK_EQ(station_receive(payload, SOON_MS), cases[i].len);
        for (int k = 0; k < cases[i].len; k++)
            CHECK_EQ(payload[k], (uint8_t)((k + cases[i].off) * 31 + (k + cases[i].off) / 256));
    }
    host_end();
}

TEST(a_datagram_is_cut_to_what_was_asked_for)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cids[8], offs[8], lens[8];
    struct cs_args args = {.cids = cids, .offs = offs, .lens = lens};
    station_send(HOST_PORT, 4300);
    CHECK_EQ(cs_read(fd, 10, 8, &args, 0), 1);
    CHECK_EQ(lens[0], 10);
    station_send(HOST_PORT, 4300);
    CHECK_EQ(cs_read(fd, 4000, 8, &args, 0), 2);
    CHECK_EQ(lens[0] + lens[1], 4000);
    station_send(HOST_PORT, 4300);
    CHECK_EQ(cs_read(fd, 4300, 1, &args, 0), 1);
    CHECK(lens[0] < 4300);
    station_send(HOST_PORT, 1); /* and the next read is the next datagram */
    CHECK_EQ(cs_read(fd, 4300, 8, &args, 0), 1);
    CHECK_EQ(lens[0], 1);
    host_end();
}

TEST(nothing_to_read_is_again_or_a_timeout)
{
    host_start();
    int patient = host_open(HOST_PORT, 100), cids[8], offs[8], lens[8];
    CHECK_EQ(take(patient, cids, offs, lens, CS_DONTWAIT), -EAGAIN);
    uint64_t before = now_ms();
    CHECK_EQ(take(patient, cids, offs, lens, 0), -ETIMEDOUT);
    CHECK(now_ms() - before >= 99);
    host_end();
}

TEST(a_writer_is_held_back_while_nobody_answers)
{
    host_start();
    int fd = host_open(HOST_PORT, 50), err = 0, zero = 0, one = 1, cid = 0, written = -1;
    for (; err == 0 && written < 1000; written++) {
        CHECK((cid = cs_alloc(1, NULL, 0)) > 0);
        err = cs_write(fd, 1, &cid, &zero, &one, CS_DONTWAIT);
    }
    CHECK_EQ(err, -EAGAIN);
    CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), -ETIMEDOUT);
    CHECK_EQ(cs_free(1, &cid), 0); /* still ours */
    uint8_t payload[FRAME_MAX];
    for (int i = 0; i < written; i++) /* the station answers now, and gets all of it */
        CHECK_EQ(station_receive(payload, SOON_MS), 1);
    host_end();
}

TEST(an_endpoint_without_a_peer_cannot_write)
{
    host_start();
    int fd = cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_QUEUE, SOON_MS), zero = 0, one = 1;
    int cid = cs_alloc(1, NULL, 0);
    CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), -EDESTADDRREQ);
    CHECK_EQ(cs_free(1, &cid), 0);
    host_end();
}

TEST(an_endpoint_takes_only_what_its_peer_sends_to_its_port)
{
    uint8_t frame[FRAME_MAX];
    host_start();
    int fd = host_open(HOST_PORT, 50), cids[8], offs[8], lens[8];
    station_send(HOST_PORT + 1, 9);
    uint32_t bytes = frame_udp(frame, THEIR_PORT + 1, HOST_PORT, 9);
    CHECK_EQ(send(host.wire, frame, bytes, 0), bytes);
    WITHIN(SOON_MS, counted("drop_no_port") == 2);
    CHECK_EQ(take(fd, cids, offs, lens, 0), -ETIMEDOUT);
    host_end();
}

TEST(more_than_a_datagram_can_be_is_dropped_by_name)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cid = cs_alloc(2 * CS_UDP_MOST, NULL, 0), off = 64, len = CS_UDP_MOST + 1;
    uint8_t payload[FRAME_MAX];
    CHECK_EQ(cs_write(fd, 1, &cid, &off, &len, 0), 0);
    CHECK_EQ(station_receive(payload, 200), -1);
    CHECK_EQ(counted("drop_too_big"), 1);
    cid = cs_alloc(12288, NULL, 0);
    len = 9000 - 28;
    CHECK_EQ(cs_write(fd, 1, &cid, &off, &len, 0), 0);
    CHECK_EQ(station_receive(payload, SOON_MS), len);
    host_end();
}

TEST(closing_gives_back_what_waited)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (int i = 0; i < 5; i++)
        station_send(HOST_PORT, 4300);
    WITHIN(SOON_MS, counted("ring_udp9000_backlog") == 10);
    CHECK_EQ(counted("containers_owned"), 10);
    CHECK_EQ(cs_close(fd), 0);
    WITHIN(SOON_MS, counted("containers_owned") == 0);
    CHECK_EQ(counted("drop_closed"), 5);
    CHECK_EQ(counted("ring_udp9000_backlog"), 0);
    for (uint16_t port = 10000; port < 12000; port++) /* more than there is room for counters */
        CHECK_EQ(cs_close(host_open(port, SOON_MS)), 0);
    fd = host_open(HOST_PORT + 1, SOON_MS);
    station_send(HOST_PORT + 1, 10);
    WITHIN(SOON_MS, counted("ring_udp9001_backlog") == 1);
    CHECK(host_open(HOST_PORT, SOON_MS) >= 0); /* the port is free again */
    host_end();
}

TEST(what_was_written_before_closing_is_sent)
{
    uint8_t payload[FRAME_MAX];
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), zero = 0, one = 1;
    for (int round = 0; round < 50; round++) {
        int cid = cs_alloc(1, NULL, 0);
        CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), 0);
        if (round > 0) { /* the first teaches the neighbour */
            CHECK_EQ(cs_close(fd), 0);
            fd = host_open(HOST_PORT, SOON_MS);
        }
        CHECK_EQ(station_receive(payload, SOON_MS), 1);
    }
    host_end();
}

TEST(what_cannot_be_sent_before_closing_is_counted)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), zero = 0, one = 1;
    for (int i = 0; i < 3; i++) { /* nobody answers our ARP */
        int cid = cs_alloc(1, NULL, 0);
        CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), 0);
    }
    CHECK_EQ(cs_close(fd), 0);
    WITHIN(SOON_MS, counted("drop_closed") == 3);
    CHECK_EQ(counted("containers_owned"), 64 - 3); /* what was allocated in advance is still ours */
    host_end();
}

TEST(impossible_endpoints_are_refused)
{
    host_start();
    CHECK_EQ(cs_attach(host.socket), -EISCONN);
    CHECK_EQ(cs_open_udp(frame_us.ip + 9, 1, 0, 0, 64, 0), -EADDRNOTAVAIL);
    CHECK_EQ(cs_open_udp(frame_us.ip, 1, 0xc0a80001, 5, 64, 0), -ENETUNREACH);
    CHECK_EQ(cs_open_udp(frame_us.ip, 1, frame_them.ip, 0, 64, 0), -EINVAL);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(cs_open_udp(frame_us.ip, 1, 0, 0, (int[]){0, 15, 65537, -1}[i], 0), -EINVAL);
    CHECK_EQ(cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, 65536, 0), -ENOBUFS);
    CHECK_EQ(cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_POOL / 4 + 1, 0), -ENOBUFS);
    int largest = cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_POOL / 4, 0);
    CHECK(largest >= 0);
    CHECK_EQ(cs_close(largest), 0);
    host_open(HOST_PORT, 0);
    CHECK_EQ(cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, 64, 0), -EADDRINUSE);
    for (int i = 1; i < 64; i++)
        CHECK(cs_open_udp(frame_us.ip, 0, 0, 0, 16, 0) >= 0);
    CHECK_EQ(cs_open_udp(frame_us.ip, 0, 0, 0, 16, 0), -EMFILE);
    host_end();
}
