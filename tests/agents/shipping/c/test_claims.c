/* Every descriptor of corpus/descriptors.txt to the check of a pool, and every request of corpus/requests.txt to a
 * manager. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sys/un.h>

#include "core/protocol.h"
#include "corpus.h"
#include "host.h"

enum { SENDER = 1, ANOTHER = 2 };

/* The pool that corpus/descriptors.txt describes. */
static void make_pool(struct cs_pool *p)
{
    CHECK_EQ(cs_pool_create(p, 8, CS_PAGE_SIZE, NULL), 0);
    for (uint32_t page = 0; page < 3; page++)
        CHECK_EQ(cs_pool_take_run(p, 1, page == 2 ? ANOTHER : SENDER), page);
    CHECK_EQ(cs_pool_take(p, CS_SENDING), 3);
    CHECK_EQ(cs_pool_take_run(p, 3, SENDER), 4);
    cs_pool_move(p, 1, SENDER, CS_OWNED);
}

TEST(every_descriptor_is_answered_as_the_corpus_says)
{
    char line[CORPUS_LINE], answer[16];
    uint32_t page, generation, off, len, count = 0;
    struct cs_pool pool;
    make_pool(&pool);
    FILE *file = corpus_open("descriptors.txt");
    for (; corpus_line(file, line); count++) {
        CHECK_EQ(sscanf(line, "%15s %u %u %u %u", answer, &page, &generation, &off, &len), 5);
        int64_t got = cs_pool_check(&pool, generation << CS_PAGE_BITS | page, off, len, SENDER);
        corpus_says(line, got, strcmp(answer, "ok") == 0 ? (int64_t)page : -EPERM);
    }
    CHECK(count > 30);
    fclose(file);
    cs_pool_destroy(&pool);
}

static const struct {
    const char *name;
    int error;
} answers[] = {
    {"OK", 0}, {"EPROTO", EPROTO}, {"ENOSYS", ENOSYS}, {"EINVAL", EINVAL}, {"EADDRNOTAVAIL", EADDRNOTAVAIL},
    {"ENETUNREACH", ENETUNREACH}, {"EADDRINUSE", EADDRINUSE}, {"EBADF", EBADF}, {"ENOBUFS", ENOBUFS},
    {"EPERM", EPERM},
};

static int answer_named(const char *name)
{
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (strcmp(name, answers[i].name) == 0)
            return -answers[i].error;
    CHECK(!"an answer of the corpus has no known name");
    return 0;
}

static struct cs_request read_request(const char *line, int *answer)
{
    char name[16], call[16], local[16], remote[16], channel[CS_CHANNEL_NAME + 1];
    struct cs_request q = {0};
    int from = 0;
    CHECK_EQ(sscanf(line, "%15s %u %15s %n", name, &q.version, call, &from), 3);
    const char *arguments = line + from;
    *answer = answer_named(name);
    if (strcmp(call, "attach") == 0)
        q.call = CS_CALL_ATTACH;
    else if (strcmp(call, "open") == 0) {
        q.call = CS_CALL_OPEN_UDP;
        CHECK_EQ(sscanf(arguments, "%15s %15s %hu %hu %u", local, remote, &q.udp.local_port, &q.udp.remote_port,
                        &q.udp.queue), 5);
        q.udp.local = ntohl(inet_addr(local));
        q.udp.remote = ntohl(inet_addr(remote));
    } else if (strcmp(call, "close") == 0) {
        q.call = CS_CALL_CLOSE;
        CHECK_EQ(sscanf(arguments, "%u", &q.endpoint), 1);
    } else if (strcmp(call, "alloc") == 0) {
        q.call = CS_CALL_ALLOC;
        CHECK_EQ(sscanf(arguments, "%u %u", &q.alloc.pages, &q.alloc.count), 2);
    } else if (strcmp(call, "channel") == 0) {
        q.call = CS_CALL_OPEN_CHANNEL;
        CHECK_EQ(sscanf(arguments, "%64s %u", channel, &q.channel.queue), 2);
        if (strcmp(channel, "-") != 0)
            memcpy(q.channel.name, channel, strnlen(channel, CS_CHANNEL_NAME));
    } else if (strcmp(call, "cut") == 0) {
        q.call = CS_CALL_CUT;
        CHECK_EQ(sscanf(arguments, "%u %u", &q.cut.cid, &q.cut.pages), 2);
    } else if (strcmp(call, "file") == 0) {
        q.call = CS_CALL_OPEN_FILE;
        CHECK_EQ(sscanf(arguments, "%lu %u", &q.file.position, &q.file.writes), 2);
    } else if (strcmp(call, "free") == 0) {
        q.call = CS_CALL_FREE;
        q.free.count = 1;
        CHECK_EQ(sscanf(arguments, "%u", &q.free.cids[0]), 1);
    } else
        CHECK_EQ(sscanf(call, "%u", &q.call), 1);
    return q;
}

TEST(every_request_is_answered_as_the_corpus_says)
{
    char line[CORPUS_LINE];
    uint32_t count = 0;
    host_start();
    CHECK_EQ(HOST_PORT, 9000);
    CHECK(host_open(HOST_PORT, SOON_MS) >= 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    strcpy(address.sun_path, host.socket);
    CHECK_EQ(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    FILE *file = corpus_open("requests.txt");
    for (; corpus_line(file, line); count++) {
        int answer;
        struct cs_request q = read_request(line, &answer);
        struct cs_reply reply;
        CHECK_EQ(send(fd, &q, sizeof q, 0), sizeof q);
        CHECK_EQ(recv(fd, &reply, sizeof reply, 0), sizeof reply); /* descriptors beside it are discarded */
        corpus_says(line, reply.error, answer);
    }
    CHECK(count > 50);
    fclose(file);
    close(fd);
    host_end(); /* what it was given is back */
}
