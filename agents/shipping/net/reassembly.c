#include "reassembly.h"

#include <stdio.h>
#include <string.h>

#include "../core/fault.h"

void cs_reassembly_open(struct cs_reassembly *r, struct cs_pool *pool, struct cs_counters *counters)
{
    static const char *const names[CS_REASSEMBLY_DROPS] = {"timeout", "overlap", "full", "pieces", "closed"};
    r->pool = pool;
    r->pages = r->count = 0;
    r->most_pages = pool->pages / CS_REASSEMBLY_SHARE;
    for (uint32_t i = 0; i < CS_REASSEMBLIES; i++)
        r->order[i] = (uint8_t)i;
    memset(r->whole, 0, sizeof r->whole);
    r->waiting = cs_counter_get(counters, "reassembly_backlog");
    r->copies = cs_counter_get(counters, "fragments_duplicated");
    for (int i = 0; i < CS_REASSEMBLY_DROPS; i++) {
        char name[CS_COUNTER_NAME];
        snprintf(name, sizeof name, "drop_reassembly_%s", names[i]);
        r->drops[i] = cs_counter_get(counters, name);
    }
}

static void count_pages(struct cs_reassembly *r, int64_t change)
{
    r->pages = (uint32_t)(r->pages + change);
    cs_count(r->waiting, (uint64_t)change);
}

static struct cs_incomplete *nth(struct cs_reassembly *r, uint32_t n)
{
    return &r->datagram[r->order[n]];
}

/* The name of the nth is forgotten. */
static void forget(struct cs_reassembly *r, uint32_t n)
{
    uint8_t slot = r->order[n];
    memmove(&r->order[n], &r->order[n + 1], --r->count - n);
    r->order[r->count] = slot;
}

static void give(struct cs_reassembly *r, const struct cs_part *part, uint32_t parts)
{
    for (uint32_t i = 0; i < parts; i++)
        cs_pool_give(r->pool, part[i].page);
}

static void give_up(struct cs_reassembly *r, struct cs_incomplete *d, enum cs_reassembly_drop why)
{
    give(r, d->part, d->parts);
    CS_FAULT("manager.reassembly_given_up");
    count_pages(r, -(int64_t)d->parts);
    d->parts = d->pieces = 0;
    d->given_up = true;
    cs_count(r->drops[why], 1);
}

void cs_reassembly_close(struct cs_reassembly *r)
{
    for (uint32_t n = 0; n < r->count; n++)
        cs_count(r->drops[CS_REASSEMBLY_CLOSED], !nth(r, n)->given_up);
    r->count = 0;
}

void cs_reassembly_expire(struct cs_reassembly *r, uint64_t now_ns)
{
    while (r->count > 0 && now_ns - nth(r, 0)->since_ns >= CS_REASSEMBLY_NS) {
        if (!nth(r, 0)->given_up)
            give_up(r, nth(r, 0), CS_REASSEMBLY_TIMEOUT);
        forget(r, 0);
    }
}

/* The oldest that is (not) given up, its place in the order; count: there is none. */
static uint32_t oldest(struct cs_reassembly *r, bool given_up)
{
    uint32_t n = 0;
    while (n < r->count && nth(r, n)->given_up != given_up)
        n++;
    return n;
}

/* The place in the order of the fragment's datagram; count: it is not there. */
static uint32_t find(struct cs_reassembly *r, const struct cs_packet *packet)
{
    for (uint32_t n = r->count; n-- > 0;) /* it is most often the newest */
        if (nth(r, n)->source == packet->sender.ip && nth(r, n)->id == packet->id)
            return n;
    return r->count;
}

static struct cs_reassembled *memory_of(struct cs_reassembly *r, uint32_t source, uint16_t id)
{
    return &r->whole[(source + id) % CS_REASSEMBLED];
}

/* Is it a part of a datagram that was whole? One that does not fit into that is of another with its identifier. */
static bool is_late(struct cs_reassembly *r, const struct cs_packet *packet, uint64_t now_ns)
{
    const struct cs_reassembled *w = memory_of(r, packet->sender.ip, packet->id);
    uint32_t to = packet->offset + packet->payload_len;
    return now_ns < w->until_ns && w->source == packet->sender.ip && w->id == packet->id && to <= w->end &&
           packet->more == (to != w->end);
}

static uint32_t begin(struct cs_reassembly *r, const struct cs_packet *packet, uint64_t now_ns)
{
    if (r->count == CS_REASSEMBLIES) {
        uint32_t leaves = oldest(r, true);
        if (leaves == r->count)
            give_up(r, nth(r, leaves = 0), CS_REASSEMBLY_FULL);
        forget(r, leaves);
    }
    struct cs_incomplete *d = nth(r, r->count);
    d->source = packet->sender.ip;
    d->id = packet->id;
    d->given_up = false;
    d->bytes = d->end = d->pieces = d->parts = 0;
    d->since_ns = now_ns;
    CS_FAULT("manager.reassembly_begun");
    return r->count++;
}

enum fit { FITS, COPY, OVERLAPS };

/* Where among its pieces a fragment belongs, if it agrees with what is there. */
static enum fit fit(const struct cs_incomplete *d, const struct cs_packet *packet, uint32_t *place)
{
    uint32_t from = packet->offset, to = from + packet->payload_len, n = d->pieces;
    while (n > 0 && d->piece[n - 1].from > from)
        n--;
    *place = n;
    const struct cs_piece *before = n > 0 ? &d->piece[n - 1] : NULL, *after = n < d->pieces ? &d->piece[n] : NULL;
    if (before && before->from == from && before->to == to && packet->more == (to != d->end))
        return COPY;
    if ((before && before->to > from) || (after && after->from < to))
        return OVERLAPS;
    if (d->end ? to > d->end || !packet->more : !packet->more && after)
        return OVERLAPS;
    return FITS;
}

static void insert(struct cs_incomplete *d, const struct cs_packet *packet, const struct cs_frame *f, uint32_t place)
{
    struct cs_piece *p = &d->piece[place];
    memmove(p + 1, p, (d->pieces++ - place) * sizeof *p);
    *p = (struct cs_piece){(uint16_t)packet->offset, (uint16_t)(packet->offset + packet->payload_len), (uint16_t)d->parts,
                           (uint16_t)f->parts};
    memcpy(&d->part[d->parts], f->part, f->parts * sizeof f->part[0]);
    d->parts += f->parts;
    d->bytes += packet->payload_len;
    if (!packet->more)
        d->end = p->to;
}

/* Room in the pool's share for a fragment of d: the oldest make way. False: d was one of them. */
static bool make_room(struct cs_reassembly *r, const struct cs_incomplete *d, uint32_t pages)
{
    while (!d->given_up && r->pages + pages > r->most_pages)
        give_up(r, nth(r, oldest(r, false)), CS_REASSEMBLY_FULL);
    return !d->given_up;
}

uint32_t cs_reassembly_add(struct cs_reassembly *r, const struct cs_packet *packet, const struct cs_frame *f, uint64_t now_ns,
                           struct cs_part whole[CS_DATAGRAM_PARTS])
{
    uint32_t n = find(r, packet), place = 0, parts = 0;
    if (n == r->count && is_late(r, packet, now_ns)) {
        give(r, f->part, f->parts);
        cs_count(r->copies, 1);
        return 0;
    }
    if (n == r->count)
        n = begin(r, packet, now_ns);
    struct cs_incomplete *d = nth(r, n);
    enum fit how = d->given_up ? COPY : fit(d, packet, &place);
    cs_count(r->copies, how == COPY && !d->given_up);
    if (how == OVERLAPS)
        give_up(r, d, CS_REASSEMBLY_OVERLAP);
    else if (how == FITS && d->parts + f->parts > CS_DATAGRAM_PARTS)
        give_up(r, d, CS_REASSEMBLY_PIECES);
    if (how != FITS || d->given_up || !make_room(r, d, f->parts)) {
        give(r, f->part, f->parts);
        return 0;
    }
    insert(d, packet, f, place);
    CS_FAULT("manager.reassembly_grown");
    count_pages(r, f->parts);
    if (d->bytes != d->end)
        return 0;
    for (uint32_t i = 0; i < d->pieces; parts += d->piece[i++].parts)
        memcpy(&whole[parts], &d->part[d->piece[i].first], d->piece[i].parts * sizeof whole[0]);
    count_pages(r, -(int64_t)parts);
    CS_FAULT("manager.reassembly_whole");
    *memory_of(r, d->source, d->id) = (struct cs_reassembled){d->source, d->end, d->id, now_ns + CS_REASSEMBLY_NS};
    forget(r, n);
    return parts;
}
