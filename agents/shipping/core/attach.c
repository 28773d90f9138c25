/* Attach to the host's manager, open and close endpoints: the rare calls, over the manager's socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../net/frame.h"
#include "cs.h"
#include "fault.h"
#include "messages.h"
#include "process.h"
#include "shield.h"

struct cs_process cs_self;

int cs_ask_many(struct cs_request *q, const int *given, int count, struct cs_reply *reply, int *fds, int room)
{
    ssize_t got;
    q->version = CS_LAYOUT_VERSION;
    CS_FAULT("ask.before");
    if (!cs_message_send(cs_self.control, q, sizeof *q, given, count))
        return -EPIPE;
    CS_FAULT("ask.sent");
    do
        got = cs_message_receive(cs_self.control, reply, sizeof *reply, fds, room);
    while (got < 0 && errno == EINTR);
    if (got != sizeof *reply)
        return -EPIPE; /* the manager is gone */
    CS_FAULT("ask.answered");
    return reply->error;
}

int cs_ask_with(struct cs_request *q, const int *given, int count, struct cs_reply *reply, int *fds)
{
    int none[CS_REPLY_FDS];
    return cs_ask_many(q, given, count, reply, fds ? fds : none, CS_REPLY_FDS);
}

int cs_ask(struct cs_request *q, struct cs_reply *reply, int *fds)
{
    return cs_ask_with(q, NULL, 0, reply, fds);
}

/* The pool is mapped once and the descriptor given up; who keeps the userfaultfd decides what can be seen there. */
static int take_cover(void)
{
    struct cs_request q = {.call = CS_CALL_SHIELD};
    struct cs_reply reply;
    int userfault, err = cs_shield_map(cs_self.data_fd, cs_pool_bytes(), (size_t)1 << cs_self.shift, &cs_self.data, &userfault);
    close(cs_self.data_fd);
    cs_self.data_fd = -1;
    if (err < 0)
        return err;
    q.base = (uint64_t)(uintptr_t)cs_self.data;
    err = cs_ask_with(&q, &userfault, 1, &reply, NULL);
    close(userfault);
    return err;
}

/* Live by the rules of this host's pool. */
static int take_up(const struct cs_reply *rules)
{
    int err = 0;
    cs_self.protection = rules->protection;
    cs_self.no_recycling = rules->no_recycling;
    bool cooperative = rules->protection == CS_COOPERATIVE;
    if ((!cooperative || rules->no_recycling) && !(cs_self.mapped = calloc(cs_self.pages, sizeof *cs_self.mapped)))
        return -ENOMEM;
    if (cooperative && rules->zeroing == CS_ZERO_EDGES &&
        !(cs_self.extent = calloc(cs_self.pages, sizeof *cs_self.extent)))
        return -ENOMEM;
    if (rules->protection == CS_WRITE_REVOKED)
        err = take_cover();
    if (err == 0 && !cooperative)
        err = cs_shield_calls(rules->protection == CS_WRITE_REVOKED);
    return err;
}

static void forget(struct cs_open *e)
{
    if (e->memory)
        munmap(e->memory, e->bytes);
    if (e->fd >= 0) {
        cs_self.by_fd[e->fd] = 0;
        close(e->fd);
    }
    *e = (struct cs_open){.fd = -1};
}

static void let_go(void)
{
    for (int i = 0; i < CS_OPEN_MAX; i++)
        forget(&cs_self.open[i]);
    CS_FAULT("detach.closed");
    if (cs_self.table)
        munmap((void *)(uintptr_t)cs_self.table, cs_table_bytes(cs_self.pages));
    if (cs_self.data)
        munmap(cs_self.data, cs_pool_bytes());
    if (cs_self.data_fd >= 0)
        close(cs_self.data_fd);
    if (cs_self.doorbell >= 0)
        close(cs_self.doorbell);
    close(cs_self.control);
    CS_FAULT("detach.hung_up");
    free(cs_self.owned);
    free(cs_self.from);
    free(cs_self.mapped);
    free(cs_self.extent);
    memset(&cs_self, 0, sizeof cs_self);
}

/* A child owns nothing of what its parent owns. It must neither use the parent's rings nor keep its socket open, by
 * which the manager knows that the parent lives. */
static void in_child(void)
{
    if (cs_self.attached)
        let_go();
}

static int watch_forks(void)
{
    static bool watched;
    if (!watched && pthread_atfork(NULL, NULL, in_child) != 0)
        return -ENOMEM;
    watched = true;
    return 0;
}

void cs_detach(void)
{
    if (!cs_self.attached)
        return;
    cs_flush();
    CS_FAULT("detach.flushed");
    let_go();
}

int cs_attach(const char *manager_socket)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct cs_request q = {.call = CS_CALL_ATTACH};
    struct cs_reply reply;
    int fds[CS_REPLY_FDS], err;
    if (cs_self.attached)
        return -EISCONN;
    if (strlen(manager_socket) >= sizeof address.sun_path)
        return -ENAMETOOLONG;
    if ((err = watch_forks()) < 0)
        return err;
    strcpy(address.sun_path, manager_socket);
    cs_self.data_fd = cs_self.doorbell = -1;
    cs_self.control = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (cs_self.control < 0)
        return -errno;
    for (int i = 0; i < CS_OPEN_MAX; i++)
        cs_self.open[i].fd = -1;
    cs_self.attached = true;
    CS_FAULT("attach.unconnected");
    if (connect(cs_self.control, (struct sockaddr *)&address, sizeof address) < 0)
        err = -errno;
    else {
        CS_FAULT("attach.connected");
        err = cs_ask(&q, &reply, fds);
    }
    if (err < 0)
        goto fail;
    CS_FAULT("attach.received");
    cs_self.doorbell = fds[1];
    cs_self.data_fd = fds[2];
    cs_self.pages = reply.pool_pages;
    cs_self.shift = reply.page_shift;
    cs_self.keep_pages = cs_self.pages / CS_KEEP_SHARE;
    void *table = mmap(NULL, cs_table_bytes(cs_self.pages), PROT_READ, MAP_SHARED, fds[0], 0);
    close(fds[0]);
    cs_self.table = table == MAP_FAILED ? NULL : table;
    CS_FAULT("attach.mapped");
    cs_self.owned = calloc(cs_self.pages, sizeof *cs_self.owned);
    cs_self.from = calloc(cs_self.pages, sizeof *cs_self.from);
    if (cs_self.table && cs_self.owned && cs_self.from && cs_self.table->version == CS_LAYOUT_VERSION)
        err = take_up(&reply);
    else
        err = -ENOMEM;
    if (err == 0)
        return 0;
fail:
    cs_detach();
    return err;
}

int cs_manager_fd(void)
{
    return cs_self.attached ? cs_self.control : -ENOTCONN;
}

int cs_open_endpoint_with(struct cs_request *q, const int *given, int count, struct cs_open as)
{
    struct cs_reply reply;
    int fds[CS_REPLY_FDS], err;
    uint32_t i = 0;
    if (!cs_self.attached)
        return -ENOTCONN;
    while (i < CS_OPEN_MAX && cs_self.open[i].fd >= 0)
        i++;
    if (i == CS_OPEN_MAX)
        return -EMFILE;
    if ((err = cs_ask_with(q, given, count, &reply, fds)) < 0)
        return err;
    CS_FAULT("open.received");
    struct cs_open *e = &cs_self.open[i];
    size_t rx = (cs_ring_bytes(reply.opened.rx_capacity) + 63) & ~(size_t)63;
    size_t tx = (cs_ring_bytes(reply.opened.tx_capacity) + 63) & ~(size_t)63;
    size_t back = reply.opened.back_capacity ? (cs_ring_bytes(reply.opened.back_capacity) + 63) & ~(size_t)63 : 0;
    size_t bytes = rx + tx + back;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fds[0], 0);
    err = memory == MAP_FAILED ? -errno : fds[1] >= CS_MAX_FD ? -EMFILE : 0;
    close(fds[0]);
    if (err < 0) {
        if (memory != MAP_FAILED)
            munmap(memory, bytes);
        close(fds[1]);
        *q = (struct cs_request){.call = CS_CALL_CLOSE, .endpoint = reply.opened.endpoint};
        cs_ask(q, &reply, NULL);
        return err;
    }
    CS_FAULT("open.mapped");
    *e = as;
    e->fd = fds[1];
    e->number = reply.opened.endpoint;
    e->how = (int)reply.opened.how;
    e->memory = memory;
    e->bytes = bytes;
    cs_ring_init(&e->rx, memory, reply.opened.rx_capacity);
    cs_ring_init(&e->tx, (char *)memory + rx, reply.opened.tx_capacity);
    if (back)
        cs_ring_init(&e->back, (char *)memory + rx + tx, reply.opened.back_capacity);
    cs_self.by_fd[e->fd] = (uint8_t)(i + 1);
    if (i >= cs_self.opened)
        cs_self.opened = i + 1;
    CS_FAULT("open.entered");
    return e->fd;
}

int cs_open_endpoint(struct cs_request *q, struct cs_open as)
{
    return cs_open_endpoint_with(q, NULL, 0, as);
}

int cs_open_udp(uint32_t local, uint16_t local_port, uint32_t remote, uint16_t remote_port, int queue, int timeout_ms)
{
    struct cs_request q = {.call = CS_CALL_OPEN_UDP, .udp = {local, remote, local_port, remote_port, (uint32_t)queue}};
    return cs_open_endpoint(&q, (struct cs_open){.timeout_ms = timeout_ms, .has_peer = remote != 0, .most = CS_DATAGRAM_PARTS});
}

int cs_open_channel(const char *name, int queue, int timeout_ms)
{
    struct cs_request q = {.call = CS_CALL_OPEN_CHANNEL, .channel.queue = (uint32_t)queue};
    if (!name || !name[0])
        return -EINVAL;
    if (strlen(name) >= sizeof q.channel.name)
        return -ENAMETOOLONG;
    strcpy(q.channel.name, name);
    return cs_open_endpoint(&q, (struct cs_open){
                                    .timeout_ms = timeout_ms, .has_peer = true, .channel = true, .most = CS_CHANNEL_PARTS});
}

int cs_close(int fd)
{
    struct cs_open *e = cs_find(fd);
    struct cs_request q = {.call = CS_CALL_CLOSE};
    struct cs_reply reply;
    int err, late = 0;
    if (!e)
        return -EBADF;
    cs_flush();
    CS_FAULT("close.flushed");
    if (e->write_only)
        late = cs_wait_done(e, 0);
    else if (e->file == CS_FILE_WRITES)
        late = cs_file_finish(e);
    if (late == -EINTR)
        return late;
    if (e->rest.cid)
        cs_keep((struct cs_spare){e->rest.cid, cs_pages_of(e->rest.cid), 0, false});
    q.endpoint = e->number;
    cs_hide_ahead(&e->rx);
    cs_hide_ahead(&e->back);
    cs_end_path(e);
    forget(e);
    CS_FAULT("close.forgotten");
    err = cs_ask(&q, &reply, NULL);
    return late < 0 ? late : err;
}
