/* A process that makes random calls in random states: containers held, mapped, freed and recycled, in flight in
 * channels, datagrams and files, read in part. All data says what it must be, and is checked where it arrives. */
#ifndef MIX_H
#define MIX_H

#include "core/process.h"
#include "files.h"
#include "random.h"
#include "usage.h"

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

static inline void mix_open_channel(struct mix *m)
{
    char name[40];
    struct mix_record *r = m->record;
    uint32_t theirs = m->with ? atomic_load(&m->with->channels) : 0;
    if (theirs > m->next)
        m->next = theirs - 1;
    snprintf(name, sizeof name, "%s.%u", m->name, (unsigned)m->next);
    atomic_store(&r->channels, ++m->next);
    m->channel = cs_open_channel(name, CS_MIN_QUEUE, m->timeout_ms);
    CHECK(m->channel >= 0 || mix_end(m, m->channel));
    m->at = m->numbers[0] = 0;
    m->message = (struct mix_head){0};
    WITHIN(SOON_MS, atomic_load(&r->other_end) >= m->next);
}

static inline int mix_open_udp(struct mix *m, int port, uint32_t to)
{
    int fd = cs_open_udp(frame_us.ip, (uint16_t)port, to, THEIR_PORT, CS_MIN_QUEUE, m->timeout_ms);
    CHECK(fd >= 0 || mix_end(m, fd));
    return fd;
}

static const char *const mix_screens[] = {"copied", "fetched"};

/* Small frame buffers, so that frames become whole: made before anybody mixes, for only who has one alone can set it up. */
static inline void mix_make_screens(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct cs_framebuffer small = {.width = 50, .height = 60, .bits = 8, .dma = i};
        int fd = cs_open_framebuffer(mix_screens[i], 0);
        CHECK(fd >= 0);
        CHECK_EQ(cs_ioctl(fd, CS_SET_FRAMEBUFFER, &small), 0);
        CHECK_EQ(cs_close(fd), 0);
    }
}

/* Whoever has started the host makes what all use. The manager has disks from the first file on: one descriptor
 * more, or none. */
static inline void mix_prepare(void)
{
    mix_make_screens();
    CHECK(cs_alloc(1, NULL, 0) > 0); /* answered: what went with earlier answers is closed */
    int before = descriptors_of(host.manager), fd;
    file_make("source", MIX_SOURCE);
    CHECK((fd = cs_open_file("source", O_RDONLY, 0)) >= 0);
    int disk = cs_file_how(fd) & CS_FILE_URING ? 1 : 0;
    CHECK_EQ(cs_close(fd), 0);
    WITHIN(SOON_MS, descriptors_of(host.manager) == before + disk);
}

static inline void mix_target_name(char name[40], uint16_t port, uint32_t number)
{
    snprintf(name, 40, "target.%u.%u", port, number);
}

/* A file that nobody else writes to: not the last one, of which something may still be under way. */
static inline void mix_open_target(struct mix *m)
{
    char name[40], last[40];
    uint32_t number = atomic_fetch_add(&m->record->files, 1) + 1;
    mix_target_name(name, m->port, number);
    mix_target_name(last, m->port, number - 1);
    m->written = 0;
    m->target = cs_open_file(name, O_WRONLY | O_CREAT | O_TRUNC, SOON_MS);
    CHECK(m->target >= 0 || mix_end(m, m->target));
    unlink(last);
}

/* Whoever made them is gone. */
static inline void mix_remove_targets(const struct mix_record *r, uint16_t port)
{
    char name[40];
    for (uint32_t number = atomic_load(&r->files), i = 0; i < 2; i++) {
        mix_target_name(name, port, number - i);
        unlink(name);
    }
}

static inline void mix_close_target(struct mix *m)
{
    char name[40];
    int err = cs_close(m->target);
    mix_target_name(name, m->port, atomic_load(&m->record->files));
    CHECK(err == 0 || mix_end(m, err));
    if (err == 0)
        CHECK_EQ(file_size(name), m->written);
}

static inline void mix_open_source(struct mix *m)
{
    m->place = 0;
    m->source = cs_open_file("source", O_RDONLY, m->timeout_ms);
    CHECK(m->source >= 0 || mix_end(m, m->source));
}

static inline void mix_open(struct mix *m)
{
    const char *name = mix_screens[below(2)];
    m->count = 0;
    mix_open_channel(m);
    m->udp = mix_open_udp(m, m->port, frame_them.ip);
    m->silent = mix_open_udp(m, m->port + 1, frame_them.ip + MIX_SILENT); /* nobody answers: it stays in the ring */
    m->screen = cs_open_framebuffer(name, m->timeout_ms);
    CHECK(m->screen >= 0 || mix_end(m, m->screen));
    mix_open_source(m);
    mix_open_target(m);
}

static inline int mix_any(struct mix *m)
{
    return (int[]){m->channel, m->udp, m->silent}[below(3)];
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

/* Write up to three of the containers held, or keep them where that fails. */
static inline void mix_write(struct mix *m, int fd)
{
    int offs[3], lens[3];
    const int *cids;
    void *addrs[3];
    uint32_t at = 0;
    bool channel = fd == m->channel;
    int n = mix_take(m, channel ? 3 * MIX_MOST : below(4) ? 8900 : MIX_DATAGRAM, &cids, offs, lens, addrs);
    struct mix_head head = {MIX_MAGIC, m->numbers[!channel], 0};
    if (n == 0)
        return;
    for (int i = 0; i < n; i++)
        head.bytes += (uint32_t)lens[i];
    for (int i = 0; i < n; at += (uint32_t)lens[i++])
        mix_fill((uint8_t *)addrs[i] + offs[i], &head, at, (uint32_t)lens[i]);
    int options = mix_write_options(m);
    if (channel)
        atomic_store(&m->record->started[m->next - 1], head.number + 1);
    int err = cs_write(fd, n, cids, offs, lens, options);
    if (err < 0) {
        CHECK(err == -EAGAIN || err == -ETIMEDOUT || mix_end(m, err));
        if (channel)
            atomic_store(&m->record->started[m->next - 1], head.number);
        return;
    }
    if (channel)
        atomic_store(&m->record->finished[m->next - 1], head.number + 1);
    m->numbers[!channel]++;
    m->count -= n;
}

/* Read, check, and keep or free what came. */
static inline void mix_read(struct mix *m, int fd)
{
    int cids[8], offs[8], lens[8], maxcon = below(4) ? 8 : 1;
    int size = (int)sizeof(struct mix_head) + (int)below(below(2) ? 100 : 3 * MIX_MOST);
    void *addrs[8];
    struct cs_args args = {cids, offs, lens, NULL, addrs};
    bool channel = fd == m->channel;
    int n = cs_read(fd, size, maxcon, &args, CS_MAPALL | (m->timeout_ms && below(3) ? 0 : CS_DONTWAIT));
    CHECK(n > 0 || n == -EAGAIN || n == -ETIMEDOUT || mix_end(m, n));
    struct mix_head head = m->message;
    uint32_t at = channel ? m->at : 0;
    for (int i = 0; i < n; i++) {
        uint8_t *bytes = (uint8_t *)addrs[i] + offs[i];
        if (at == 0)
            head = mix_head_of(bytes, (uint32_t)lens[i]);
        mix_check(bytes, &head, at, (uint32_t)lens[i]);
        at += (uint32_t)lens[i];
        if (m->count < MIX_HELD && below(2))
            m->held[m->count++] = cids[i];
        else
            CHECK_EQ(cs_free(1, &cids[i]), 0);
    }
    if (n > 0 && channel) {
        CHECK(at <= head.bytes);
        m->message = head;
        m->at = at == head.bytes ? 0 : at;
    }
}

/* The next bytes of the source, which are what they must be. */
static inline void mix_read_file(struct mix *m)
{
    int cid, off, len, size = 1 + (int)below(below(2) ? 5000 : 70000);
    void *addr;
    struct cs_args args = {&cid, &off, &len, NULL, &addr};
    int n = cs_read(m->source, size, 1, &args, CS_MAPALL | (m->timeout_ms && below(3) ? 0 : CS_DONTWAIT));
    CHECK(n >= 0 || n == -EAGAIN || n == -ETIMEDOUT || n == -ENOBUFS || mix_end(m, n));
    if (n == 0) {
        CHECK_EQ(m->place, MIX_SOURCE);
        mix_close(m, m->source);
        mix_open_source(m);
    }
    if (n <= 0)
        return;
    CHECK(len > 0 && len <= size);
    for (int i = 0; i < len; i += MIX_STEP)
        CHECK_EQ(((uint8_t *)addr)[off + i], file_byte(m->place + (uint64_t)i));
    m->place += (uint64_t)len;
    if (m->count < MIX_HELD && below(2))
        m->held[m->count++] = cid;
    else
        CHECK_EQ(cs_free(1, &cid), 0);
}

/* What is in the target is the beginning of the same bytes, whenever one looks; and all of it once it is closed. */
static inline void mix_write_file(struct mix *m)
{
    int offs[3], lens[3];
    const int *cids;
    void *addrs[3];
    if (m->written > MIX_TARGET) {
        mix_close_target(m);
        mix_open_target(m);
    }
    int n = mix_take(m, 3 * 24 * CS_PAGE_SIZE, &cids, offs, lens, addrs);
    if (n == 0)
        return;
    bool whole = atomic_load(&m->record->files) % 2; /* pages, so that none need be copied */
    for (int i = 0; whole && i < n; i++) {
        offs[i] = 0;
        lens[i] = (int)(cs_pages_of((uint32_t)cids[i]) * CS_PAGE_SIZE);
    }
    uint64_t at = m->written;
    for (int i = 0; i < n; at += (uint64_t)lens[i++])
        for (int k = 0; k < lens[i]; k++)
            ((uint8_t *)addrs[i])[offs[i] + k] = file_byte(at + (uint64_t)k);
    int err = cs_write(m->target, n, cids, offs, lens, mix_write_options(m));
    CHECK(err == 0 || err == -EAGAIN || err == -ETIMEDOUT || mix_end(m, err));
    if (err < 0)
        return;
    m->written = at;
    m->count -= n;
}

static inline void mix_draw(struct mix *m)
{
    int err;
    mix_write(m, m->screen);
    if (below(4) == 0) {
        int view = cs_view_framebuffer(mix_screens[below(2)]);
        CHECK(view >= 0 || mix_end(m, view));
        close(view);
    }
    if (below(4))
        return;
    err = cs_ioctl(m->screen, CS_DRAIN, NULL);
    CHECK(err == 0 || err == -ETIMEDOUT || mix_end(m, err));
}

static inline void mix_look(struct mix *m)
{
    int fd = mix_any(m), ready = below(2) ? cs_ready(fd) : cs_writable(fd);
    CHECK(ready == 0 || ready == 1 || mix_end(m, ready));
}

static inline void mix_map(struct mix *m)
{
    void *addrs[MIX_HELD];
    CHECK_EQ(cs_map(m->count, m->held, addrs, 0), 0);
    CHECK_EQ(cs_unmap(m->count, m->held), 0);
}

/* More than is kept for reuse, so that all goes back by calls when a size is asked for that cannot be had. */
static inline void mix_exhaust(struct mix *m)
{
    int cids[160], n = 0;
    while (n < 160 && (cids[n] = cs_alloc(1, NULL, 0)) > 0)
        n++;
    CHECK_EQ(cs_free(n, cids), 0);
    int err = cs_alloc((HOST_POOL / 2 + 1) * CS_PAGE_SIZE, NULL, 0);
    CHECK(err == -ENOBUFS || mix_end(m, err));
}

static inline void mix_attach(struct mix *m)
{
    int err = cs_attach(host.socket);
    if (err < 0) {
        CHECK(m->ended && (err == -EPIPE || err == -ECONNREFUSED));
        _exit(0); /* that is how one who comes too late learns of it */
    }
    m->attached++;
    mix_open(m);
}

/* Close something, or all, and open it again. */
static inline void mix_reopen(struct mix *m)
{
    if (m->next == MIX_CHANNELS || below(3) == 0) {
        mix_close(m, m->udp);
        m->udp = mix_open_udp(m, m->port, frame_them.ip);
    } else if (below(2)) {
        mix_close(m, m->channel);
        mix_open_channel(m);
    } else {
        cs_detach();
        mix_attach(m);
    }
}

static inline void mix_step(struct mix *m)
{
    if (below(m->restless) == 0)
        mix_reopen(m);
    switch (below(34)) {
    case 0: mix_map(m); break;
    case 1: cs_flush(); break;
    case 2: case 3: mix_look(m); break;
    case 4: below(8) ? mix_free(m) : mix_exhaust(m); break;
    case 5: case 6: mix_free(m); break;
    case 7: case 8: case 9: mix_alloc(m); break;
    case 10: mix_write(m, m->silent); break;
    case 11: mix_draw(m); break;
    case 12: case 13: case 14: mix_write(m, m->udp); break;
    case 15: case 16: case 17: case 18: mix_read(m, m->udp); break;
    case 19: case 20: case 21: case 22: case 23: mix_read(m, m->channel); break;
    case 24: mix_read_file(m); break;
    case 25: mix_write_file(m); break;
    default: mix_write(m, m->channel);
    }
}

#endif
