/* The manager's socket: processes attach, open and close endpoints, ask for containers. Untrusted requests. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "fault.h"
#include "manager.h"
#include "messages.h"
#include "protocol.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5, newer than the headers */
#endif

enum { FIRST_EPHEMERAL = 49152, MIN_DESCRIPTORS = CS_DATAGRAM_PARTS, ACCEPT_PAUSE_NS = 100000000 };

int cs_control_open(struct cs_manager *m, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    m->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (m->listener < 0)
        return -errno;
    if (fchmod(m->listener, 0600) < 0 || bind(m->listener, (struct sockaddr *)&address, sizeof address) < 0)
        return -errno;
    strcpy(m->socket, path); /* ours to unlink from here on */
    return listen(m->listener, CS_PROCESSES) < 0 ? -errno : 0;
}

/* A descriptor for the process at the other end of this socket, if it may attach, else -1. */
static int life_of(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    int life;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || (peer.uid != geteuid() && peer.uid != 0))
        return -1;
    size = sizeof life;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &life, &size) == 0)
        return life;
    return (int)syscall(SYS_pidfd_open, peer.pid, 0); /* Linux before 6.5 */
}

void cs_control_accept(struct cs_manager *m)
{
    int fd = accept4(m->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        /* out of descriptors or memory the listener stays readable, and we would do nothing but look at it */
        if (errno != EAGAIN && errno != EINTR)
            m->accept_after_ns = cs_now_ns() + ACCEPT_PAUSE_NS;
        return;
    }
    CS_FAULT("manager.accepted");
    int life = life_of(fd);
    for (uint32_t i = 0; life >= 0 && i < CS_PROCESSES; i++)
        if (m->process[i] < 0) {
            if ((m->bell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
                break;
            m->process[i] = fd;
            m->life[i] = life;
            m->shielded[i] = false;
            if (m->pool.guard)
                cs_guard_enter(m->pool.guard, (uint16_t)(i + 1));
            cs_count_set(m->attached, ++m->processes);
            return;
        }
    close(fd);
    if (life >= 0)
        close(life);
}

void cs_control_drop(struct cs_manager *m, uint32_t process)
{
    for (uint32_t i = 0; i < CS_ENDPOINTS; i++) {
        struct cs_endpoint *e = &m->endpoint[i];
        if (!e->used || e->process != process)
            continue;
        cs_endpoint_lose(m, e);
        cs_endpoint_close(m, e);
        CS_FAULT("manager.drop_closed");
    }
    close(m->process[process]);
    close(m->life[process]);
    close(m->bell[process]);
    m->process[process] = -1;
    m->processes--;
    CS_FAULT("manager.drop_hung_up");
    cs_count(m->reclaimed, cs_pool_reclaim(&m->pool, (uint16_t)(process + 1)));
    if (m->pool.guard)
        cs_guard_leave(&m->pool, (uint16_t)(process + 1));
    cs_count_set(m->attached, m->processes); /* who reads it finds all that was its given back */
    CS_FAULT("manager.drop_done");
}

void cs_control_end(struct cs_manager *m, uint32_t process)
{
    for (uint32_t i = 0; i < CS_ENDPOINTS; i++)
        if (m->endpoint[i].used && m->endpoint[i].process == process)
            cs_endpoint_send_last(m, &m->endpoint[i]);
    if (m->process[process] >= 0) /* not dropped for a broken ring */
        cs_control_drop(m, process);
}

/* Where the kernel sees our frames too (AF_PACKET), hold the port with a socket that takes nothing, or the
 * kernel would answer every datagram with "port unreachable". */
static int hold_port(const struct cs_endpoint *e)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(e->local_port), .sin_addr.s_addr = htonl(e->local)};
    const int smallest = 0;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &smallest, sizeof smallest) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static uint16_t choose_port(struct cs_manager *m, const struct cs_interface *i)
{
    for (uint32_t tries = 0; tries < 65536 - FIRST_EPHEMERAL; tries++) {
        uint16_t port = m->next_port;
        m->next_port = port == 65535 ? FIRST_EPHEMERAL : (uint16_t)(port + 1);
        if (!i->ports[port])
            return port;
    }
    return 0;
}

static int open_udp(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply, int *fds)
{
    struct cs_interface *interface = NULL;
    struct cs_endpoint *e;
    for (uint32_t i = 0; i < m->interfaces; i++)
        if (m->interface[i]->netif.address.ip == q->udp.local)
            interface = m->interface[i];
    if (!interface)
        return -EADDRNOTAVAIL;
    if (q->udp.queue < CS_MIN_QUEUE || q->udp.queue > CS_MAX_QUEUE || (q->udp.remote && !q->udp.remote_port))
        return -EINVAL;
    if (2 * q->udp.queue > m->pool.pages / 2) /* two pages a datagram */
        return -ENOBUFS;
    if (q->udp.remote && (q->udp.remote ^ q->udp.local) & interface->netif.mask)
        return -ENETUNREACH;
    if (!(e = cs_endpoint_unused(m)))
        return -EMFILE;
    uint16_t port = q->udp.local_port ? q->udp.local_port : choose_port(m, interface);
    if (port == 0 || interface->ports[port])
        return -EADDRINUSE;

    int err;
    uint32_t descriptors = 2 * q->udp.queue < MIN_DESCRIPTORS ? MIN_DESCRIPTORS : 2 * q->udp.queue;
    *e = (struct cs_endpoint){.process = (uint16_t)process, .local = q->udp.local, .remote = q->udp.remote,
                              .local_port = port, .remote_port = q->udp.remote_port, .doorbell = -1, .kernel_socket = -1};
    fds[0] = -1;
    if (e->remote && !(e->neighbour = cs_arp_hold(&interface->arp, e->remote, cs_now_ns()))) {
        err = -ENOBUFS;
        goto fail;
    }
    if ((err = cs_endpoint_rings(e, descriptors, false, &fds[0])) < 0)
        goto fail;
    if (interface->netif.backend == &cs_backend_packet && (err = e->kernel_socket = hold_port(e)) < 0)
        goto fail;
    if ((err = fds[1] = cs_endpoint_bell(e)) < 0)
        goto fail;
    char name[CS_COUNTER_NAME];
    snprintf(name, sizeof name, "ring_udp%u_backlog", port);
    e->backlog = cs_counter_get(m->counters, name);
    e->interface = interface;
    interface->ports[port] = (uint16_t)(e - m->endpoint + 1);
    return cs_endpoint_opened(m, e, reply);

fail:
    if (fds[0] >= 0)
        close(fds[0]);
    cs_endpoint_close(m, e);
    return err;
}

enum { CS_WAKE_KEEPERS_NS = 1000000 };

/* What came back to a process along its path, it passes on when it next writes. One that sleeps because nothing comes, as
 * nobody finds memory to send it in, would never do so: it is woken for nothing, which it takes as that (wait.c). */
static void wake_keepers(struct cs_manager *m)
{
    bool keeps[CS_PROCESSES] = {false};
    for (uint32_t i = 0; i < m->endpoints; i++) {
        const struct cs_endpoint *e = &m->endpoint[i];
        if (e->used && e->back.capacity && cs_ring_space(&e->back) < (int64_t)e->back.capacity)
            keeps[e->process] = true;
    }
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used && keeps[m->endpoint[i].process])
            cs_endpoint_ring(&m->endpoint[i]);
}

static int allocate(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply)
{
    if (q->alloc.count == 0 || q->alloc.count > CS_ALLOC_BATCH || q->alloc.pages == 0 || q->alloc.pages > m->pool.pages)
        return -EINVAL;
    uint16_t owner = (uint16_t)(process + 1);
    uint32_t n = 0, pages = q->alloc.pages;
    for (; n < q->alloc.count && cs_pool_grants(&m->pool, owner, pages, CS_SHARE_ALLOCATED) &&
           cs_pool_affords(&m->pool, owner, pages, pages) && cs_pool_leaves_reserve(&m->pool, pages);
         n++) {
        int page = cs_pool_take_run(&m->pool, pages, owner);
        if (page < 0)
            break;
        CS_FAULT("manager.allocated");
        reply->allocated.cids[n] = cs_cid((uint32_t)page, m->pool.shared->table[page].generation);
    }
    reply->allocated.count = n;
    if (n > 0)
        return 0;
    if (cs_now_ns() >= m->wake_after_ns) { /* whoever asks in a loop costs the others no more than that */
        m->wake_after_ns = cs_now_ns() + CS_WAKE_KEEPERS_NS;
        wake_keepers(m);
    }
    return -ENOBUFS;
}

static int cut(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply)
{
    int64_t page = cs_pool_check(&m->pool, q->cut.cid, 0, 0, (uint16_t)(process + 1));
    int64_t rest = page < 0 ? page : cs_pool_cut(&m->pool, (uint32_t)page, q->cut.pages);
    if (rest < 0)
        return (int)rest;
    CS_FAULT("manager.cut");
    reply->allocated.count = 1;
    reply->allocated.cids[0] = (uint32_t)rest;
    return 0;
}

static int take_free(struct cs_manager *m, uint32_t process, const struct cs_request *q)
{
    int err = 0;
    if (q->free.count > CS_ALLOC_BATCH)
        return -EINVAL;
    for (uint32_t i = 0; i < q->free.count; i++) {
        int64_t page = cs_pool_check(&m->pool, q->free.cids[i], 0, 0, (uint16_t)(process + 1));
        if (page < 0)
            err = (int)page;
        else
            cs_pool_give(&m->pool, (uint32_t)page);
        CS_FAULT("manager.freed");
    }
    return err;
}

static int close_endpoint(struct cs_manager *m, uint32_t process, uint32_t index)
{
    struct cs_endpoint *e = &m->endpoint[index < CS_ENDPOINTS ? index : 0];
    if (index >= CS_ENDPOINTS || !e->used || e->process != process)
        return -EBADF;
    cs_endpoint_send_last(m, e);
    CS_FAULT("manager.sent_last");
    if (!e->used) /* its ring was broken, and the process dropped for it */
        return -EPROTO;
    cs_endpoint_lose(m, e);
    cs_endpoint_close(m, e);
    return 0;
}

static int attach(struct cs_manager *m, uint32_t process, struct cs_reply *reply, int *fds)
{
    const int ours[] = {m->pool.table_fd, m->bell[process], m->pool.data_fd};
    reply->pool_pages = m->pool.pages;
    reply->page_shift = m->pool.shift;
    reply->protection = m->protection;
    reply->zeroing = m->zeroing;
    reply->no_recycling = m->no_recycling;
    /* where the library then shields its process, not a second time: that would get around it */
    if (m->shielded[process] && m->protection == CS_WRITE_REVOKED)
        return -EISCONN;
    m->shielded[process] = true;
    return cs_duplicate(fds, ours, m->pool.data_fd < 0 ? 2 : 3);
}

/* The container's owner wants to see it, and soon some others: in the same answer, as far as they have room in it and need no
 * zeroing, which may never be wanted. What is wrong with one of those is said when it is asked for by itself. */
static int map(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply, int *fds)
{
    const uint16_t owner = (uint16_t)(process + 1);
    int64_t page = cs_pool_check(&m->pool, q->map.cid, 0, 0, owner);
    if (page < 0)
        return (int)page;
    if (!m->pool.guard)
        return -ENOSYS;
    int granted = cs_guard_grant(&m->pool, (uint32_t)page, q->map.from, owner, fds);
    if (granted < 0)
        return granted;
    reply->granted = (uint32_t)granted;
    while (reply->others < q->map.count && reply->others < CS_MAP_AHEAD) {
        page = cs_pool_check(&m->pool, q->map.others[reply->others], 0, 0, owner);
        if (page < 0 || m->pool.shared->table[page].pages > (uint32_t)(CS_MAP_BATCH - granted) ||
            !cs_guard_shows_all(&m->pool, (uint32_t)page))
            break;
        int more = cs_guard_grant(&m->pool, (uint32_t)page, 0, owner, fds + granted);
        if (more < 0)
            break;
        granted += more;
        reply->others++;
    }
    return m->protection == CS_STRICT ? granted : 0;
}

/* given[0] is its userfaultfd, and ours from then on. */
static int shield(struct cs_manager *m, uint32_t process, const struct cs_request *q, int *given)
{
    int err = m->pool.guard ? cs_guard_adopt(&m->pool, (uint16_t)(process + 1), given[0], q->base) : -ENOSYS;
    if (err == 0)
        given[0] = -1;
    return err;
}

/* Descriptors in fds[0..result) are ours and closed after they were sent, those in given are discarded; who keeps one
 * puts -1 there. */
static int answer(struct cs_manager *m, uint32_t process, const struct cs_request *q, int *given, struct cs_reply *reply,
                  int *fds)
{
    if (q->version != CS_LAYOUT_VERSION)
        return -EPROTO;
    switch (q->call) {
    case CS_CALL_ATTACH:
        return attach(m, process, reply, fds);
    case CS_CALL_OPEN_UDP:
        return open_udp(m, process, q, reply, fds);
    case CS_CALL_CLOSE:
        return close_endpoint(m, process, q->endpoint);
    case CS_CALL_ALLOC:
        return allocate(m, process, q, reply);
    case CS_CALL_OPEN_CHANNEL:
        return cs_channel_open(m, process, q, reply, fds);
    case CS_CALL_OPEN_FRAMEBUFFER:
        return cs_framebuffer_open(m, process, q, reply, fds);
    case CS_CALL_VIEW_FRAMEBUFFER:
        return cs_framebuffer_view(m, q, fds);
    case CS_CALL_IOCTL:
        return cs_framebuffer_ioctl(m, process, q, reply);
    case CS_CALL_CUT:
        return cut(m, process, q, reply);
    case CS_CALL_FREE:
        return take_free(m, process, q);
    case CS_CALL_MAP:
        return map(m, process, q, reply, fds);
    case CS_CALL_SHIELD:
        return shield(m, process, q, given);
    case CS_CALL_OPEN_FILE:
        return cs_file_open(m, process, q, given, reply, fds);
    default:
        return -ENOSYS;
    }
}

void cs_control_serve(struct cs_manager *m, uint32_t process)
{
    struct cs_request q = {0};
    struct cs_reply reply = {0};
    int fds[CS_MAP_BATCH], given[CS_REQUEST_FDS] = {-1, -1}, count;
    ssize_t got = cs_message_receive(m->process[process], &q, sizeof q, given, cs_files_take(m) ? CS_REQUEST_FDS : 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got != sizeof q) { /* gone, or not one of us */
        cs_files_discard(m, given);
        cs_control_end(m, process);
        return;
    }
    cs_count(m->requests, 1);
    CS_FAULT("manager.asked");
    count = answer(m, process, &q, given, &reply, fds);
    cs_files_discard(m, given);
    if (m->process[process] < 0)
        return;
    if (count < 0) {
        reply.error = count;
        count = 0;
    }
    CS_FAULT("manager.answering");
    bool sent = cs_message_send(m->process[process], &reply, sizeof reply, fds, count);
    CS_FAULT("manager.answered");
    for (int i = 0; i < count; i++)
        close(fds[i]);
    if (!sent)
        cs_control_drop(m, process);
}
