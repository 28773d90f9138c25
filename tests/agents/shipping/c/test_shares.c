/* A pool of which several processes want all they can get: others still find some, and the network goes on. */
#define _GNU_SOURCE
#include "channel.h"

enum { DATAGRAMS = 1000, LARGE_QUEUE = HOST_POOL / 4, PORTS = 4, TRIES = 100 };

static int count_allocations(int pages)
{
    int count = 0;
    while (cs_alloc(pages * CS_PAGE_SIZE, NULL, 0) > 0)
        count++;
    return count;
}

static void take_all(void)
{
    for (int pages = HOST_POOL; pages > 0; pages /= 2)
        count_allocations(pages);
}

/* More than any process may keep for later. */
static void check_that_datagrams_arrive(int fd)
{
    int cids[8];
    struct cs_args args = {.cids = cids};
    for (int i = 0; i < DATAGRAMS; i++) {
        station_send(HOST_PORT, 5000);
        int n = cs_read(fd, 5000, 8, &args, 0);
        CHECK(n > 0);
        CHECK_EQ(cs_free(n, cids), 0);
    }
}

TEST(two_that_allocate_all_they_can_leave_some_to_a_third_and_to_the_network)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    pid_t one = neighbour(take_all), other = neighbour(take_all);
    check_that_datagrams_arrive(fd);
    CHECK(count_allocations(1) > HOST_POOL / 32);
    CHECK(counted("containers_free") + 1 >= HOST_POOL / CS_RESERVE_SHARE);
    check_that_datagrams_arrive(fd);
    end_of(one);
    WITHIN(SOON_MS, counted("processes_attached") == 2);
    CHECK(count_allocations(1) > HOST_POOL / 8); /* what one no longer has the others may have */
    end_of(other);
    host_end();
}

static uint16_t first_port;

static void listen_with_large_queues(void)
{
    for (uint16_t port = first_port; port < first_port + PORTS; port++)
        CHECK(cs_open_udp(frame_us.ip, port, 0, 0, LARGE_QUEUE, -1) >= 0);
}

/* Somebody who takes nothing from his queues, and more datagrams for him than there are pages. */
static pid_t flooded(uint16_t port)
{
    first_port = port;
    pid_t pid = neighbour(listen_with_large_queues);
    uint64_t before = counted("datagrams_in") + counted("drop_endpoint_queue") + counted("drop_wire_no_page");
    for (uint32_t i = 0; i < HOST_POOL; i++) {
        station_send((uint16_t)(port + i % PORTS), 10);
        if (i % 32 == 31)
            WITHIN(SOON_MS, counted("datagrams_in") + counted("drop_endpoint_queue") + counted("drop_wire_no_page") > before + i);
    }
    return pid;
}

TEST(two_that_keep_all_that_arrives_leave_some_to_a_third)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    pid_t one = flooded(HOST_PORT + 1), other = flooded(HOST_PORT + 1 + PORTS);
    CHECK(counted("containers_free") < HOST_POOL / 8); /* much they have */
    check_that_datagrams_arrive(fd);
    end_of(one);
    end_of(other);
    host_end();
}

static const char *stuck_name;

static void read_nothing(void)
{
    CHECK(cs_open_channel(stuck_name, HOST_POOL, -1) >= 0);
}

/* Pages that were handed on are not the writer's any more, so that he may have others. */
static void write_to_who_reads_nothing(void)
{
    int fd = cs_open_channel(stuck_name, HOST_POOL, -1);
    CHECK(fd >= 0);
    for (int tries = 0; tries < TRIES;) {
        int err = write_pattern(fd, 0, 8 * CS_PAGE_SIZE, 1, CS_DONTWAIT);
        CHECK(err == 0 || err == -EAGAIN || err == -ENOBUFS);
        tries = err == 0 ? 0 : tries + 1;
        if (err < 0)
            poll(NULL, 0, 1); /* until the manager has moved some */
    }
}

TEST(paths_that_are_stuck_leave_some_to_the_network)
{
    pid_t pids[4];
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    for (int i = 0; i < 4; i += 2) {
        stuck_name = i ? "second" : "first";
        pids[i] = neighbour(read_nothing);
        pids[i + 1] = neighbour(write_to_who_reads_nothing);
    }
    CHECK(counted("containers_free") < HOST_POOL / 8);
    CHECK(counted("containers_free") + 1 >= HOST_POOL / CS_RESERVE_SHARE);
    check_that_datagrams_arrive(fd);
    for (int i = 0; i < 4; i++)
        end_of(pids[i]);
    host_end();
}

enum { RELAYS = 4, PART_PAGES = HOST_POOL / 14, PARTS_SENT = 500 };

static char from[24], to[24]; /* the channels of who is about to be started */

/* All that comes goes on. Nothing but data, or the manager, wakes it. */
static void pass_on(void)
{
    int in = channel_end(from, -1), out = channel_end(to, -1), cid, off, len, n;
    struct cs_args args = {.cids = &cid, .offs = &off, .lens = &len};
    while ((n = cs_read(in, PART_PAGES * CS_PAGE_SIZE, 1, &args, 0)) == 1)
        CHECK_EQ(cs_write(out, 1, &cid, &off, &len, 0), 0);
    CHECK_EQ(n, 0);
}

static void take_and_free(void)
{
    int in = channel_end(from, -1), cid, n, count = 0;
    struct cs_args args = {.cids = &cid};
    for (; (n = cs_read(in, PART_PAGES * CS_PAGE_SIZE, 1, &args, 0)) == 1; count++)
        CHECK_EQ(cs_free(1, &cid), 0);
    CHECK_EQ(n, 0);
    CHECK_EQ(count, PARTS_SENT);
}

/* What the far end frees goes back along the path, from one process to the one before, and each of them may be asleep. */
TEST(a_long_path_goes_on_in_a_pool_that_holds_little)
{
    pid_t pids[RELAYS + 1];
    host_start_manager();
    for (int i = 0; i <= RELAYS; i++) {
        snprintf(from, sizeof from, "hop%d", i);
        snprintf(to, sizeof to, "hop%d", i + 1);
        pids[i] = other(i < RELAYS ? pass_on : take_and_free);
    }
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("hop0", -1);
    for (int sent = 0; sent < PARTS_SENT; sent++) {
        int cid = -ENOBUFS;
        WITHIN(SOON_MS, (cid = cs_alloc(PART_PAGES * CS_PAGE_SIZE, NULL, 0)) != -ENOBUFS);
        CHECK(cid > 0);
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
    }
    CHECK_EQ(cs_close(fd), 0);
    for (int i = 0; i <= RELAYS; i++)
        ended_well(pids[i]);
    host_end();
}
