/* A process that makes random calls in random states: containers held, mapped, freed and recycled, in flight in
 * channels, datagrams and files, read in part. All data says what it must be, and is checked where it arrives. */
#ifndef MIX_H
#define MIX_H

#include "mix_files.h"
#include "usage.h"

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
