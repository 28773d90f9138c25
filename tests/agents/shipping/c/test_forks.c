/* A process that forks while it is attached: what its child can do, and that it does not keep its parent alive. */
#define _GNU_SOURCE
#include "host.h"

#include <fcntl.h>
#include <sys/syscall.h>

/* -1: any child */
static void check_exit(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) > 0);
    CHECK_EQ(status, 0);
}

TEST(a_child_is_not_attached_and_may_attach_itself)
{
    host_start();
    int fd = host_open(HOST_PORT, SOON_MS), cid = cs_alloc(1, NULL, 0), zero = 0, one = 1;
    uint8_t payload[FRAME_MAX];
    pid_t pid = child();
    if (pid == 0) {
        void *addr;
        struct cs_args args = {.cids = &cid};
        CHECK_EQ(cs_alloc(1, &addr, CS_MAPNOW), -ENOTCONN);
        CHECK_EQ(cs_map(1, &cid, &addr, 0), -ENOTCONN);
        CHECK_EQ(cs_free(1, &cid), -EBADF);
        CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), -EBADF);
        CHECK_EQ(cs_read(fd, 1, 1, &args, 0), -EBADF);
        CHECK_EQ(cs_ready(fd), -EBADF);
        CHECK_EQ(cs_close(fd), -EBADF);
        CHECK_EQ(cs_open_channel("any", 16, 0), -ENOTCONN);
        CHECK_EQ(cs_manager_fd(), -ENOTCONN);
        cs_flush();
        cs_detach();
        CHECK_EQ(cs_attach(host.socket), 0);
        CHECK_EQ(cs_map(1, &cid, &addr, 0), -EPERM);
        CHECK((cid = cs_alloc(1, NULL, 0)) > 0);
        CHECK_EQ(cs_free(1, &cid), 0);
        cs_detach();
        _exit(0);
    }
    check_exit(pid);
    CHECK_EQ(cs_write(fd, 1, &cid, &zero, &one, 0), 0); /* its parent notices nothing of all that */
    CHECK_EQ(station_receive(payload, SOON_MS), 1);
    host_end();
}

/* Its end is that of the test, also of one that fails: the other end of the pipe closes. */
static int leash[2];

static void live_on(void)
{
    char byte;
    close(leash[1]);
    if (read(leash[0], &byte, 1) < 0)
        _exit(1);
    _exit(0);
}

static void hold_and_fork(void)
{
    host_open(HOST_PORT, -1);
    CHECK(cs_alloc(5 * CS_PAGE_SIZE, NULL, 0) > 0);
    if (fork() == 0)
        live_on();
}

/* Past the C library, so that nobody hears of it: the child has all descriptors and mappings of its parent. */
static void hold_and_clone(void)
{
    host_open(HOST_PORT, -1);
    CHECK(cs_alloc(5 * CS_PAGE_SIZE, NULL, 0) > 0);
    if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) == 0)
        live_on();
}

static void check_comes_back(void (*hold)(void))
{
    host_start();
    CHECK_EQ(pipe2(leash, O_CLOEXEC), 0);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    uint64_t attached = counted("processes_attached");
    pid_t pid = neighbour(hold);
    CHECK_EQ(counted("containers_owned"), 1);
    CHECK_EQ(counted("endpoints_open"), 1);
    end_of(pid);
    WITHIN(SOON_MS, counted("processes_attached") == attached); /* the last that is counted of its end */
    CHECK_EQ(counted("containers_owned") + counted("endpoints_open"), 0);
    CHECK_EQ(waitpid(-1, NULL, WNOHANG | __WALL), 0); /* its child lives */
    int fd = host_open(HOST_PORT, SOON_MS), cid; /* and its port is free */
    station_send(HOST_PORT, 10);
    CHECK_EQ(cs_read(fd, 10, 1, &(struct cs_args){.cids = &cid}, 0), 1);
    close(leash[1]);
    check_exit(-1);
    close(leash[0]);
    host_end();
}

TEST(what_a_killed_process_held_comes_back_while_its_child_lives)
{
    check_comes_back(hold_and_fork);
}

TEST(what_a_killed_process_held_comes_back_while_a_clone_has_its_socket)
{
    check_comes_back(hold_and_clone);
}
