/* Hostile bytes and descriptors on the manager's socket, the same each time. */
#define _GNU_SOURCE
#include "fuzz_manager.h"

/* Files are closed by the kernel in its own time. */
static void close_files(uint32_t left)
{
    for (int i = 0; i < 60000 && m->files_closing > left; i++) {
        poll(NULL, 0, 1);
        one_pass();
    }
    CHECK(m->files_closing <= left);
}

/* A descriptor that nobody asked for must not stay open in the manager. */
static void send_with_descriptor(int control, void *data, size_t bytes, int fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof fd)];
        struct cmsghdr align;
    } ancillary = {0};
    struct iovec iov = {data, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = sizeof ancillary.bytes;
        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
            .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd)};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof fd);
    }
    CHECK_EQ(sendmsg(control, &message, 0), bytes);
}

TEST(any_bytes_on_the_managers_socket_harm_only_their_sender)
{
    start();
    add_bystander();
    int file = memfd_create("file", MFD_CLOEXEC), before;
    struct cs_reply own = {0};
    uint64_t answered = 0, refused = 0, files = 0;
    attach(&hostile);
    /* what files need is made for the first and stays */
    struct cs_request first = {.version = CS_LAYOUT_VERSION, .call = CS_CALL_OPEN_FILE};
    send_with_descriptor(hostile.control, &first, sizeof first, file);
    cs_control_serve(m, hostile.slot);
    CHECK(m->files);
    disconnect(&hostile);
    close_files(0);
    CHECK(!m->files);
    before = open_descriptors();
    for (int i = 0; i < 20000; i++) {
        struct { struct cs_request q; uint8_t more[16]; } message;
        struct cs_reply reply = {0};
        int fds[CS_REPLY_FDS];
        size_t bytes = sizeof message.q;
        if (i == 0 || m->process[hostile.slot] < 0) {
            if (i > 0) {
                check_nothing_left(&hostile);
                close(hostile.control);
            }
            attach(&hostile);
        }
        for (size_t k = 0; k < sizeof message; k++)
            ((uint8_t *)&message)[k] = (uint8_t)random64();
        if (below(8)) {
            message.q.version = CS_LAYOUT_VERSION;
            message.q.call = below(CS_CALLS + 1);
            if (message.q.call == CS_CALL_OPEN_UDP && below(2)) {
                message.q.udp.local = frame_us.ip;
                message.q.udp.remote = below(2) ? 0 : frame_them.ip + below(3);
                message.q.udp.queue = below(2) ? 16 + below(100) : some_number();
                message.q.udp.local_port = (uint16_t)(below(2) ? 9000 + below(100) : 0);
            }
            if (message.q.call == CS_CALL_CLOSE)
                message.q.endpoint = below(70);
            if (message.q.call == CS_CALL_OPEN_CHANNEL && below(8))
                message.q.channel.name[below(3)] = 0, message.q.channel.queue = 16 + below(100);
            if ((message.q.call == CS_CALL_OPEN_FRAMEBUFFER || message.q.call == CS_CALL_VIEW_FRAMEBUFFER) && below(8))
                memcpy(message.q.framebuffer.name, (char[2]){(char)('a' + below(6))}, 2);
            if (message.q.call == CS_CALL_IOCTL) {
                message.q.ioctl.endpoint = below(70);
                message.q.ioctl.request = below(4);
                if (below(4))
                    message.q.ioctl.geometry = (struct cs_framebuffer){
                        below(2) ? 0 : some_number(), below(2) ? 1 + below(99) : some_number(), 1 + below(99), 8 + 8 * below(4), below(3)};
            }
            if (message.q.call == CS_CALL_CUT && below(8)) {
                message.q.cut.cid = some_cid(&own);
                message.q.cut.pages = below(6);
            }
            if (message.q.call == CS_CALL_FREE && below(8))
                for (message.q.free.count = below(70); message.q.free.count > 0 && below(4); message.q.free.count--)
                    message.q.free.cids[below(CS_ALLOC_BATCH)] = some_cid(&own);
            if (message.q.call == CS_CALL_OPEN_FILE && below(4))
                message.q.file.writes = below(2), message.q.file.position = below(2) ? 0 : (uint64_t)INT64_MAX + below(2);
            if (message.q.call == CS_CALL_ALLOC)
                message.q.alloc.pages = 1 + below(6), message.q.alloc.count = below(70);
        }
        if (below(40) == 0)
            bytes = below(sizeof message);
        send_with_descriptor(hostile.control, &message, bytes, below(4) ? -1 : below(3) ? file : wire);
        cs_control_serve(m, hostile.slot);
        if (take_reply(hostile.control, &reply, fds)) {
            *(reply.error ? &refused : &answered) += 1;
            if (message.q.call == CS_CALL_ALLOC && !reply.error)
                own = reply;
            files += message.q.call == CS_CALL_OPEN_FILE && !reply.error;
            close_all(fds);
        }
        if (!cs_files_take(m)) /* disks are not that fast */
            close_files(m->files_closing / 2);
        if (i % 8 == 0) {
            check_pool(&m->pool);
            check_bystander();
        }
    }
    CHECK(answered > 1000 && refused > 1000 && files > 10);
    disconnect(&hostile);
    close_files(0);
    CHECK(!m->files);
    check_nothing_left(&hostile);
    CHECK(m->framebuffer[CS_FRAMEBUFFERS - 1]);
    cs_framebuffers_close(m); /* nobody has them open, but pictures stay */
    CHECK_EQ(open_descriptors(), before);
    finish();
}
