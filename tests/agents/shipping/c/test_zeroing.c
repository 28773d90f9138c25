/* What a new owner sees of a container that nobody filled for it, and what goes back to whom, in every tier. */
#define _GNU_SOURCE
#include "process.h"
#include "secrets.h"

static void a_new_container_shows(uint32_t protection, uint32_t zeroing, int value)
{
    void *addr;
    host_with_secrets(protection, zeroing);
    CHECK_EQ(cs_attach(host.socket), 0);
    int cid = cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW);
    CHECK(cid > 0);
    CHECK(all_are(addr, CS_PAGE_SIZE, value));
    host_end();
}

TEST(cooperative_and_nothing_zeroed_shows_what_was_there) { a_new_container_shows(CS_COOPERATIVE, CS_ZERO_USUAL, SECRET); }
TEST(cooperative_with_edges_shows_zeros) { a_new_container_shows(CS_COOPERATIVE, CS_ZERO_EDGES, 0); }
TEST(cooperative_with_all_shows_zeros) { a_new_container_shows(CS_COOPERATIVE, CS_ZERO_ALL, 0); }
TEST(write_revoked_shows_zeros) { a_new_container_shows(CS_WRITE_REVOKED, CS_ZERO_USUAL, 0); }
TEST(write_revoked_with_all_shows_zeros) { a_new_container_shows(CS_WRITE_REVOKED, CS_ZERO_ALL, 0); }
TEST(strict_shows_zeros) { a_new_container_shows(CS_STRICT, CS_ZERO_USUAL, 0); }
TEST(strict_with_all_shows_zeros) { a_new_container_shows(CS_STRICT, CS_ZERO_ALL, 0); }

/* Several pages too, and those that were asked for with the first and kept. */
static void every_new_container_shows_zeros(uint32_t protection)
{
    host_with_secrets(protection, CS_ZERO_EDGES);
    CHECK_EQ(cs_attach(host.socket), 0);
    for (int i = 0; i < 40; i++) {
        void *addr;
        int pages = 1 + i % 3 * 35;
        CHECK(cs_alloc(pages * CS_PAGE_SIZE, &addr, CS_MAPNOW) > 0);
        CHECK(all_are(addr, pages * CS_PAGE_SIZE, 0));
        memset(addr, 1, (size_t)pages * CS_PAGE_SIZE);
    }
    host_end();
}

TEST(cooperative_every_new_container_shows_zeros) { every_new_container_shows_zeros(CS_COOPERATIVE); }
TEST(write_revoked_every_new_container_shows_zeros) { every_new_container_shows_zeros(CS_WRITE_REVOKED); }
TEST(strict_every_new_container_shows_zeros) { every_new_container_shows_zeros(CS_STRICT); }

/* A datagram is not touched, around it there is nothing, and nothing is zeroed for who does not look. */
static void a_datagram_has_clean_edges(uint32_t protection)
{
    int cid, off, len, size;
    void *addr;
    struct cs_args args = {&cid, &off, &len, &size, &addr};
    host.protection = protection;
    host.zeroing = CS_ZERO_EDGES;
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS);
    station_send(HOST_PORT, 100);
    CHECK_EQ(cs_read(fd, 1000, 1, &args, 0), 1);
    CHECK_EQ(counted("bytes_zeroed"), 0);
    CHECK_EQ(cs_map(1, &cid, &addr, 0), 0);
    CHECK_EQ(len, 100);
    CHECK(off >= WIRE_HEADROOM); /* headers are in front of it */
    CHECK(is_pattern((uint8_t *)addr + off, 0, 100, 100));
    CHECK(all_are(addr, off, 0) && all_are((uint8_t *)addr + off + len, size - off - len, 0));
    if (protection != CS_COOPERATIVE)
        CHECK_EQ(counted("bytes_zeroed"), size - len);
    host_end();
}

TEST(cooperative_a_datagram_has_clean_edges) { a_datagram_has_clean_edges(CS_COOPERATIVE); }
TEST(write_revoked_a_datagram_has_clean_edges) { a_datagram_has_clean_edges(CS_WRITE_REVOKED); }
TEST(strict_a_datagram_has_clean_edges) { a_datagram_has_clean_edges(CS_STRICT); }

/* To the process that had it last its own data may be shown, by way of its own spares or of the manager's list. */
static void the_last_owner_finds_what_it_left(uint32_t protection, bool no_recycling)
{
    void *addr;
    host.protection = protection;
    host.zeroing = CS_ZERO_EDGES;
    host.no_recycling = no_recycling;
    host_start();
    int cid = cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW), again;
    CHECK(cid > 0);
    memset(addr, 0x77, CS_PAGE_SIZE);
    CHECK_EQ(cs_free(1, &cid), 0);
    if (no_recycling)
        WITHIN(SOON_MS, counted("containers_owned") == 0);
    CHECK((again = cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW)) > 0);
    CHECK_EQ(again == cid, !no_recycling);
    CHECK(all_are(addr, CS_PAGE_SIZE, 0x77));
    if (protection != CS_COOPERATIVE)
        CHECK_EQ(counted("bytes_zeroed"), CS_PAGE_SIZE); /* the first time */
    host_end();
}

TEST(cooperative_the_last_owner_finds_what_it_left) { the_last_owner_finds_what_it_left(CS_COOPERATIVE, false); }
TEST(write_revoked_the_last_owner_finds_what_it_left) { the_last_owner_finds_what_it_left(CS_WRITE_REVOKED, false); }
TEST(strict_the_last_owner_finds_what_it_left) { the_last_owner_finds_what_it_left(CS_STRICT, false); }
TEST(write_revoked_the_last_owner_finds_it_in_the_pool) { the_last_owner_finds_what_it_left(CS_WRITE_REVOKED, true); }
TEST(strict_the_last_owner_finds_it_in_the_pool) { the_last_owner_finds_what_it_left(CS_STRICT, true); }

/* One who never looked at its new container cannot show its accomplice what is in it. */
static void pass_on_unseen(void)
{
    int fd = channel_end("accomplices", SOON_MS), cid = cs_alloc(CS_PAGE_SIZE, NULL, 0);
    CHECK(cid > 0);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
}

static void secrets_do_not_travel(uint32_t protection)
{
    static uint8_t payload[16 * CS_PAGE_SIZE];
    int cid, len = 2000, off = 0, size;
    void *addr;
    struct cs_args args = {&cid, NULL, NULL, &size, &addr};
    host_with_secrets(protection, CS_ZERO_EDGES);
    pid_t pid = neighbour(pass_on_unseen);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("accomplices", SOON_MS), out = host_open(HOST_PORT, SOON_MS);
    CHECK_EQ(cs_read(fd, BIG, 1, &args, CS_MAPALL), 1);
    CHECK(all_are(addr, size, 0));
    end_of(pid);
    /* nor to another host */
    CHECK((cid = cs_alloc(CS_PAGE_SIZE, NULL, 0)) > 0);
    CHECK_EQ(cs_write(out, 1, &cid, &off, &len, 0), 0);
    CHECK_EQ(station_receive(payload, SOON_MS), len);
    CHECK(all_are(payload, len, 0));
    host_end();
}

TEST(write_revoked_secrets_do_not_travel) { secrets_do_not_travel(CS_WRITE_REVOKED); }
TEST(strict_secrets_do_not_travel) { secrets_do_not_travel(CS_STRICT); }

/* Without recycling what is freed is the manager's at once, and a mapping ends with its container. */
static void without_recycling(uint32_t protection)
{
    int pipes[2];
    void *addr;
    host.protection = protection;
    host.no_recycling = true;
    host_start();
    CHECK_EQ(pipe(pipes), 0);
    int cid = cs_alloc(2 * CS_PAGE_SIZE, &addr, CS_MAPNOW);
    CHECK(cid > 0);
    CHECK_EQ(write(pipes[1], addr, 1), 1);
    CHECK_EQ(cs_unmap(1, &cid), 0);
    CHECK(write(pipes[1], addr, 1) < 0 && errno == EFAULT);
    CHECK_EQ(cs_map(1, &cid, &addr, 0), 0);
    CHECK_EQ(cs_free(1, &cid), 0);
    CHECK(write(pipes[1], addr, 1) < 0 && errno == EFAULT);
    WITHIN(SOON_MS, counted("containers_owned") == 0);
    host_end();
}

TEST(cooperative_without_recycling) { without_recycling(CS_COOPERATIVE); }
TEST(strict_without_recycling) { without_recycling(CS_STRICT); }

TEST(with_recycling_what_is_freed_stays_with_the_process)
{
    host_start();
    int cid = cs_alloc(3 * CS_PAGE_SIZE, NULL, 0);
    CHECK(cid > 0);
    CHECK_EQ(cs_free(1, &cid), 0);
    CHECK_EQ(cs_alloc(3 * CS_PAGE_SIZE, NULL, 0), cid);
    host_end();
}

TEST(allocations_are_counted_by_where_they_were_found)
{
    int fd = memfd_create("counters", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(fd, CS_COUNTERS_BYTES), 0);
    struct cs_counters *counters = cs_counters_open(fd);
    CHECK(counters != NULL);
    host_start();
    cs_count_allocations(counters);
    int large = cs_alloc(3 * CS_PAGE_SIZE, NULL, 0), one = cs_alloc(1, NULL, 0), ahead = cs_alloc(1, NULL, 0);
    CHECK(large > 0 && one > 0 && ahead > 0);
    CHECK_EQ(cs_count_value(cs_counter_get(counters, "allocated_pool")), 3);
    CHECK_EQ(cs_count_value(cs_counter_get(counters, "allocated_recycled")), 0);
    CHECK_EQ(cs_free(2, (int[]){large, one}), 0);
    CHECK_EQ(cs_alloc(3 * CS_PAGE_SIZE, NULL, 0), large);
    CHECK_EQ(cs_alloc(1, NULL, 0), one);
    CHECK_EQ(cs_count_value(cs_counter_get(counters, "allocated_pool")), 3);
    CHECK_EQ(cs_count_value(cs_counter_get(counters, "allocated_recycled")), 2);
    host_end();
    cs_counters_close(counters);
    close(fd);
}
