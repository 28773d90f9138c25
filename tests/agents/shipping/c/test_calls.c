/* The six calls as a process sees them. */
#define _GNU_SOURCE
#include "host.h"

/* Read one message; the number of its containers. */
static int take(int fd, int *cids, int *offs, int *lens, int options)
{
    struct cs_args args = {.cids = cids, .offs = offs, .lens = lens};
    return cs_read(fd, FRAME_MAX, 8, &args, options);
}

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

TEST(what_was_given_away_is_refused_everywhere)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cids[8], offs[8], lens[8];
    void *addrs[8];
    station_send(HOST_PORT, 4300);
    CHECK_EQ(take(fd, cids, offs, lens, 0), 2);
    CHECK_EQ(cs_map(2, cids, addrs, 0), 0);
    CHECK_EQ(cs_write(fd, 2, cids, offs, lens, 0), 0);
    CHECK_EQ(cs_write(fd, 2, cids, offs, lens, 0), -EPERM);
    CHECK_EQ(cs_map(1, &cids[1], addrs, 0), -EPERM);
    CHECK_EQ(cs_unmap(1, &cids[0]), -EPERM);
    CHECK_EQ(cs_free(1, &cids[0]), -EPERM);
    host_end();
}

TEST(what_was_freed_is_refused)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cid = cs_alloc(1, NULL, 0), zero = 0, large = cs_alloc(8192, NULL, 0);
    void *addr;
    CHECK_EQ(cs_free(1, &cid), 0);
    CHECK_EQ(cs_free(1, &cid), -EPERM);
    CHECK_EQ(cs_write(fd, 1, &cid, &zero, &zero, 0), -EPERM);
    CHECK_EQ(cs_free(1, &large), 0);
    CHECK_EQ(cs_map(1, &large, &addr, 0), -EPERM);
    host_end();
}

TEST(a_container_cannot_be_twice_in_one_message)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cid = cs_alloc(1, NULL, 0), zero[2] = {0}, ten[2] = {10, 10};
    CHECK_EQ(cs_write(fd, 2, (int[]){cid, cid}, zero, ten, 0), -EINVAL);
    CHECK_EQ(cs_write(fd, 1, &cid, zero, ten, 0), 0); /* on error the caller keeps it */
    host_end();
}

TEST(a_stale_identifier_is_refused_when_its_page_is_ours_again)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), first, again = 0;
    uint8_t payload[FRAME_MAX];
    int cids[8], offs[8], lens[8];
    void *addr;
    station_send(HOST_PORT, 5);
    CHECK_EQ(take(fd, cids, offs, lens, 0), 1);
    first = cids[0];
    CHECK_EQ(cs_write(fd, 1, cids, offs, lens, 0), 0);
    CHECK_EQ(station_receive(payload, SOON_MS), 5); /* it has left, so its page comes round again */
    for (int i = 0; i < 100000 && (again & 0xfffff) != (first & 0xfffff); i++) {
        station_send(HOST_PORT, 5);
        CHECK_EQ(take(fd, cids, offs, lens, 0), 1);
        again = cids[0];
        if ((again & 0xfffff) == (first & 0xfffff))
            break;
        CHECK_EQ(cs_write(fd, 1, cids, offs, lens, 0), 0);
        CHECK_EQ(station_receive(payload, SOON_MS), 5);
    }
    CHECK_EQ(again & 0xfffff, first & 0xfffff);
    CHECK(again != first);
    CHECK_EQ(cs_write(fd, 1, &first, offs, lens, 0), -EPERM);
    CHECK_EQ(cs_map(1, &first, &addr, 0), -EPERM);
    CHECK_EQ(cs_map(1, &again, &addr, 0), 0);
    host_end();
}

TEST(what_was_never_owned_cannot_be_mapped_or_written)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), zero = 0;
    void *addr;
    for (int page = 0; page < 4500; page += 7) {
        int cid = 1 << 20 | page;
        int wanted = page < HOST_POOL ? -EPERM : -EBADF;
        CHECK_EQ(cs_map(1, &cid, &addr, 0), wanted);
        CHECK_EQ(cs_write(fd, 1, &cid, &zero, &zero, 0), wanted);
    }
    for (int i = 0; i < 4; i++) {
        int cid = (int[]){0, -1, INT32_MIN, INT32_MAX}[i];
        CHECK_EQ(cs_map(1, &cid, &addr, 0), -EBADF);
    }
    host_end();
}

TEST(bytes_outside_a_container_are_refused_and_it_is_kept)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cid = cs_alloc(4096, NULL, 0);
    const int wrong[][2] = {{-1, 1}, {0, -1}, {0, 4097}, {4096, 1}, {INT32_MAX, INT32_MAX}, {INT32_MAX, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK_EQ(cs_write(fd, 1, &cid, &wrong[i][0], &wrong[i][1], 0), -EINVAL);
    CHECK_EQ(cs_write(fd, 1, &cid, (int[]){0}, (int[]){4096}, 0), 0);
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
    CHECK(now_ms() - before >= 99 && now_ms() - before < SOON_MS);
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

TEST(half_the_pool_can_be_allocated_and_comes_back)
{
    static int cids[8192];
    int n = 0;
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    while (n < 8192 && (cids[n] = cs_alloc(4096, NULL, 0)) > 0)
        n++;
    CHECK_EQ(cids[n], -ENOBUFS);
    CHECK_EQ(n, HOST_POOL / 2);
    CHECK_EQ(cs_alloc(2 * 4096, NULL, 0), -ENOBUFS);
    station_send(HOST_PORT, 10); /* arrivals go on */
    CHECK_EQ(take(fd, &cids[n], &(int){0}, &(int){0}, 0), 1);
    CHECK_EQ(cs_free(1, &cids[n]), 0);
    for (int i = 0; i < n; i++) /* through the ring, which is smaller, and else by asking */
        CHECK_EQ(cs_free(1, &cids[i]), 0);
    cs_flush();
    WITHIN(SOON_MS, counted("containers_owned") <= 256);
    CHECK(cs_alloc(4096 * 100, NULL, 0) > 0);
    CHECK_EQ(cs_close(fd), 0);
    host_end();
}

TEST(everything_can_be_freed_without_an_endpoint)
{
    static int cids[640];
    int large;
    host_start();
    CHECK((large = cs_alloc(8192, NULL, 0)) > 0);
    for (int i = 0; i < 640; i++)
        CHECK((cids[i] = cs_alloc(4096, NULL, 0)) > 0);
    CHECK_EQ(cs_free(640, cids), 0);
    CHECK_EQ(cs_free(1, &large), 0);
    CHECK(counted("containers_owned") <= 256); /* kept for the next cs_alloc */
    CHECK_EQ(cs_free(1, &large), -EPERM);
    host_end();
}

TEST(what_a_reader_cuts_off_goes_back_even_when_its_ring_is_full)
{
    static int cids[384];
    int zero = 0, one = 1, cid;
    struct cs_args args = {.cids = &cid};
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (int i = 0; i < 384; i++)
        CHECK((cids[i] = cs_alloc(4096, NULL, 0)) > 0);
    for (int i = 0; i < 128; i++) /* nobody answers our ARP */
        CHECK_EQ(cs_write(fd, 1, &cids[i], &zero, &one, CS_DONTWAIT), 0);
    CHECK_EQ(cs_write(fd, 1, &cids[128], &zero, &one, CS_DONTWAIT), -EAGAIN);
    CHECK_EQ(cs_free(256, &cids[128]), 0); /* as many as are kept */
    station_send(HOST_PORT, 4300);
    CHECK_EQ(cs_read(fd, 4300, 1, &args, 0), 1);
    CHECK(counted("containers_owned") < 384); /* the oldest of them went back with it */
    CHECK_EQ(cs_free(1, &cid), 0);
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

TEST(calls_without_an_attachment_are_refused)
{
    int cid = 1 << 20, zero = 0;
    void *addr;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_open_udp(frame_us.ip, 1, 0, 0, 64, 0), -ENOTCONN);
    CHECK_EQ(cs_alloc(1, NULL, 0), -ENOTCONN);
    CHECK_EQ(cs_map(1, &cid, &addr, 0), -ENOTCONN);
    CHECK_EQ(cs_read(3, 1, 1, &args, 0), -EBADF);
    CHECK_EQ(cs_write(3, 1, &cid, &zero, &zero, 0), -EBADF);
    CHECK_EQ(cs_close(3), -EBADF);
    CHECK_EQ(cs_free(1, &cid), -EBADF);
    CHECK(cs_attach("/tmp/transship-no-such-socket") < 0);
    cs_detach();
    cs_flush();
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
