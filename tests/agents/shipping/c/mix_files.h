/* The files of a process that makes random calls: one that it reads, and targets that it writes, one after the other. */
#ifndef MIX_FILES_H
#define MIX_FILES_H

#include "files.h"
#include "mix_state.h"

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

#endif
