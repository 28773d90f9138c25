/* Datagrams in fragments as a manager and its processes see them. */
#define _GNU_SOURCE
#include "corpus.h"
#include "fragments.h"

enum { SMALLEST = 552, ETHERNET = 1480, FDDI = 4328, CASES = 50 };

/* A datagram in pieces of that size, in order. */
static void send_in_pieces(uint16_t id, const uint8_t *datagram, uint32_t bytes, uint32_t piece)
{
    for (uint32_t from = 0; from < bytes; from += piece)
        station_fragment(0, id, datagram, from, from + piece < bytes ? from + piece : bytes, from + piece < bytes);
}

/* One fragment as corpus/fragments.txt writes it. */
static void send_as_written(const char *text, uint16_t id, uint8_t datagram[STATIONS][ALL])
{
    int station = text[0] == 'b', used;
    unsigned from, to;
    CHECK_EQ(sscanf(text + station, "%u-%u%n", &from, &to, &used), 2);
    const char *marks = text + station + used;
    bool lies = strchr(marks, '=');
    uint8_t *byte = &datagram[station][lies ? 5 : from], right = *byte;
    if (lies)
        *byte = (uint8_t)(right + 16);
    else if (strchr(marks, '!'))
        *byte = (uint8_t)~right;
    station_fragment(station, id, datagram[station], from, to, strchr(marks, '+'));
    *byte = right;
}

TEST(every_case_of_the_corpus_ends_as_it_says)
{
    static uint8_t datagram[STATIONS][ALL];
    char line[CORPUS_LINE], name[32];
    unsigned delivered, dropped, bytes;
    uint16_t cases = 0;
    int fd = fragments_start(), used;
    FILE *file = corpus_open("fragments.txt");
    while (corpus_line(file, line)) {
        CHECK_EQ(sscanf(line, "%u %u %31s %u%n", &delivered, &dropped, name, &bytes, &used), 4);
        char drop[64], *rest = line + used, *text;
        snprintf(drop, sizeof drop, "drop_%s", name);
        uint64_t before = counted(drop), all_before = all_drops();
        for (int i = 0; i < STATIONS; i++)
            frame_datagram(datagram[i], station_ip[i], THEIR_PORT, HOST_PORT, bytes - CS_UDP_BYTES);
        *strchrnul(rest, '#') = 0;
        while ((text = strsep(&rest, " \n")))
            if (*text)
                send_as_written(text, cases, datagram);
        corpus_says(line, read_all(fd, (int)(bytes - CS_UDP_BYTES), 0), delivered);
        give_up_waiting(fd);
        corpus_says(line, (int64_t)(counted(drop) - before), dropped);
        corpus_says(line, (int64_t)(all_drops() - all_before), dropped);
        cases++;
    }
    CHECK(cases > CASES);
    fclose(file);
    host_end();
}

/* As Figure 3 of the paper has it: where a container's data is, in a page that is as the adapter left it. */
static void check_message(int fd, const uint8_t *datagram, uint32_t bytes, uint32_t piece)
{
    int cids[CS_DATAGRAM_PARTS], offs[CS_DATAGRAM_PARTS], lens[CS_DATAGRAM_PARTS], sizes[CS_DATAGRAM_PARTS], k = 0;
    void *addrs[CS_DATAGRAM_PARTS];
    struct cs_args args = {cids, offs, lens, sizes, addrs};
    int n = cs_read(fd, ALL, CS_DATAGRAM_PARTS, &args, CS_MAPALL);
    for (uint32_t at = 0; at < bytes; at += piece) {
        uint32_t left = at + piece < bytes ? piece : bytes - at, off = WIRE_HEADROOM + CS_ETH_BYTES + CS_IPV4_BYTES;
        for (uint32_t len, used = 0; used < left; used += len, off = WIRE_HEADROOM, k++) {
            len = CS_PAGE_SIZE - off < left - used ? CS_PAGE_SIZE - off : left - used;
            uint32_t header = at + used == 0 ? CS_UDP_BYTES : 0;
            CHECK(k < n);
            CHECK_EQ(offs[k], off + header);
            CHECK_EQ(lens[k], len - header);
            CHECK_EQ(sizes[k], CS_PAGE_SIZE);
            CHECK(memcmp((uint8_t *)addrs[k] + offs[k], datagram + at + used + header, len - header) == 0);
        }
    }
    CHECK_EQ(n, k);
    CHECK_EQ(cs_free(n, cids), 0);
}

TEST(it_arrives_as_one_message_of_containers_that_nobody_copied)
{
    static const uint32_t pieces[] = {SMALLEST, ETHERNET, FDDI};
    static uint8_t datagram[ALL];
    uint16_t id = 0;
    int fd = fragments_start();
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (uint32_t bytes = pieces[i] + 1; bytes <= ALL; bytes = bytes == ALL ? ALL + 1 : bytes * 3 < ALL ? bytes * 3 : ALL) {
            frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT, bytes - CS_UDP_BYTES);
            send_in_pieces(id++, datagram, bytes, pieces[i]);
            check_message(fd, datagram, bytes, pieces[i]);
        }
    CHECK_EQ(all_drops(), 0);
    give_up_waiting(fd);
    host_end();
}

TEST(what_does_not_fit_is_cut_off_and_freed)
{
    static uint8_t datagram[ALL];
    int cids[8], lens[8], fd = fragments_start();
    struct cs_args args = {.cids = cids, .lens = lens};
    uint32_t bytes = frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT, 20000);
    send_in_pieces(1, datagram, bytes, ETHERNET);
    CHECK_EQ(cs_read(fd, ALL, 2, &args, 0), 2);
    CHECK_EQ(lens[0] + lens[1], 2 * ETHERNET - CS_UDP_BYTES);
    CHECK_EQ(cs_free(2, cids), 0);
    send_in_pieces(2, datagram, bytes, ETHERNET);
    CHECK_EQ(cs_read(fd, 3000, 8, &args, 0), 3);
    CHECK_EQ(lens[0] + lens[1] + lens[2], 3000);
    CHECK_EQ(cs_free(3, cids), 0);
    give_up_waiting(fd);
    host_end();
}

TEST(a_small_queue_has_room_for_the_largest)
{
    static uint8_t datagram[ALL], bytes[ALL];
    fragments_start();
    int fd = cs_open_udp(frame_us.ip, HOST_PORT + 1, 0, 0, CS_MIN_QUEUE, SOON_MS);
    frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT + 1, CS_UDP_MOST);
    send_in_pieces(1, datagram, ALL, SMALLEST);
    CHECK_EQ(read_whole(fd, bytes), CS_UDP_MOST);
    CHECK(memcmp(bytes, datagram + CS_UDP_BYTES, CS_UDP_MOST) == 0);
    host_end();
}

TEST(a_datagram_for_nobody_is_counted_once)
{
    static uint8_t datagram[ALL];
    int fd = fragments_start();
    uint32_t bytes = frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT + 1, 9000);
    send_in_pieces(1, datagram, bytes, ETHERNET);
    CHECK_EQ(read_all(fd, 0, 0), 0);
    CHECK_EQ(counted("drop_no_port"), 1);
    CHECK_EQ(all_drops(), 1);
    CHECK_EQ(counted("fragments_in"), (bytes + ETHERNET - 1) / ETHERNET);
    give_up_waiting(fd);
    host_end();
}

TEST(a_sender_without_checksums_is_believed)
{
    static uint8_t datagram[ALL], bytes[ALL];
    int fd = fragments_start();
    uint32_t count = frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT, 5000);
    datagram[6] = datagram[7] = 0;
    datagram[4000] ^= 1;
    send_in_pieces(1, datagram, count, ETHERNET);
    CHECK_EQ(read_whole(fd, bytes), 5000);
    CHECK(memcmp(bytes, datagram + CS_UDP_BYTES, 5000) == 0);
    host_end();
}

static bool manager_sleeps(void)
{
    char path[64], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)host.manager);
    FILE *file = fopen(path, "r");
    CHECK(file && fscanf(file, "%*d %*s %c", &state) == 1);
    fclose(file);
    return state == 'S';
}

/* What waits in front of a manager that did not run is not late. */
TEST(time_that_the_manager_did_not_have_does_not_count)
{
    static uint8_t datagram[ALL];
    int fd = fragments_start(), status;
    uint32_t bytes = frame_datagram(datagram, station_ip[0], THEIR_PORT, HOST_PORT, 2000);
    station_fragment(0, 1, datagram, 0, ETHERNET, true);
    CHECK_EQ(read_all(fd, 0, 0), 0);
    WITHIN(SOON_MS, manager_sleeps());
    CHECK_EQ(kill(host.manager, SIGSTOP), 0);
    CHECK_EQ(waitpid(host.manager, &status, WUNTRACED), host.manager);
    station_fragment(0, 1, datagram, ETHERNET, bytes, false);
    *ahead_s += 2;
    CHECK_EQ(kill(host.manager, SIGCONT), 0);
    CHECK_EQ(read_all(fd, 2000, 0), 1);
    CHECK_EQ(all_drops(), 0);
    host_end();
}
