/* Each way by which a page gets from one owner to another, in every protection tier: who gave it cannot reach it any more,
 * who gets it sees nothing but what is for him. */
#define _GNU_SOURCE
#include "hostile.h"

#include "files.h"
#include "fragments.h"
#include "secrets.h"

/* A frame is two pages: of single ones a process keeps many. */
enum { WIDTH = 64, HEIGHT = 128, FRAME = WIDTH * HEIGHT, LARGE = 5 * CS_PAGE_SIZE, MINE = 0x31 };

static uint8_t came[ALL];

static uint32_t tier(void)
{
    const char *number = getenv("TIER");
    CHECK(number);
    return (uint32_t)atoi(number);
}

static void prepare(void)
{
    clock_start();
    host.protection = tier();
    host.zeroing = CS_ZERO_EDGES;
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
}

/* What was given away: the cooperative tier trusts us, write-revoked lets us look. */
static void check_out_of_reach(uint8_t *addr, int len)
{
    for (int at = 0; at < len; at += CS_PAGE_SIZE) {
        CHECK_EQ(peek(addr + at) < 0, tier() == CS_STRICT);
        CHECK_EQ(poke(addr + at), tier() == CS_COOPERATIVE);
    }
}

static int filled(int len, uint8_t **addr)
{
    void *at;
    int cid = cs_alloc(len, &at, CS_MAPNOW);
    CHECK(cid > 0);
    *addr = memset(at, MINE, (size_t)len);
    return cid;
}

static uint32_t dma; /* of the screen */

static int screen(void)
{
    struct cs_framebuffer geometry = {.width = WIDTH, .height = HEIGHT, .bits = 8, .dma = dma};
    int fd = cs_open_framebuffer("screen", SOON_MS);
    CHECK(fd >= 0);
    CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &geometry), 0);
    return fd;
}

static const uint8_t *shown(void)
{
    struct cs_framebuffer geometry;
    uint64_t number;
    int view = cs_view_framebuffer("screen");
    CHECK(view >= 0);
    CHECK_EQ(cs_read_frame(view, &geometry, &number, came, sizeof came), 0);
    close(view);
    return came;
}

/* What the device made of `len` bytes, once it has done with their container. */
static const uint8_t *through_udp(int cid, int len)
{
    int fd = host_open(HOST_PORT, SOON_MS);
    uint32_t fragments = 0;
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
    if ((uint32_t)len + CS_UDP_HEADROOM <= host_mtu) {
        CHECK_EQ(station_receive(came, SOON_MS), len);
        return came;
    }
    CHECK_EQ(station_receive_whole(came, host_mtu, &fragments), CS_UDP_BYTES + len);
    CHECK(fragments > 1);
    return came + CS_UDP_BYTES;
}

static const uint8_t *through_file(int cid, int len)
{
    int fd = file_writer("guarded"), file = open("guarded", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(read(file, came, sizeof came), len);
    close(file);
    CHECK_EQ(unlink("guarded"), 0);
    return came;
}

static const uint8_t *through_framebuffer(int cid, int len)
{
    int fd = screen();
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    return shown();
}

static const uint8_t *through_dma(int cid, int len)
{
    dma = 1;
    return through_framebuffer(cid, len);
}

typedef const uint8_t *device(int cid, int len);

static void given(device *through, int len)
{
    uint8_t *addr;
    prepare();
    host_start();
    int cid = filled(len, &addr);
    CHECK(all_are(through(cid, len), len, MINE));
    check_out_of_reach(addr, len);
    host_end();
}

TEST(a_datagram_that_was_sent_is_out_of_reach) { given(through_udp, CS_PAGE_SIZE); }
TEST(a_datagram_that_was_sent_in_fragments_is_out_of_reach) { given(through_udp, LARGE); }
TEST(what_was_written_to_a_file_is_out_of_reach) { given(through_file, LARGE); }
TEST(what_was_drawn_is_out_of_reach_until_asked_for) { given(through_framebuffer, FRAME); }
TEST(what_a_device_has_fetched_is_out_of_reach_until_asked_for) { given(through_dma, FRAME); }

/* No CPU copies it: the picture is in the pages that were given. */
TEST(what_a_device_shows_is_out_of_reach)
{
    uint8_t *addr;
    int len = FRAME;
    prepare();
    host_start();
    dma = 1;
    int fd = screen(), cid = filled(FRAME, &addr);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
    CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
    CHECK_EQ(counted("containers_sending"), 1);
    check_out_of_reach(addr, FRAME);
    CHECK_EQ(counted("containers_sending"), 1);
    const uint8_t *picture = shown();
    for (int i = 0; i < FRAME; i++)
        CHECK_EQ(picture[i], tier() == CS_COOPERATIVE && i % CS_PAGE_SIZE == 0 ? OURS + 1 : MINE);
    host_end();
}

/* What its owner never looked at, and nobody wrote: somebody else's secrets. */
static void unseen(device *through, int len)
{
    prepare();
    host_with_secrets(tier(), CS_ZERO_EDGES);
    CHECK_EQ(cs_attach(host.socket), 0);
    uint64_t before = counted("bytes_zeroed");
    int cid = cs_alloc(len, NULL, 0);
    CHECK(cid > 0);
    CHECK(all_are(through(cid, len), len, tier() == CS_COOPERATIVE ? SECRET : 0));
    CHECK_EQ(counted("bytes_zeroed") - before, tier() == CS_COOPERATIVE ? 0 : len);
    host_end();
}

TEST(nothing_unseen_leaves_in_a_datagram) { unseen(through_udp, CS_PAGE_SIZE); }
TEST(nothing_unseen_leaves_in_fragments) { unseen(through_udp, LARGE); }
TEST(nothing_unseen_gets_into_a_file) { unseen(through_file, LARGE); }
TEST(nothing_unseen_is_drawn) { unseen(through_framebuffer, FRAME); }
TEST(nothing_unseen_is_fetched_by_a_device) { unseen(through_dma, FRAME); }

static void strict_gets_nothing(device *through, int cid, int len)
{
    if (through == through_framebuffer || through == through_dma) {
        dma = through == through_dma;
        int fd = screen();
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
        CHECK_EQ(cs_ioctl(fd, CS_DRAIN, NULL), 0);
        CHECK_EQ(counted("framebuffer_bytes") + counted("containers_sending"), 0);
    } else if (through == through_file) {
        int fd = file_writer("guarded");
        CHECK_EQ(cs_write(fd, 1, &cid, NULL, &len, 0), 0);
        CHECK_EQ(cs_close(fd), -EPERM);
        CHECK_EQ(file_size("guarded"), 0);
        CHECK_EQ(unlink("guarded"), 0);
    } else {
        CHECK_EQ(cs_write(host_open(HOST_PORT, SOON_MS), 1, &cid, NULL, &len, 0), 0);
        cs_flush();
        WITHIN(SOON_MS, station_receive(came, 1) < 0 && counted("drop_bad_descriptor") == 1); /* it asks who we are first */
        CHECK_EQ(counted("datagrams_out"), 0);
    }
    CHECK_EQ(counted("drop_bad_descriptor"), 1);
    CHECK(counted("revocations_failed") >= 1);
    CHECK_EQ(counted("containers_withheld"), 1); /* of its pages, the one that is held */
}

/* A second mapping, of which the library does not know. */
static void held(device *through, int len)
{
    uint8_t *addr;
    prepare();
    host_start();
    int cid = filled(len, &addr);
    void *also = mremap(addr, 0, CS_PAGE_SIZE, MREMAP_MAYMOVE);
    CHECK_EQ(also == MAP_FAILED, tier() == CS_WRITE_REVOKED);
    if (tier() == CS_STRICT)
        strict_gets_nothing(through, cid, len);
    else
        CHECK(all_are(through(cid, len), len, MINE));
    host_end();
}

TEST(no_datagram_leaves_that_somebody_holds_on_to) { held(through_udp, LARGE); }
TEST(no_file_gets_what_somebody_holds_on_to) { held(through_file, LARGE); }
TEST(nothing_is_drawn_that_somebody_holds_on_to) { held(through_framebuffer, FRAME); }
TEST(nothing_is_kept_by_a_device_that_somebody_holds_on_to) { held(through_dma, FRAME); }

/* The containers of one message show nothing but its bytes; how many those are. */
static int only_the_message_shows(int fd)
{
    int cids[CS_DATAGRAM_PARTS], offs[CS_DATAGRAM_PARTS], lens[CS_DATAGRAM_PARTS], sizes[CS_DATAGRAM_PARTS], sum = 0, all = 0;
    void *addrs[CS_DATAGRAM_PARTS];
    struct cs_args args = {cids, offs, lens, sizes, addrs};
    uint64_t before = counted("bytes_zeroed");
    int n = cs_read(fd, ALL, CS_DATAGRAM_PARTS, &args, CS_MAPALL);
    CHECK(n >= 1);
    for (int i = 0; i < n; sum += lens[i], all += sizes[i++]) {
        int end = offs[i] + lens[i];
        CHECK(all_are(addrs[i], offs[i], 0) && all_are((uint8_t *)addrs[i] + end, sizes[i] - end, 0));
    }
    CHECK_EQ(counted("bytes_zeroed") - before, tier() == CS_COOPERATIVE ? 0 : all - sum);
    CHECK_EQ(cs_free(n, cids), 0);
    return sum;
}

TEST(fragments_show_nothing_but_their_datagram)
{
    static uint8_t datagram[ALL];
    prepare();
    host_with_secrets(tier(), CS_ZERO_EDGES);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = cs_open_udp(frame_us.ip, HOST_PORT, 0, 0, HOST_QUEUE, SOON_MS);
    CHECK(fd >= 0);
    for (int i = 0; i < 4 * HOST_QUEUE; i++) { /* the pages that nobody ever had are used up */
        station_send(HOST_PORT, 100);
        CHECK_EQ(only_the_message_shows(fd), 100);
    }
    uint32_t bytes = frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT, 9000);
    station_fragment(0, 7, datagram, 6000, bytes, false);
    station_fragment(0, 7, datagram, 0, 3000, true);
    station_fragment(0, 7, datagram, 3000, 6000, true);
    CHECK_EQ(only_the_message_shows(fd), 9000);
    host_end();
}

TEST(a_file_shows_nothing_but_its_bytes)
{
    prepare();
    file_make("guarded", 2 * CS_PAGE_SIZE + 100);
    host_with_secrets(tier(), CS_ZERO_EDGES);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = file_reader("guarded", SOON_MS), sum = 0;
    while (sum < 2 * CS_PAGE_SIZE + 100)
        sum += only_the_message_shows(fd);
    CHECK_EQ(sum, 2 * CS_PAGE_SIZE + 100);
    CHECK_EQ(unlink("guarded"), 0);
    host_end();
}

static void used_again(device *through)
{
    uint8_t *addr;
    void *again;
    prepare();
    host_start();
    int cid = filled(FRAME, &addr);
    through(cid, FRAME);
    CHECK_EQ(counted("containers_owned"), 1);
    CHECK_EQ(poke(addr), tier() == CS_COOPERATIVE); /* ours, but we have not asked for it */
    CHECK(cs_alloc(FRAME, &again, CS_MAPNOW) > 0);
    CHECK(again == addr && all_are(addr + 1, FRAME - 1, MINE) && poke(addr));
    CHECK_EQ(counted("containers_owned"), 1); /* it is that one */
    host_end();
}

TEST(what_a_frame_buffer_gives_back_can_be_used_again) { used_again(through_framebuffer); }
TEST(what_a_device_gives_back_can_be_used_again) { used_again(through_dma); }

/* Writes one container, gets it back through the channel, and writes it again. */
static void write_twice(void)
{
    uint8_t *addr;
    void *again;
    int fd = channel_end("path", SOON_MS), cid = filled(FRAME, &addr);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
    WITHIN(SOON_MS, cs_ring_ready(&cs_find(fd)->back) == 1);
    CHECK_EQ(poke(addr), tier() == CS_COOPERATIVE);
    CHECK((cid = cs_alloc(FRAME, &again, CS_MAPNOW)) > 0);
    CHECK(again == addr && poke(addr));
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
}

TEST(what_a_channel_gives_back_is_out_of_its_reader_s_reach)
{
    int cid;
    void *addr;
    struct cs_args args = {.cids = &cid, .addrs = &addr};
    prepare();
    host_start_manager();
    pid_t writer = other(write_twice);
    CHECK_EQ(cs_attach(host.socket), 0);
    int fd = channel_end("path", SOON_MS);
    CHECK_EQ(cs_read(fd, FRAME, 1, &args, CS_MAPALL), 1);
    CHECK(poke(addr));
    CHECK_EQ(cs_free(1, &cid), 0);
    cs_flush();
    args.addrs = NULL;
    CHECK_EQ(cs_read(fd, FRAME, 1, &args, 0), 1);
    check_out_of_reach(addr, FRAME); /* ours again, but we have not asked for it */
    CHECK_EQ(cs_map(1, &cid, &addr, 0), 0);
    CHECK(poke(addr));
    ended_well(writer);
    host_end();
}
