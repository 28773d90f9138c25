/* Whose a container is, and how many one process may have: the calls as a process sees them. */
#define _GNU_SOURCE
#include "datagrams.h"

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
