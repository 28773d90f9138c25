/* Fragments in any order, lost, copied, forged, mixed up with those of other datagrams and other stations, the same each
 * time. What is delivered is what was sent; what is not leaves nothing behind. */
#define _GNU_SOURCE
#include "fragments.h"

enum { ROUNDS = 6000, DATAGRAMS = 2, PIECES = 20, SENT = 4 * DATAGRAMS * PIECES, PIECE_MOST = 7504 };

struct sending {
    int station, datagram;
    uint16_t id;
    uint32_t from, to;
    bool more;
};

static uint8_t datagram[DATAGRAMS][ALL];
static uint32_t bytes[DATAGRAMS];
static struct sending list[SENT];
static uint32_t sendings;
static uint16_t first_id; /* of two, which no round before had: it would be remembered */

static void attached(void)
{
}

static uint32_t some_length(void)
{
    static const uint32_t edges[] = {1, 8, 9, 1472, 1473, 4320, 4321, 65506, 65507};
    uint32_t len = below(2) ? edges[below(sizeof edges / sizeof *edges)] : 1 + below(below(2) ? 65507 : 3000);
    return len == CLOSING_BYTES ? len + 1 : len;
}

static void add(struct sending s)
{
    if (sendings < SENT)
        list[sendings++] = s;
}

/* A datagram cut up anywhere; the last piece is what is left. */
static void cut_up(int number)
{
    struct sending s = {.station = (int)below(STATIONS), .datagram = number, .id = (uint16_t)(first_id + below(2))};
    uint32_t len = some_length(), least = (len / PIECES + 8) & ~7u;
    bytes[number] = frame_datagram(datagram[number], station_ip[s.station], THEIR_PORT, HOST_PORT, len);
    for (; s.to < bytes[number]; add(s)) {
        uint32_t count = least + 8 * below(below(2) ? 4 : 1 + (PIECE_MOST - least) / 8);
        s.from = s.to;
        s.more = s.from + count < bytes[number];
        s.to = s.more ? s.from + count : bytes[number];
    }
}

static void swap(uint32_t a, uint32_t b)
{
    struct sending s = list[a];
    list[a] = list[b];
    list[b] = s;
}

/* What the network, or somebody else in it, does to them. */
static void spoil(void)
{
    uint32_t whole = sendings;
    for (uint32_t changes = below(3) ? 0 : 1 + below(3); changes > 0; changes--) {
        struct sending s = list[below(whole)];
        switch (below(5)) {
        case 0: /* lost */
            swap(below(sendings), sendings - 1);
            sendings -= sendings > 1;
            break;
        case 1: /* copied */
            add(s);
            break;
        case 2: /* forged: what it says of itself */
            s.more = below(2);
            s.from = below(bytes[s.datagram]) & ~7u;
            s.to = s.from + below(bytes[s.datagram] - s.from < 3000 ? bytes[s.datagram] - s.from + 1 : 3000);
            add(s);
            break;
        case 3: /* forged: whose it is */
            s.station = !s.station;
            add(s);
            break;
        default:
            s.id ^= 1;
            add(s);
        }
    }
    if (below(2))
        for (uint32_t i = sendings; i > 1; i--)
            swap(i - 1, below(i));
}

static void send_one(const struct sending *s)
{
    uint8_t frame[FRAME_MAX];
    uint32_t count = frame_fragment(frame, station_ip[s->station], s->id, s->from, s->more, datagram[s->datagram] + s->from,
                                    s->to - s->from);
    if (below(100) == 0 && (s->from > 0 || s->more)) /* in one piece, its checksum is the adapter's to verify */
        frame[34 + below(count - 33)] ^= (uint8_t)(1 << below(8));
    if (below(100) == 0)
        count = 1 + below(count);
    if (below(100) == 0) {
        frame[14 + below(20)] = (uint8_t)random64();
        frame_checksum(frame);
    }
    CHECK_EQ(send(host.wire, frame, count, 0), count);
}

TEST(any_fragments_are_delivered_as_they_were_sent_or_dropped_by_name)
{
    uint64_t delivered = 0;
    int fd = fragments_start();
    /* with two on the host, what waits for one does not stop what arrives, and nothing of it is lost on the wire */
    pid_t another = neighbour(attached);
    for (int round = 0; round < ROUNDS; round++) {
        sendings = 0;
        first_id += 2;
        for (int i = 0; i < DATAGRAMS; i++)
            cut_up(i);
        spoil();
        for (uint32_t i = 0; i < sendings; i++)
            send_one(&list[i]);
        delivered += (uint64_t)read_all(fd, (int)(bytes[0] - CS_UDP_BYTES), (int)(bytes[1] - CS_UDP_BYTES));
        if (below(4) == 0)
            give_up_waiting(fd);
        WITHIN(SOON_MS, counted("containers_free") + counted("containers_receiving") + counted("containers_owned") == HOST_POOL);
    }
    give_up_waiting(fd);
    CHECK(delivered > ROUNDS);
    const char *const drops[] = {"bad_header", "bad_fragment", "reassembly_timeout", "reassembly_overlap", "checksum"};
    for (size_t i = 0; i < sizeof drops / sizeof *drops; i++) {
        char name[64];
        snprintf(name, sizeof name, "drop_%s", drops[i]);
        CHECK(counted(name) > 10);
    }
    CHECK_EQ(counted("drop_wire_no_page"), 0);
    end_of(another);
    host_end();
}
