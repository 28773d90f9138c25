/* Endpoints: a pair of rings between the manager and a process, with a device behind them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fault.h"
#include "manager.h"
#include "protocol.h"

struct cs_endpoint *cs_endpoint_unused(struct cs_manager *m)
{
    for (uint32_t i = 0; i < CS_ENDPOINTS; i++)
        if (!m->endpoint[i].used)
            return &m->endpoint[i];
    return NULL;
}

int cs_endpoint_rings(struct cs_endpoint *e, uint32_t descriptors, bool back, int *memory_fd)
{
    uint32_t capacity = 1;
    while (capacity < descriptors)
        capacity *= 2;
    size_t ring = (cs_ring_bytes(capacity) + 63) & ~(size_t)63;
    e->bytes = 2 * ring + (back ? (cs_ring_bytes(2 * capacity) + 63) & ~(size_t)63 : 0);
    *memory_fd = memfd_create("transship-endpoint", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*memory_fd < 0)
        return -errno;
    CS_FAULT("manager.rings_unsized");
    if (ftruncate(*memory_fd, (off_t)e->bytes) < 0 ||
        fcntl(*memory_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return -errno;
    void *memory = mmap(NULL, e->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, *memory_fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    e->memory = memory;
    CS_FAULT("manager.rings_mapped");
    cs_ring_init(&e->rx, memory, capacity);
    cs_ring_init(&e->tx, (char *)memory + ring, capacity);
    if (back)
        cs_ring_init(&e->back, (char *)memory + 2 * ring, 2 * capacity);
    e->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return e->doorbell < 0 ? -errno : 0;
}

int cs_endpoint_begin(struct cs_manager *m, struct cs_endpoint *e, uint32_t process, uint32_t descriptors, bool back,
                      int *fds)
{
    *e = (struct cs_endpoint){.process = (uint16_t)process, .doorbell = -1, .kernel_socket = -1};
    fds[0] = -1;
    int err = cs_endpoint_rings(e, descriptors, back, &fds[0]);
    if (err < 0 || (err = fds[1] = cs_endpoint_bell(e)) < 0) {
        if (fds[0] >= 0)
            close(fds[0]);
        cs_endpoint_close(m, e);
        return err;
    }
    return 0;
}

/* The eventfd itself would share its flags with ours (F_SETFL): made blocking and filled, our next ring would wait for
 * ever. So its process gets an epoll with the eventfd in it, from which nobody can take it. Edge-triggered: whoever looks has
 * heard all that was rung, and the eventfd need not be read. */
int cs_endpoint_bell(const struct cs_endpoint *e)
{
    struct epoll_event rung = {.events = EPOLLIN | EPOLLET};
    int bell = epoll_create1(EPOLL_CLOEXEC);
    if (bell < 0)
        return -errno;
    if (epoll_ctl(bell, EPOLL_CTL_ADD, e->doorbell, &rung) == 0)
        return bell;
    int err = -errno;
    close(bell);
    return err;
}

int cs_duplicate(int *fds, const int *ours, int count)
{
    for (int i = 0; i < count; i++)
        if ((fds[i] = dup(ours[i])) < 0) {
            int err = -errno;
            while (i > 0)
                close(fds[--i]);
            return err;
        }
    return count;
}

int cs_endpoint_opened(struct cs_manager *m, struct cs_endpoint *e, struct cs_reply *reply)
{
    uint32_t index = (uint32_t)(e - m->endpoint);
    CS_FAULT("manager.endpoint_made");
    e->used = true;
    cs_count(m->open, 1);
    if (index >= m->endpoints)
        m->endpoints = index + 1;
    reply->opened.endpoint = index;
    reply->opened.rx_capacity = e->rx.capacity;
    reply->opened.tx_capacity = e->tx.capacity;
    reply->opened.back_capacity = e->back.capacity;
    return 2;
}

void cs_endpoint_ring(struct cs_endpoint *e)
{
    const uint64_t one = 1;
    if (write(e->doorbell, &one, sizeof one) < 0) {
        /* full: it has been rung */
    }
}

void cs_endpoint_recycle(struct cs_manager *m, struct cs_endpoint *to, uint32_t page)
{
    uint32_t pages = m->pool.shared->table[page].pages;
    uint16_t owner = (uint16_t)(to->process + 1);
    int64_t space = cs_ring_space(&to->back), waiting = (int64_t)to->back.capacity - space;
    if (m->no_recycling || space <= 0 || !cs_pool_grants(&m->pool, owner, pages, CS_SHARE_ALLOCATED) ||
        !cs_pool_affords(&m->pool, owner, pages, 0) || /* others need it more */
        (waiting + 1) * pages > m->pool.pages / CS_RECYCLE_SHARE) {
        cs_pool_give(&m->pool, page);
        return;
    }
    *cs_ring_reserve(&to->back) = (struct cs_desc){.cid = cs_pool_move(&m->pool, page, owner, CS_OWNED)};
    CS_FAULT("manager.recycled");
}

uint32_t cs_endpoint_message(const struct cs_endpoint *e, uint32_t from, uint32_t ready)
{
    uint32_t count = 1;
    while (cs_ring_peek(&e->tx, from + count - 1).flags & CS_DESC_MORE && count < CS_CHANNEL_PARTS)
        if (from + count++ == ready)
            return 0;
    return count;
}

uint32_t cs_endpoint_pages(const struct cs_manager *m, const struct cs_endpoint *e, uint32_t from, uint32_t count)
{
    uint32_t pages = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t page = cs_cid_page(cs_ring_peek(&e->tx, from + i).cid);
        pages += page < m->pool.pages ? m->pool.shared->table[page].pages : 0;
    }
    return pages;
}

bool cs_endpoint_pass(struct cs_manager *m, struct cs_endpoint *e)
{
    const uint32_t before = e->tx.next;
    bool worked = e->interface     ? cs_send_pass(m, e)
                  : e->framebuffer ? cs_framebuffer_pass(m, e)
                  : e->file        ? cs_file_pass(m, e)
                                   : cs_channel_pass(m, e);
    /* not while there is as much as before: a frame buffer takes a large container in many passes */
    if (worked && e->used && e->tx.next != before && cs_ring_owes_room(&e->tx))
        cs_endpoint_ring(e);
    return worked;
}

/* A port that is open on another interface too has the same counter. */
static void release_backlog(struct cs_manager *m, const struct cs_endpoint *e)
{
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (&m->endpoint[i] != e && m->endpoint[i].used && m->endpoint[i].backlog == e->backlog)
            return;
    cs_counter_release(m->counters, e->backlog);
}

void cs_endpoint_close(struct cs_manager *m, struct cs_endpoint *e)
{
    if (e->interface)
        e->interface->ports[e->local_port] = 0;
    if (e->framebuffer)
        cs_framebuffer_leave(m, e);
    if (e->backlog)
        release_backlog(m, e);
    if (e->neighbour)
        cs_arp_leave(e->neighbour, cs_now_ns());
    CS_FAULT("manager.endpoint_closing");
    if (e->memory)
        munmap(e->memory, e->bytes);
    if (e->doorbell >= 0)
        close(e->doorbell);
    if (e->kernel_socket >= 0)
        close(e->kernel_socket);
    free(e->late);
    cs_count(m->open, e->used ? -1 : 0);
    *e = (struct cs_endpoint){.doorbell = -1, .kernel_socket = -1};
}

/* A container in a ring that nobody will look at again goes back, if it is its process's at all. */
static void take_back(struct cs_manager *m, const struct cs_endpoint *e, uint32_t cid)
{
    int64_t page = cs_pool_check(&m->pool, cid, 0, 0, (uint16_t)(e->process + 1));
    if (page < 0)
        return;
    cs_pool_give(&m->pool, (uint32_t)page);
    CS_FAULT("manager.taken_back");
    cs_count(m->reclaimed, 1);
}

/* Datagrams that the process had not taken or that we had not sent are lost with the endpoint, by name. */
void cs_endpoint_lose(struct cs_manager *m, struct cs_endpoint *e)
{
    bool file = e->file;
    if (file)
        cs_file_hang_up(m, e);
    else if (!e->interface)
        cs_channel_hang_up(m, e);
    int64_t waiting = (int64_t)e->rx.capacity - cs_ring_space(&e->rx), unsent = cs_ring_ready(&e->tx);
    int64_t recycled = e->back.capacity ? (int64_t)e->back.capacity - cs_ring_space(&e->back) : 0;
    uint64_t lost = 0;
    for (int64_t k = 0; k < unsent; k++) {
        struct cs_desc d = cs_ring_peek(&e->tx, (uint32_t)k);
        lost += !(d.flags & (CS_DESC_MORE | CS_DESC_FREE | CS_DESC_ASK));
        take_back(m, e, d.cid);
    }
    for (int64_t k = 1; k <= waiting && waiting <= (int64_t)e->rx.capacity; k++) {
        struct cs_desc d = cs_ring_peek(&e->rx, (uint32_t)-k);
        lost += !file && !(d.flags & CS_DESC_MORE); /* what was read ahead is still in its file */
        take_back(m, e, d.cid);
    }
    for (int64_t k = 1; k <= recycled && recycled <= (int64_t)e->back.capacity; k++)
        take_back(m, e, cs_ring_peek(&e->back, (uint32_t)-k).cid);
    for (; e->late_next < e->late_count; e->late_next++) {
        lost += !(e->late[e->late_next].flags & CS_DESC_MORE);
        take_back(m, e, e->late[e->late_next].cid);
    }
    cs_count(file ? m->file_errors : m->drops[CS_DROP_CLOSED], lost);
}

/* Does the network take some of what waits in front of it? */
static bool network_takes(struct cs_netif *n)
{
    uint32_t room = cs_outbox_room(&n->out);
    return n->backend->kick(n, 0) == 0 && cs_outbox_flush(n) == 0 && cs_outbox_room(&n->out) > room;
}

/* What a process wrote before it closed is still sent, as far as the network takes it at once. */
void cs_endpoint_send_last(struct cs_manager *m, struct cs_endpoint *e)
{
    bool worked = true;
    /* each pass that did something took a descriptor at least */
    for (uint32_t passes = 0; e->used && passes < 2 * e->tx.capacity && worked; passes++)
        worked = cs_endpoint_pass(m, e) || (e->used && e->interface && network_takes(&e->interface->netif));
}
