/* A process that hands its manager files of a file system that it serves itself, and that never lets go of them. */
#define _GNU_SOURCE
#include "fuse.h"

#include "channel.h"
#include "core/messages.h"
#include "core/process.h"
#include "usage.h"

enum { MANY = 300 };

static _Atomic int *asked_to_close;
static int file;

static void start(void)
{
    asked_to_close = fuse_start();
    host_start();
    file = open("served/file", O_RDONLY | O_CLOEXEC);
    CHECK(file >= 0);
}

static void finish(void)
{
    fuse_end(); /* and all that waits for it fails */
    close(file);
    host_end();
    umount2("served", MNT_DETACH);
}

/* A request with two descriptors, whose answer comes. */
static int ask_with_file(struct cs_request q)
{
    const int given[] = {file, file};
    struct pollfd answer = {.fd = cs_self.control, .events = POLLIN};
    struct cs_reply reply;
    q.version = CS_LAYOUT_VERSION;
    CHECK(cs_message_send(cs_self.control, &q, sizeof q, given, 2));
    CHECK_EQ(poll(&answer, 1, SOON_MS), 1);
    int fds[CS_REPLY_FDS];
    CHECK_EQ(cs_message_receive(cs_self.control, &reply, sizeof reply, fds, CS_REPLY_FDS), sizeof reply);
    return reply.error;
}

static void others_go_on(void)
{
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS);
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(write_pattern(to, 0, 1000, i, 0), 0);
        CHECK_EQ(read_pattern(from, 1000, 1, i, 0, 0), 1000);
    }
    CHECK_EQ(cs_close(to) | cs_close(from), 0);
}

TEST(a_descriptor_that_nobody_asked_for_holds_nobody_up)
{
    start();
    CHECK_EQ(ask_with_file((struct cs_request){.call = CS_CALL_FREE}), 0);
    WITHIN(SOON_MS, *asked_to_close);
    others_go_on();
    finish();
}

TEST(a_file_that_is_refused_holds_nobody_up)
{
    start();
    CHECK_EQ(ask_with_file((struct cs_request){.call = CS_CALL_OPEN_FILE, .file = {0, 2}}), -EINVAL);
    WITHIN(SOON_MS, *asked_to_close);
    others_go_on();
    finish();
}

TEST(a_manager_has_no_more_files_that_are_being_closed_than_it_can_hold)
{
    start();
    int refused = 0;
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(ask_with_file((struct cs_request){.call = CS_CALL_FREE}), 0);
        refused += ask_with_file((struct cs_request){.call = CS_CALL_OPEN_FILE, .file = {0, 2}}) == -ENFILE;
    }
    CHECK(refused > 0);
    CHECK(descriptors_of(host.manager) < MANY);
    others_go_on();
    finish();
}
