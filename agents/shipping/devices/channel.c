/* The local channel, the paper's AF_UNIX: two endpoints of one name. Messages move from the tx ring of one to the rx
 * ring of the other; what moves is the ownership of whole containers. A full reader leaves the messages in
 * the writer's ring, which holds the writer back, so nothing is ever lost between two that live. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../core/fault.h"
#include "../core/manager.h"

enum { BATCH = 64 };

static struct cs_endpoint *other_end(struct cs_manager *m, const struct cs_endpoint *e)
{
    return e->peer ? &m->endpoint[e->peer - 1] : NULL;
}

int cs_channel_open(struct cs_manager *m, uint32_t process, const struct cs_request *q, struct cs_reply *reply, int *fds)
{
    struct cs_endpoint *first = NULL, *e = cs_endpoint_unused(m);
    const char *name = q->channel.name;
    if (!memchr(name, 0, CS_CHANNEL_NAME) || !name[0] || q->channel.queue < CS_MIN_CHANNEL_QUEUE ||
        q->channel.queue > CS_MAX_QUEUE)
        return -EINVAL;
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used && strcmp(m->endpoint[i].name, name) == 0)
            first = &m->endpoint[i];
    if (first && (first->peer || first->ended))
        return -EADDRINUSE;
    if (!e)
        return -EMFILE;
    int err = cs_endpoint_begin(m, e, process, first ? first->rx.capacity : q->channel.queue, true, fds);
    if (err < 0)
        return err;
    strcpy(e->name, name);
    CS_FAULT("manager.channel_alone");
    if (first) {
        e->peer = (uint16_t)(first - m->endpoint + 1);
        first->peer = (uint16_t)(e - m->endpoint + 1);
    }
    return cs_endpoint_opened(m, e, reply);
}

/* Room in what that end reads. If there is none, its process rings us when half of it was read. */
static bool has_room(struct cs_endpoint *to, uint32_t count)
{
    if (cs_ring_space(&to->rx) >= (int64_t)count)
        return true;
    cs_ring_crowd(&to->rx);
    return cs_ring_space(&to->rx) >= (int64_t)count;
}

/* Make a message the other end's, checking each descriptor. A message with a bad one is dropped whole, and so are its
 * good containers: their owner said that he gave them away. */
static bool claim(struct cs_manager *m, struct cs_endpoint *e, uint32_t from, uint32_t count, uint16_t process,
                  struct cs_desc *message)
{
    uint32_t good = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct cs_desc d = cs_ring_peek(&e->tx, from + i);
        int64_t page = cs_pool_claim(&m->pool, d.cid, d.off, d.len, (uint16_t)(e->process + 1));
        if (page < 0)
            continue;
        if (m->pool.guard)
            cs_guard_narrow(&m->pool, (uint32_t)page, d.off, d.len);
        d.cid = cs_pool_move(&m->pool, (uint32_t)page, (uint16_t)(process + 1), CS_OWNED);
        CS_FAULT("manager.message_moved");
        d.flags = i + 1 < count ? CS_DESC_MORE : 0;
        message[good++] = d;
        bytes += d.len;
    }
    if (good == count) {
        cs_count(m->messages, 1);
        cs_count(m->message_bytes, bytes);
        return true;
    }
    for (uint32_t i = 0; i < good; i++)
        cs_pool_give(&m->pool, cs_cid_page(message[i].cid));
    cs_count(m->drops[CS_DROP_BAD_DESCRIPTOR], 1);
    return false;
}

/* A container that its reader is done with: to the end that sent it, where there is room for it, else to the pool. A
 * path on which data keeps moving so needs neither the pool nor a call to the manager. */
static void take_free(struct cs_manager *m, struct cs_endpoint *e, struct cs_desc d)
{
    struct cs_endpoint *peer = other_end(m, e);
    int64_t page = cs_pool_claim(&m->pool, d.cid, 0, 0, (uint16_t)(e->process + 1));
    if (page < 0) {
        cs_count(m->drops[CS_DROP_BAD_DESCRIPTOR], 1);
        return;
    }
    if (peer && d.flags & CS_DESC_RECYCLE)
        cs_endpoint_recycle(m, peer, (uint32_t)page);
    else
        cs_pool_give(&m->pool, (uint32_t)page);
}

/* False: it cannot move now. */
static bool hand_over(struct cs_manager *m, struct cs_endpoint *e, uint32_t from, uint32_t count)
{
    struct cs_endpoint *peer = other_end(m, e);
    struct cs_desc message[CS_CHANNEL_PARTS];
    if (!peer && !e->ended)
        return false;
    if (!peer) {
        for (uint32_t i = 0; i < count; i++)
            take_free(m, e, cs_ring_peek(&e->tx, from + i));
        cs_count(m->drops[CS_DROP_CLOSED], 1);
        return true;
    }
    if (!has_room(peer, count))
        return false;
    if (!cs_pool_grants(&m->pool, (uint16_t)(peer->process + 1), cs_endpoint_pages(m, e, from, count), CS_SHARE_ARRIVED)) {
        m->held_back = true; /* it may free what it hoards in any way, so look again */
        return false;
    }
    if (claim(m, e, from, count, peer->process, message)) {
        for (uint32_t i = 0; i < count; i++)
            *cs_ring_reserve(&peer->rx) = message[i];
        CS_FAULT("manager.message_described");
        peer->announce = true;
    }
    return true;
}

/* Descriptors of the next message that the other end left. */
static uint32_t late_length(const struct cs_endpoint *e)
{
    uint32_t next = e->late_next;
    while (e->late[next].flags & CS_DESC_MORE)
        next++;
    return next + 1 - e->late_next;
}

/* What the other end left when it closed, in whole messages; after that, the end. */
static bool deliver_late(struct cs_endpoint *e)
{
    uint32_t before = e->late_next;
    if (!e->late)
        return false;
    while (e->late_next < e->late_count && has_room(e, late_length(e)))
        for (uint32_t left = late_length(e); left > 0; left--)
            *cs_ring_reserve(&e->rx) = e->late[e->late_next++];
    cs_ring_submit(&e->rx);
    CS_FAULT("manager.late_published");
    e->announce = true;
    if (e->late_next < e->late_count)
        return e->late_next > before;
    free(e->late);
    e->late = NULL;
    cs_ring_end(&e->rx, CS_PEER_GONE | CS_NO_MORE);
    return true;
}

bool cs_channel_pass(struct cs_manager *m, struct cs_endpoint *e)
{
    int64_t ready = cs_ring_ready(&e->tx);
    uint32_t used = 0;
    if (ready < 0 || cs_ring_space(&e->rx) < 0 || cs_ring_space(&e->back) < 0) {
        cs_control_drop(m, e->process);
        return true;
    }
    bool worked = deliver_late(e);
    e->blocked = false;
    e->unfinished = 0;
    for (uint32_t steps = 0; steps < BATCH && (int64_t)used < ready; steps++) {
        struct cs_desc d = cs_ring_peek(&e->tx, used);
        uint32_t count = 1;
        if (d.flags & CS_DESC_FREE)
            take_free(m, e, d);
        else if ((count = cs_endpoint_message(e, used, (uint32_t)ready)) == 0) {
            e->unfinished = (uint32_t)ready - used; /* its writer rings when the rest is there */
            break;
        } else if (!hand_over(m, e, used, count)) {
            e->blocked = true;
            break;
        }
        used += count;
    }
    if (used == 0)
        return worked;
    if (e->peer) {
        cs_ring_submit(&other_end(m, e)->rx);
        cs_ring_submit(&other_end(m, e)->back);
    }
    CS_FAULT("manager.messages_published");
    cs_ring_release(&e->tx, used);
    CS_FAULT("manager.messages_released");
    return true;
}

void cs_channel_hang_up(struct cs_manager *m, struct cs_endpoint *e)
{
    struct cs_endpoint *peer = other_end(m, e);
    int64_t ready = cs_ring_ready(&e->tx);
    uint32_t used = 0;
    if (!peer)
        return;
    e->peer = peer->peer = 0;
    CS_FAULT("manager.hang_up_begun");
    peer->ended = peer->announce = true;
    if (ready > 0)
        peer->late = malloc((size_t)ready * sizeof *peer->late);
    while (peer->late && (int64_t)used < ready) {
        struct cs_desc d = cs_ring_peek(&e->tx, used);
        uint32_t count = 1;
        if (d.flags & CS_DESC_FREE)
            take_free(m, e, d);
        else if ((count = cs_endpoint_message(e, used, (uint32_t)ready)) == 0)
            break;
        else if (claim(m, e, used, count, peer->process, peer->late + peer->late_count))
            peer->late_count += count;
        used += count;
    }
    cs_ring_release(&e->tx, used);
    CS_FAULT("manager.hang_up_moved");
    cs_ring_end(&peer->rx, peer->late ? CS_PEER_GONE : CS_PEER_GONE | CS_NO_MORE);
}
