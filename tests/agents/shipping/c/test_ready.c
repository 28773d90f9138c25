/* Waiting with poll(2): cs_ready, poll, cs_ready. */
#define _GNU_SOURCE
#include "host.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

static int told(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, ms);
}

static void take_one(int fd)
{
    int cid;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_read(fd, FRAME_MAX, 1, &args, CS_DONTWAIT), 1);
    CHECK_EQ(cs_free(1, &cid), 0);
}

/* The library hears the doorbell: with a message that comes just before that, once. */
static int message_before_hearing = -1;

int epoll_wait(int fd, struct epoll_event *events, int most, int ms)
{
    if (fd == message_before_hearing) {
        message_before_hearing = -1;
        station_send(HOST_PORT, 10);
        WITHIN(SOON_MS, counted("datagrams_in") == 1);
        told(fd, 100); /* until it rings, if it was asked to */
    }
    return (int)syscall(SYS_epoll_pwait, fd, events, most, ms, NULL, 0);
}

TEST(a_message_that_comes_while_the_doorbell_is_heard_is_not_missed)
{
    host_start();
    int fd = host_open(HOST_PORT, 0);
    message_before_hearing = fd;
    CHECK_EQ(cs_ready(fd), 1);
    CHECK_EQ(message_before_hearing, -1);
    take_one(fd);
    host_end();
}

TEST(who_asked_is_told_of_the_next_message_and_only_of_that)
{
    host_start();
    int fd = host_open(HOST_PORT, 0);
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(cs_ready(fd), 0);
        CHECK_EQ(told(fd, 0), 0);
        station_send(HOST_PORT, 10);
        CHECK_EQ(told(fd, SOON_MS), 1);
        CHECK_EQ(cs_ready(fd), 1);
        take_one(fd);
    }
    host_end();
}

TEST(what_came_before_anybody_asked_is_ready)
{
    host_start();
    int fd = host_open(HOST_PORT, 0);
    station_send(HOST_PORT, 10);
    WITHIN(SOON_MS, counted("datagrams_in") == 1);
    CHECK_EQ(cs_ready(fd), 1);
    take_one(fd);
    CHECK_EQ(cs_ready(fd), 0);
    host_end();
}

/* The station sends as the reader falls asleep, over and over: a wake-up that is lost shows as a time-out. */
TEST(no_wakeup_is_lost_while_messages_come)
{
    enum { MESSAGES = 5000, AHEAD = 32 };
    host_start();
    int fd = host_open(HOST_PORT, 0);
    _Atomic int *taken = mmap(NULL, sizeof *taken, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(taken != MAP_FAILED);
    pid_t station = child();
    if (station == 0) {
        for (int sent = 0; sent < MESSAGES; sent++) {
            /* one, two, ... AHEAD messages in flight, so that it happens with an empty queue and with a full one */
            while (sent - atomic_load(taken) > sent % AHEAD)
                poll(NULL, 0, 0);
            station_send(HOST_PORT, 10);
        }
        _exit(0);
    }
    for (int i = 0; i < MESSAGES; i++) {
        while (cs_ready(fd) == 0)
            CHECK_EQ(told(fd, SOON_MS), 1);
        take_one(fd);
        atomic_fetch_add(taken, 1);
    }
    int status;
    CHECK_EQ(waitpid(station, &status, 0), station);
    CHECK_EQ(status, 0);
    host_end();
}

TEST(a_dead_manager_is_noticed_by_who_polls)
{
    host_start();
    int fd = host_open(HOST_PORT, 0);
    struct pollfd manager = {.fd = cs_manager_fd()};
    CHECK_EQ(cs_ready(fd), 0);
    CHECK_EQ(poll(&manager, 1, 0), 0);
    CHECK_EQ(kill(host.manager, SIGKILL), 0);
    CHECK_EQ(poll(&manager, 1, SOON_MS), 1);
    CHECK(manager.revents & POLLHUP);
    CHECK_EQ(cs_ready(fd), -EPIPE);
    CHECK_EQ(waitpid(host.manager, NULL, 0), host.manager);
    cs_detach();
    unlink(host.socket);
    rmdir(host.directory);
}

TEST(without_an_endpoint_there_is_nothing_to_wait_for)
{
    CHECK_EQ(cs_manager_fd(), -ENOTCONN);
    CHECK_EQ(cs_ready(3), -EBADF);
    host_start();
    int fd = host_open(HOST_PORT, 0);
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(cs_ready(fd), -EBADF);
    CHECK_EQ(cs_ready(-1), -EBADF);
    host_end();
}
