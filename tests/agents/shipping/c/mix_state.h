/* What a process that makes random calls has and holds, and what its messages say. */
#ifndef MIX_STATE_H
#define MIX_STATE_H

#include "core/process.h"
#include "host.h"
#include "random.h"

enum { MIX_HELD = 48, MIX_CHANNELS = 64, MIX_MAGIC = 0x7af3, MIX_MOST = 6000, MIX_STEP = 61, MIX_SILENT = 9 };
enum { MIX_DATAGRAM = 30000, MIX_SOURCE = 300001, MIX_TARGET = 200000 }; /* bytes, at most */

/* What the other end and whoever watches know of a mixing process. */
struct mix_record {
    _Atomic uint32_t started[MIX_CHANNELS], finished[MIX_CHANNELS]; /* messages written to each of its channels */
    _Atomic uint32_t channels;                                      /* that it began to open */
    _Atomic uint32_t other_end;                                     /* that the other end has opened */
    _Atomic uint32_t files;                                         /* that it began to make: the last one is there */
};

/* At the start of each message and datagram. */
struct mix_head {
    uint32_t magic, number, bytes;
};

struct mix {
    struct mix_record *record;
    const char *name; /* of the channel, before its number */
    int channel, udp, silent, screen;
    int source, target;  /* files */
    uint64_t place, written; /* in them */
    uint32_t next;       /* number of the next channel */
    uint32_t attached;   /* how often */
    uint32_t numbers[2]; /* sent: messages, datagrams */
    int held[MIX_HELD], count;
    struct mix_head message; /* that is being read, and how much of it was */
    uint32_t at;
    uint32_t restless; /* one step in so many closes something, or all */
    int timeout_ms;
    uint16_t port;       /* and the next one */
    void (*ended)(struct mix *); /* called on -EPIPE and at the end of a channel, where these may be */
    const struct mix_record *with; /* who mixes at the other end too: open the channel that it has open */
};

static inline uint8_t mix_byte(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 7 + at * 31 + at / 4096);
}

/* Bytes [at, at + len) of a message: its head, and every MIX_STEPth byte after it. */
static inline void mix_fill(uint8_t *to, const struct mix_head *head, uint32_t at, uint32_t len)
{
    for (uint32_t i = at; i < at + len && i < sizeof *head; i++)
        to[i - at] = ((const uint8_t *)head)[i];
    for (uint32_t i = (at + MIX_STEP - 1) / MIX_STEP * MIX_STEP; i < at + len; i += MIX_STEP)
        if (i >= sizeof *head)
            to[i - at] = mix_byte(head->number, i);
}

static inline void mix_check(const uint8_t *bytes, const struct mix_head *head, uint32_t at, uint32_t len)
{
    for (uint32_t i = (at + MIX_STEP - 1) / MIX_STEP * MIX_STEP; i < at + len; i += MIX_STEP)
        if (i >= sizeof *head)
            CHECK_EQ(bytes[i - at], mix_byte(head->number, i));
}

/* The head of what begins there. */
static inline struct mix_head mix_head_of(const uint8_t *bytes, uint32_t len)
{
    struct mix_head head;
    CHECK(len >= sizeof head);
    memcpy(&head, bytes, sizeof head);
    CHECK_EQ(head.magic, MIX_MAGIC);
    return head;
}

/* An end, where none may be, is an error. */
static inline bool mix_end(struct mix *m, int err)
{
    if (!m->ended || (err != -EPIPE && err != 0))
        return false;
    m->ended(m);
    return true;
}

static inline void mix_close(struct mix *m, int fd)
{
    int err = cs_close(fd);
    CHECK(err == 0 || mix_end(m, err));
}

static inline void mix_alloc(struct mix *m)
{
    void *addr;
    if (m->count == MIX_HELD)
        return;
    int pages = below(4) ? 1 + (int)below(3) : 24;
    int cid = cs_alloc(pages * CS_PAGE_SIZE - (int)below(100), &addr, below(2) ? CS_MAPNOW : 0);
    CHECK(cid > 0 || cid == -ENOBUFS || mix_end(m, cid));
    if (cid > 0)
        m->held[m->count++] = cid;
}

static inline void mix_free(struct mix *m)
{
    int n = m->count ? 1 + (int)below((uint32_t)m->count) : 0;
    CHECK_EQ(cs_free(n, m->held + m->count - n), 0);
    m->count -= n;
}

/* Up to three of the containers held, with a part of each of at most so many bytes, mapped; 0: there are none. */
static inline int mix_take(struct mix *m, int most, const int **cids, int *offs, int *lens, void **addrs)
{
    int n = 1 + (int)below(3), least = (int)sizeof(struct mix_head);
    while (m->count < n) {
        int before = m->count;
        mix_alloc(m);
        if (m->count == before)
            return 0;
    }
    *cids = m->held + m->count - n;
    CHECK_EQ(cs_map(n, *cids, addrs, 0), 0);
    for (int i = 0; i < n; i++) {
        int bytes = (int)(cs_pages_of((uint32_t)(*cids)[i]) * CS_PAGE_SIZE);
        offs[i] = below(4) ? (int)below(200) : 0;
        lens[i] = least + (int)below((uint32_t)(bytes - offs[i] - least));
        lens[i] = lens[i] < most / n ? lens[i] : most / n;
    }
    return n;
}

static inline int mix_write_options(const struct mix *m)
{
    return (below(3) ? 0 : CS_MORE) | (m->timeout_ms && below(3) ? 0 : CS_DONTWAIT);
}

#endif
