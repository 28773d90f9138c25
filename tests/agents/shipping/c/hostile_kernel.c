/* Attempts to have the kernel keep a page that is given away: in a pipe, in a socket, under way. Each leaves its outcome as
 * exit code (hostile.h). */
#define _GNU_SOURCE
#include "hostile.h"

#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sys/uio.h>

enum { SKIP = 77, JUNK = 192 << 10, ROOM = 32 << 10 };

TEST(keep_it_in_a_pipe_by_its_descriptor)
{
    int pipes[2];
    uint8_t bytes[LOOK] = {0};
    start_host_and_victim();
    own_one();
    bool cooperative = host.protection == CS_COOPERATIVE;
    int fd = a_descriptor();
    loff_t off = cooperative ? (loff_t)cs_cid_page((uint32_t)our.cid) * CS_PAGE_SIZE : 0;
    CHECK_EQ(pipe(pipes), 0);
    bool held = splice(fd, &off, pipes[1], NULL, LOOK, 0) == LOOK;
    if (!cooperative)
        close(fd);
    bool got = give_it();
    end_with(got, held && read(pipes[0], bytes, LOOK) == LOOK && are_theirs(bytes));
}

/* One who is not attached, so that nothing keeps it from doing so; it needs a descriptor. */
TEST(keep_it_in_a_pipe_of_an_accomplice)
{
    int pipes[2], way[2];
    uint8_t bytes[LOOK] = {0};
    start_host_and_victim();
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET, 0, way) == 0);
    pid_t pid = child();
    if (pid == 0) {
        loff_t off;
        int fd;
        CHECK_EQ(cs_message_receive(way[1], &off, sizeof off, &fd, 1), sizeof off);
        char held = splice(fd, &off, pipes[1], NULL, LOOK, 0) == LOOK ? 'y' : 'n';
        close(fd);
        CHECK_EQ(write(way[1], &held, 1), 1);
        pause();
    }
    own_one();
    bool cooperative = host.protection == CS_COOPERATIVE;
    loff_t off = cooperative ? (loff_t)cs_cid_page((uint32_t)our.cid) * CS_PAGE_SIZE : 0;
    int fd = a_descriptor();
    char held = 'n';
    if (fd >= 0) {
        CHECK(cs_message_send(way[0], &off, sizeof off, &fd, 1));
        CHECK_EQ(read(way[0], &held, 1), 1);
        if (!cooperative)
            close(fd);
    }
    bool got = give_it();
    kill(pid, SIGKILL);
    end_with(got, held == 'y' && read(pipes[0], bytes, LOOK) == LOOK && are_theirs(bytes));
}

static void hold_in_a_pipe(void)
{
    int pipes[2];
    uint8_t bytes[LOOK] = {0};
    own_one();
    CHECK_EQ(pipe(pipes), 0);
    struct iovec page = {our.addr, LOOK};
    bool held = vmsplice(pipes[1], &page, 1, 0) == LOOK, got = give_it();
    end_with(got, held && read(pipes[0], bytes, LOOK) == LOOK && are_theirs(bytes));
}

TEST(keep_it_in_a_pipe)
{
    start_host_and_victim();
    hold_in_a_pipe();
}

TEST(keep_it_in_a_pipe_unshielded)
{
    escape_the_shield();
    hold_in_a_pipe();
}

/* Pages that are registered with io_uring stay within its reach: only whether they can be is asked here. */
TEST(keep_it_registered_with_io_uring)
{
    start_host_and_victim();
    own_one();
    struct io_uring_params how = {0};
    struct iovec page = {our.addr, CS_PAGE_SIZE};
    int ring = (int)syscall(SYS_io_uring_setup, 4, &how);
    bool held = ring >= 0 && syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &page, 1) == 0;
    end_with(give_it(), held);
}

/* A connection whose sender has more to send than its receiver takes. What comes next stays in the sender, where it is. */
static struct {
    int sender, receiver;
} stuck;

static void get_stuck(void)
{
    static const uint8_t junk[JUNK];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    const int few = ROOM, many = 2 * JUNK, on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    stuck.sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listener >= 0 && stuck.sender >= 0);
    CHECK_EQ(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &few, sizeof few), 0);
    CHECK_EQ(setsockopt(stuck.sender, SOL_SOCKET, SO_SNDBUF, &many, sizeof many), 0);
    if (setsockopt(stuck.sender, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) < 0 ||
        bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&here, &size) < 0 ||
        connect(stuck.sender, (struct sockaddr *)&here, sizeof here) < 0)
        exit(SKIP); /* no loopback interface, or no copy-free sending */
    stuck.receiver = accept(listener, NULL, NULL);
    CHECK(stuck.receiver >= 0);
    CHECK_EQ(send(stuck.sender, junk, sizeof junk, 0), sizeof junk);
}

/* What the receiver gets of the page, now. */
static bool theirs_come_out(void)
{
    static uint8_t bytes[JUNK + LOOK];
    size_t all = 0;
    CHECK_EQ(shutdown(stuck.sender, SHUT_WR), 0);
    for (ssize_t got; all < sizeof bytes && (got = read(stuck.receiver, bytes + all, sizeof bytes - all)) > 0;)
        all += (size_t)got;
    return all == sizeof bytes && are_theirs(bytes + JUNK);
}

TEST(keep_it_in_a_socket_by_MSG_ZEROCOPY)
{
    start_host_and_victim();
    get_stuck();
    own_one();
    struct iovec page = {our.addr, LOOK};
    struct mmsghdr message = {.msg_hdr = {.msg_iov = &page, .msg_iovlen = 1}};
    bool held = send(stuck.sender, our.addr, LOOK, MSG_ZEROCOPY) == LOOK ||
                sendmsg(stuck.sender, &message.msg_hdr, MSG_ZEROCOPY) == LOOK ||
                sendmmsg(stuck.sender, &message, 1, MSG_ZEROCOPY) == 1;
    bool got = give_it();
    end_with(got, held && theirs_come_out());
}

/* What is under way when a page is given away ends in it: of these only whether anything can be put under way is asked, with
 * what was had before there was anything to keep. */
TEST(keep_it_under_way_by_a_ring_of_io_uring_that_it_had)
{
    start_host_and_victim();
    struct io_uring_params how = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 1, &how), file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (ring < 0)
        exit(SKIP);
    uint8_t *rings = mmap(NULL, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    struct io_uring_sqe *entry = mmap(NULL, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    CHECK(rings != MAP_FAILED && entry != MAP_FAILED);
    own_one();
    *entry = (struct io_uring_sqe){.opcode = IORING_OP_READ, .fd = file, .addr = (uintptr_t)our.addr, .len = LOOK};
    *(uint32_t *)(rings + how.sq_off.array) = 0;
    atomic_store((_Atomic uint32_t *)(rings + how.sq_off.tail), 1);
    bool held = syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1;
    end_with(give_it(), held);
}

TEST(keep_it_under_way_by_io_submit)
{
    aio_context_t context = 0;
    start_host_and_victim();
    if (syscall(SYS_io_setup, 1, &context) < 0)
        exit(SKIP);
    own_one();
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    struct iocb one = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = (uint32_t)file,
                       .aio_buf = (uintptr_t)our.addr, .aio_nbytes = LOOK}, *all = &one;
    bool held = syscall(SYS_io_submit, context, 1, &all) == 1;
    end_with(give_it(), held);
}
