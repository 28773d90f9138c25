#define _GNU_SOURCE
#include "manager.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    IDLE_MS = 100,   /* statistics and the stop flag are looked at this often */
    RETRY_MS = 1,    /* the network or a reader holds us back: look again, should no doorbell come */
    CROWD = 128,     /* descriptors waiting for one reader: let it run before more are taken in */
    STATISTICS = 512 /* busy passes between two looks at the kernel's counters and at the processes' sockets */
};

static const char *const drop_names[CS_DROPS - CS_PACKET_KINDS] = {
    "no_port", "endpoint_queue", "bad_descriptor", "too_big", "no_page_to_send", "closed", "checksum",
};

static int open_interface(struct cs_manager *m, const struct cs_interface_config *c, const struct cs_backend *backend)
{
    struct cs_interface *i = calloc(1, sizeof *i);
    if (!i)
        return -ENOMEM;
    i->netif = (struct cs_netif){
        .backend = backend,
        .pool = &m->pool,
        .sharing = m->interfaces ? &m->interface[0]->netif : NULL,
        .address.ip = c->ip,
        .mask = c->mask,
        .mtu = c->mtu,
        .fd = -1,
        .counters = m->counters,
    };
    memcpy(i->netif.name, c->name, sizeof i->netif.name - 1);
    memcpy(i->netif.address.mac, c->mac, sizeof c->mac);
    int err = backend->open(&i->netif, m->queue);
    if (err < 0) {
        free(i);
        return err;
    }
    cs_outbox_open(&i->netif, m->segmentation);
    cs_reassembly_open(&i->reassembly, &m->pool, m->counters);
    m->interface[m->interfaces++] = i;
    return 0;
}

static void close_interfaces(struct cs_manager *m)
{
    while (m->interfaces > 0) { /* the first one made what the others share */
        struct cs_interface *i = m->interface[--m->interfaces];
        cs_reassembly_close(&i->reassembly);
        cs_outbox_close(&i->netif);
        i->netif.backend->close(&i->netif);
        free(i);
    }
}

static int open_interfaces(struct cs_manager *m, const struct cs_manager_config *c, const struct cs_backend *backend)
{
    for (uint32_t i = 0; i < c->interfaces; i++) {
        int err = open_interface(m, &c->interface[i], backend);
        if (err < 0) {
            close_interfaces(m);
            return err;
        }
    }
    return 0;
}

/* Probe: what was asked for, or AF_XDP first and AF_PACKET where that cannot be had. */
static int choose_backend(struct cs_manager *m, const struct cs_manager_config *c)
{
    static const struct cs_backend *const backends[] = {&cs_backend_xdp, &cs_backend_packet};
    int err = -EINVAL;
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        if (strcmp(c->backend, "auto") != 0 && strcmp(c->backend, backends[i]->name) != 0)
            continue;
        if ((err = open_interfaces(m, c, backends[i])) == 0)
            return 0;
    }
    return err;
}

static void name_counters(struct cs_manager *m)
{
    for (int i = 0; i < CS_DROPS; i++) {
        char name[CS_COUNTER_NAME];
        if (i < CS_PACKET_NOT_IP)
            continue;
        snprintf(name, sizeof name, "drop_%s", i < CS_PACKET_KINDS ? cs_packet_kind_names[i] : drop_names[i - CS_PACKET_KINDS]);
        m->drops[i] = cs_counter_get(m->counters, name);
    }
    m->datagrams_in = cs_counter_get(m->counters, "datagrams_in");
    m->bytes_in = cs_counter_get(m->counters, "bytes_in");
    m->datagrams_out = cs_counter_get(m->counters, "datagrams_out");
    m->bytes_out = cs_counter_get(m->counters, "bytes_out");
    m->fragments_in = cs_counter_get(m->counters, "fragments_in");
    m->fragments_out = cs_counter_get(m->counters, "fragments_out");
    m->wakeups = cs_counter_get(m->counters, "wakeups");
    m->reclaimed = cs_counter_get(m->counters, "reclaimed_containers");
    m->messages = cs_counter_get(m->counters, "channel_messages");
    m->message_bytes = cs_counter_get(m->counters, "channel_bytes");
    m->requests = cs_counter_get(m->counters, "manager_requests");
    m->frames = cs_counter_get(m->counters, "framebuffer_frames");
    m->frame_bytes = cs_counter_get(m->counters, "framebuffer_bytes");
    m->attached = cs_counter_get(m->counters, "processes_attached");
    m->open = cs_counter_get(m->counters, "endpoints_open");
    m->file_bytes_in = cs_counter_get(m->counters, "file_bytes_in");
    m->file_bytes_out = cs_counter_get(m->counters, "file_bytes_out");
    m->file_bytes_buffered = cs_counter_get(m->counters, "file_bytes_buffered");
    m->file_errors = cs_counter_get(m->counters, "file_errors");
}

int cs_manager_open(struct cs_manager **out, const struct cs_manager_config *c, struct cs_counters *counters, char *error,
                    size_t error_bytes)
{
    struct cs_manager *m = calloc(1, sizeof *m);
    const char *attempt = "allocate the manager";
    int err = -ENOMEM;
    if (!m)
        goto fail;
    m->pool = (struct cs_pool){.data_fd = -1, .table_fd = -1};
    m->counters = counters;
    m->queue = c->queue;
    m->segmentation = c->segmentation;
    m->protection = c->protection;
    m->zeroing = c->zeroing != CS_ZERO_USUAL ? c->zeroing : c->protection ? CS_ZERO_EDGES : CS_ZERO_NONE;
    m->no_recycling = c->no_recycling;
    m->listener = m->doorbell = -1;
    m->next_port = 49152;
    memset(m->process, -1, sizeof m->process);
    for (uint32_t i = 0; i < CS_ENDPOINTS; i++)
        m->endpoint[i].doorbell = m->endpoint[i].kernel_socket = -1;
    name_counters(m);

    attempt = "put frames into pages that are not of 4096 bytes: page_bytes";
    err = -EINVAL;
    if (c->interfaces > 0 && c->page_bytes > CS_PAGE_SIZE)
        goto fail;
    attempt = "make the pool";
    /* per interface: a queue in front of us and one in the network, two pages a datagram; and some to allocate */
    if ((err = cs_pool_create(&m->pool, c->interfaces * c->queue * 4 + (c->pages ? c->pages : 4096),
                              c->page_bytes ? c->page_bytes : CS_PAGE_SIZE, counters)) < 0)
        goto fail;
    m->pool.zero_all = m->zeroing == CS_ZERO_ALL;
    attempt = "leave pages as they are where processes are protected from each other: zeroing must be edges or all";
    err = -EINVAL;
    if (m->protection && m->zeroing == CS_ZERO_NONE)
        goto fail;
    if (m->protection && (err = cs_guard_open(&m->pool, m->protection, counters, &attempt)) < 0)
        goto fail;
    attempt = "attach to the interfaces";
    if ((err = choose_backend(m, c)) < 0)
        goto fail;
    attempt = "make the doorbell";
    if ((m->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        err = -errno;
        goto fail;
    }
    attempt = "listen on the manager's socket";
    if ((err = cs_control_open(m, c->socket)) < 0)
        goto fail;
    for (uint32_t i = 0; i < m->interfaces; i++)
        m->interface[i]->netif.backend->kick(&m->interface[i]->netif, 2 * m->queue);
    *out = m;
    return 0;

fail:
    snprintf(error, error_bytes, "cannot %s (back end %s, %s): %s", attempt, c->backend,
             c->interfaces ? c->interface[0].name : "no interface", strerror(-err));
    if (m)
        cs_manager_close(m);
    return err;
}

uint32_t cs_manager_close(struct cs_manager *m)
{
    for (uint32_t i = 0; i < CS_PROCESSES; i++)
        if (m->process[i] >= 0)
            cs_control_drop(m, i);
    cs_framebuffers_close(m);
    uint32_t left = cs_files_end(m);
    close_interfaces(m);
    if (m->listener >= 0)
        close(m->listener);
    if (m->socket[0])
        unlink(m->socket);
    if (left > 0)
        return left;
    if (m->doorbell >= 0)
        close(m->doorbell);
    cs_pool_destroy(&m->pool);
    free(m);
    return 0;
}

static void read_statistics(struct cs_manager *m)
{
    cs_pool_retry(&m->pool);
    for (uint32_t i = 0; i < m->interfaces; i++)
        m->interface[i]->netif.backend->statistics(&m->interface[i]->netif);
}

/* Descriptors that wait for readers, in all and for the one who has most. */
static uint32_t readers_backlog(struct cs_manager *m, uint32_t *worst)
{
    uint32_t sum = 0;
    *worst = 0;
    for (uint32_t i = 0; i < m->endpoints; i++) {
        struct cs_endpoint *e = &m->endpoint[i];
        if (!e->used || !e->interface)
            continue;
        int64_t space = cs_ring_space(&e->rx);
        if (space < 0) {
            cs_control_drop(m, e->process);
            continue;
        }
        uint32_t waiting = e->rx.capacity - (uint32_t)space;
        cs_count_set(e->backlog, waiting);
        sum += waiting;
        if (waiting > *worst)
            *worst = waiting;
    }
    return sum;
}

static void ring_readers(struct cs_manager *m, bool crowded)
{
    for (uint32_t i = 0; i < m->endpoints; i++) {
        struct cs_endpoint *e = &m->endpoint[i];
        if (!e->used)
            continue;
        bool news = e->announce;
        e->announce = false;
        if (e->interface) {
            atomic_store_explicit(&e->rx.shared->crowded, crowded, memory_order_relaxed);
            /* the reader may have emptied the ring already, then it has seen its work and sleeps again */
            news = cs_ring_space(&e->rx) < (int64_t)e->rx.capacity;
        }
        if (news && cs_ring_needs_doorbell(&e->rx))
            cs_endpoint_ring(e);
    }
}

/* For processes to see. A line that all of them read is written when it changes only. */
static void say_what_is_scarce(struct cs_pool *p)
{
    uint32_t scarce = !cs_pool_leaves_reserve(p, 0);
    if (scarce != atomic_load_explicit(&p->shared->scarce, memory_order_relaxed))
        atomic_store_explicit(&p->shared->scarce, scarce, memory_order_relaxed);
}

static bool pass(struct cs_manager *m, bool take_in)
{
    bool worked = cs_files_pass(m);
    for (uint32_t i = 0; take_in && i < m->interfaces; i++)
        worked |= cs_receive_pass(m, m->interface[i]);
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used)
            worked |= cs_endpoint_pass(m, &m->endpoint[i]);
    return worked;
}

static int kick(struct cs_manager *m, uint32_t backlog)
{
    for (uint32_t i = 0; i < m->interfaces; i++) {
        struct cs_netif *n = &m->interface[i]->netif;
        uint32_t queue = 2 * m->queue;
        int err = cs_outbox_flush(n);
        if (err == 0)
            err = n->backend->kick(n, backlog < queue ? queue - backlog : 0);
        if (err < 0)
            return err;
    }
    return 0;
}

static bool announce_sleep(struct cs_manager *m)
{
    bool ready = false;
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used && !m->endpoint[i].blocked)
            cs_ring_wait(&m->endpoint[i].tx);
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used && !m->endpoint[i].blocked)
            ready |= cs_ring_ready(&m->endpoint[i].tx) != m->endpoint[i].unfinished;
    return ready;
}

/* Never to wait, whatever a process makes of the flags that it shares with us. */
static void hear(int bell)
{
    uint64_t rung;
    const struct iovec into = {&rung, sizeof rung};
    if (preadv2(bell, &into, 1, -1, RWF_NOWAIT) < 0) {
        /* its process has taken it back */
    }
}

/* Sleep until there is work, or only look when busy. Returns poll's count: 0 when only time went by. */
static int sleep_until_work(struct cs_manager *m, bool crowded, bool busy)
{
    struct pollfd fds[2 + CS_INTERFACES + 3 * CS_PROCESSES];
    uint32_t who[CS_PROCESSES], count = 0, processes = 0;
    fds[count++] = (struct pollfd){.fd = m->doorbell, .events = POLLIN};
    fds[count++] = (struct pollfd){.fd = cs_now_ns() < m->accept_after_ns ? -1 : m->listener, .events = POLLIN};
    for (uint32_t i = 0; i < m->interfaces && !crowded; i++)
        fds[count++] = (struct pollfd){.fd = m->interface[i]->netif.fd, .events = POLLIN};
    uint32_t first = count;
    for (uint32_t i = 0; i < CS_PROCESSES; i++)
        if (m->process[i] >= 0) {
            who[processes++] = i;
            fds[count++] = (struct pollfd){.fd = m->process[i], .events = POLLIN};
            fds[count++] = (struct pollfd){.fd = m->life[i], .events = POLLIN};
            fds[count++] = (struct pollfd){.fd = m->bell[i], .events = POLLIN};
        }
    bool again = busy || (announce_sleep(m) && !m->held_back);
    int ready = poll(fds, count, again ? 0 : crowded || m->held_back ? RETRY_MS : IDLE_MS);
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used)
            cs_ring_awake(&m->endpoint[i].tx);
    cs_count(m->wakeups, 1);
    if (ready <= 0)
        return again ? 1 : ready < 0 && errno != EINTR ? -errno : 0;
    if (fds[0].revents)
        hear(m->doorbell);
    for (uint32_t i = 0; i < processes; i++) {
        const struct pollfd *of = &fds[first + 3 * i];
        if (of[2].revents && m->process[who[i]] >= 0)
            hear(m->bell[who[i]]);
        if (of[0].revents && m->process[who[i]] >= 0)
            cs_control_serve(m, who[i]);
        if (of[1].revents && m->process[who[i]] >= 0)
            cs_control_end(m, who[i]);
    }
    if (fds[1].revents)
        cs_control_accept(m);
    return ready;
}

int cs_manager_run(struct cs_manager *m, _Atomic int *stop)
{
    bool take_in = true;
    uint32_t passes = 0;
    while (!atomic_load_explicit(stop, memory_order_relaxed)) {
        uint32_t worst;
        m->held_back = false;
        bool worked = pass(m, take_in);
        say_what_is_scarce(&m->pool);
        uint32_t backlog = readers_backlog(m, &worst);
        /* Waiting for a reader, and counting what waits for it against the host's queue, is only for one that
         * has the host to itself: it must not stop the others' traffic. */
        bool alone = m->processes <= 1;
        int err = kick(m, alone ? backlog : 0);
        if (err < 0)
            return err;
        bool crowded = alone && worst >= CROWD;
        ring_readers(m, crowded);
        if (++passes % STATISTICS == 0)
            read_statistics(m);
        take_in = !crowded;
        if (worked && passes % STATISTICS != 0)
            continue;
        for (uint32_t i = 0; i < m->interfaces; i++)
            m->held_back |= m->interface[i]->netif.sending || m->interface[i]->netif.out.count > 0;
        int woken = sleep_until_work(m, crowded, worked);
        if (woken < 0)
            return woken;
        if (woken == 0) { /* a reader that does not run must not stop all traffic: its queue fills, and counts */
            take_in = true;
            if (!crowded && !m->held_back)
                read_statistics(m);
        }
    }
    read_statistics(m);
    return 0;
}
