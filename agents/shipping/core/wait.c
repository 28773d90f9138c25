/* What a process sleeps on, and how it tells the manager to wake up. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "cs.h"
#include "fault.h"
#include "process.h"

void cs_ring_manager(void)
{
    const uint64_t one = 1;
    CS_FAULT("ring.before");
    if (write(cs_self.doorbell, &one, sizeof one) < 0) {
        /* full: it has been rung */
    }
    CS_FAULT("ring.rung");
}

void cs_written(struct cs_open *e)
{
    e->unflushed = cs_self.unflushed = true;
}

void cs_flush(void)
{
    bool ring = false;
    if (!cs_self.unflushed)
        return;
    cs_self.unflushed = false;
    CS_FAULT("flush.forgotten");
    for (uint32_t i = 0; i < cs_self.opened; i++) {
        struct cs_open *e = &cs_self.open[i];
        if (e->unflushed) {
            e->unflushed = false;
            ring |= cs_ring_needs_doorbell(&e->tx);
        }
    }
    if (ring)
        cs_ring_manager();
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What was rung is heard: the descriptor is readable again when more is. */
static int hear(const struct cs_open *e)
{
    struct epoll_event rung;
    return epoll_wait(e->fd, &rung, 1, 0) < 0 ? -errno : 0;
}

/* Sleep until the manager rings this endpoint. *until is when to give up; 0 before the first sleep.
 * 0, -ETIMEDOUT, -EINTR, or -EPIPE when the manager is gone. */
static int await(struct cs_open *e, int64_t *until)
{
    struct pollfd fds[2] = {{.fd = e->fd, .events = POLLIN}, {.fd = cs_self.control, .events = POLLIN}};
    int64_t left = -1;
    int err;
    if (e->timeout_ms >= 0) {
        int64_t now = now_ms();
        if (*until == 0)
            *until = now + e->timeout_ms;
        left = *until > now ? *until - now : 0;
    }
    CS_FAULT("sleep.before");
    int ready = poll(fds, 2, (int)left);
    CS_FAULT("sleep.woken");
    if (ready < 0)
        return -errno;
    if (fds[1].revents & (POLLHUP | POLLERR))
        return -EPIPE;
    if (fds[0].revents && (err = hear(e)) < 0)
        return err;
    CS_FAULT("sleep.heard");
    return ready ? 0 : -ETIMEDOUT;
}

/* Pieces to read: descriptors in the ring and the rest of one that was read in part. */
static int64_t readable(const struct cs_open *e)
{
    int64_t ready = cs_ring_ready(&e->rx);
    return ready < 0 ? ready : ready + (e->rest.cid != 0);
}

/* The manager holds back until we have caught up: we have. */
static void offer_room(struct cs_open *e)
{
    if (atomic_load_explicit(&e->rx.shared->crowded, memory_order_relaxed))
        cs_ring_manager();
}

/* Has the manager hung up? */
static bool manager_gone(void)
{
    struct pollfd manager = {.fd = cs_self.control};
    return poll(&manager, 1, 0) > 0;
}

static bool at_end(const struct cs_open *e)
{
    return cs_ring_ended(&e->rx) & CS_NO_MORE;
}

/* Ask for the doorbell, then look again: false if there is something to read after all. */
static bool ask_for_doorbell(struct cs_open *e)
{
    cs_flush();
    cs_ring_wait(&e->rx);
    CS_FAULT("wait.announced");
    if (cs_ring_ready(&e->rx) != 0 || at_end(e)) {
        cs_ring_awake(&e->rx);
        return false;
    }
    offer_room(e);
    return true;
}

/* Wait for something to read; how many pieces, or 0 at the end of a channel. */
int64_t cs_wait_readable(struct cs_open *e, int options)
{
    int64_t ready, until = 0;
    int err = 0;
    while ((ready = readable(e)) == 0) {
        if (at_end(e))
            return readable(e);
        if (options & CS_DONTWAIT) {
            /* not at the end of each batch that was read: it costs a system call */
            bool look = e->idle;
            e->idle = true;
            return look && manager_gone() ? -EPIPE : -EAGAIN;
        }
        if (err < 0)
            return err;
        if (ask_for_doorbell(e)) {
            err = await(e, &until);
            cs_ring_awake(&e->rx);
            if (readable(e) == 0)
                cs_return_all();
        }
    }
    e->idle = false;
    return ready;
}

/* Say that there is no room for count descriptors in the ring to the manager, then look again: false if there is. */
static bool ask_for_room(struct cs_open *e, int count)
{
    cs_flush();
    cs_ring_crowd(&e->tx);
    CS_FAULT("room.announced");
    if (cs_ring_space(&e->tx) >= count || cs_ring_ended(&e->rx) & CS_PEER_GONE) {
        cs_ring_uncrowd(&e->tx);
        return false;
    }
    return true;
}

/* Wait for room for count descriptors in the ring to the manager. */
int cs_wait_writable(struct cs_open *e, int count, int options)
{
    int64_t space, until = 0;
    int err = 0;
    for (;;) {
        if (cs_ring_ended(&e->rx) & CS_PEER_GONE)
            return cs_ring_end_error(&e->rx);
        if ((space = cs_ring_space(&e->tx)) < 0)
            return (int)space;
        if (space >= count)
            return 0;
        if (err < 0)
            return err;
        if (options & CS_DONTWAIT) {
            cs_flush();
            return manager_gone() ? -EPIPE : -EAGAIN;
        }
        if (ask_for_room(e, count)) {
            err = await(e, &until);
            cs_ring_uncrowd(&e->tx);
            CS_FAULT("room.heard");
        }
    }
}

int cs_wait_done(struct cs_open *e, uint32_t left)
{
    int64_t space, until = 0;
    int err = 0;
    cs_flush();
    while ((space = cs_ring_space(&e->tx)) >= 0 && (int64_t)e->tx.capacity - space > (int64_t)left && err == 0) {
        cs_ring_crowd(&e->tx);
        CS_FAULT("done.announced");
        if (cs_ring_space(&e->tx) == space)
            err = await(e, &until);
        cs_ring_uncrowd(&e->tx);
    }
    return space < 0 ? (int)space : err;
}

int cs_ready(int fd)
{
    struct cs_open *e = cs_find(fd);
    int err;
    if (!e)
        return -EBADF;
    if (e->write_only)
        return -EOPNOTSUPP;
    /* nothing comes unasked; a read of another size gets a part of it */
    if (e->file && (err = cs_file_ask(e, e->asked ? e->asked : CS_FILE_USUAL, 0)) < 0)
        return err;
    if (readable(e) == 0 && !at_end(e)) {
        /* what was rung before we ask is for what came before; what rings later must stay */
        if ((err = hear(e)) < 0)
            return err;
        CS_FAULT("ready.forgotten");
        cs_return_all();
        if (ask_for_doorbell(e))
            return manager_gone() ? -EPIPE : 0;
    }
    int64_t ready = readable(e);
    return ready < 0 ? (int)ready : 1;
}

int cs_writable(int fd)
{
    struct cs_open *e = cs_find(fd);
    int err = e ? cs_wait_writable(e, 1, CS_DONTWAIT) : -EBADF;
    if (err != -EAGAIN)
        return err < 0 ? err : 1;
    if ((err = hear(e)) < 0)
        return err;
    CS_FAULT("writable.forgotten");
    return !ask_for_room(e, 1);
}
