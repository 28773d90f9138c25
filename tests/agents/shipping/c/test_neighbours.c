/* A neighbour over minutes. */
#define _GNU_SOURCE
#include "clock.h"
#include "host.h"

static void write_one(int fd)
{
    int cid = cs_alloc(1, NULL, 0), zero = 0, one = 1;
    CHECK(cid > 0);
    CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), 0);
}

enum frame { NOTHING, REQUEST, DATAGRAM };

/* What comes within ms, left unanswered. */
static enum frame next_frame(int ms)
{
    uint8_t frame[FRAME_MAX];
    if (poll(&(struct pollfd){.fd = host.wire, .events = POLLIN}, 1, ms) != 1)
        return NOTHING;
    CHECK(recv(host.wire, frame, sizeof frame, 0) > 14);
    return frame[13] == 6 ? REQUEST : DATAGRAM;
}

/* An endpoint whose neighbour has answered. */
static int open_to_known(void)
{
    uint8_t payload[FRAME_MAX];
    int fd = host_open(HOST_PORT, SOON_MS);
    write_one(fd);
    CHECK_EQ(station_receive(payload, SOON_MS), 1);
    for (int i = 0; i < 3; i++) {
        write_one(fd);
        CHECK_EQ(next_frame(SOON_MS), DATAGRAM); /* and no more requests */
    }
    return fd;
}

TEST(a_neighbour_is_asked_again_after_a_minute_while_data_flows)
{
    uint8_t payload[FRAME_MAX];
    clock_start();
    host_start();
    int fd = open_to_known(), cid;
    struct cs_args args = {.cids = &cid};
    for (int minute = 0; minute < 5; minute++) {
        *ahead_s += 61;
        write_one(fd);
        CHECK_EQ(next_frame(SOON_MS), REQUEST);
        CHECK_EQ(next_frame(SOON_MS), DATAGRAM);
        *ahead_s += 2;
        write_one(fd);
        CHECK_EQ(station_receive(payload, SOON_MS), 1); /* it answers the second request on the way */
        station_send(HOST_PORT, 10); /* what comes after its answer has arrived, so the answer has */
        CHECK_EQ(cs_read(fd, 10, 1, &args, 0), 1);
        CHECK_EQ(cs_free(1, &cid), 0);
        write_one(fd);
        CHECK_EQ(next_frame(SOON_MS), DATAGRAM);
    }
    host_end();
}

TEST(a_neighbour_who_is_gone_is_forgotten_and_found_again)
{
    uint8_t payload[FRAME_MAX];
    clock_start();
    host_start();
    int fd = open_to_known(), unanswered = 0;
    *ahead_s += 61;
    for (write_one(fd); next_frame(SOON_MS) == REQUEST && next_frame(SOON_MS) == DATAGRAM; write_one(fd), unanswered++)
        *ahead_s += 2;
    CHECK_EQ(unanswered, CS_ARP_POLLS); /* then nothing is sent but requests */
    CHECK_EQ(station_receive(payload, SOON_MS), 1); /* it answers, and gets what had to wait */
    write_one(fd);
    CHECK_EQ(next_frame(SOON_MS), DATAGRAM);
    host_end();
}
