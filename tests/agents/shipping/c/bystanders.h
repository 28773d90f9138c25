/* Two processes that exchange checked data over a channel all the time, while others die: they must never miss a
 * message, see a wrong byte or stand still. */
#ifndef BYSTANDERS_H
#define BYSTANDERS_H

#include "mix.h"

enum { BYSTANDERS_FLIGHT = 4, BYSTANDERS_ECHO = 1000000007 };

static struct {
    _Atomic uint64_t rounds;
    _Atomic int stop;
} *bystanders;

static pid_t bystander[2];

/* Read the next message, which must have that number; its container, what of it and where. */
static void bystander_read(int fd, uint32_t number, int *cid, int *off, int *len, uint8_t **bytes)
{
    void *addr;
    struct cs_args args = {cid, off, len, NULL, &addr};
    CHECK_EQ(cs_read(fd, MIX_MOST, 1, &args, CS_MAPALL), 1);
    *bytes = (uint8_t *)addr + *off;
    struct mix_head head = mix_head_of(*bytes, (uint32_t)*len);
    CHECK_EQ(head.number, number);
    CHECK_EQ(head.bytes, *len);
    mix_check(*bytes, &head, 0, head.bytes);
}

static void bystander_write(int fd, uint32_t number, int cid, int off, int len, uint8_t *bytes, int options)
{
    mix_fill(bytes, &(struct mix_head){MIX_MAGIC, number, (uint32_t)len}, 0, (uint32_t)len);
    CHECK_EQ(cs_write(fd, 1, &cid, &off, &len, options), 0);
}

static void bystander_begins(int fd)
{
    int cid[BYSTANDERS_FLIGHT], off[BYSTANDERS_FLIGHT], len[BYSTANDERS_FLIGHT];
    uint8_t *bytes[BYSTANDERS_FLIGHT];
    for (int i = 0; i < BYSTANDERS_FLIGHT; i++) {
        void *addr;
        CHECK((cid[i] = cs_alloc(2 * CS_PAGE_SIZE, &addr, CS_MAPNOW)) > 0);
        off[i] = 100 * i;
        len[i] = 1000 * (i + 1);
        bytes[i] = (uint8_t *)addr + off[i];
    }
    for (uint32_t number = 0; !atomic_load(&bystanders->stop); number += BYSTANDERS_FLIGHT) {
        for (int i = 0; i < BYSTANDERS_FLIGHT; i++)
            bystander_write(fd, number + (uint32_t)i, cid[i], off[i], len[i], bytes[i], i % 2 ? 0 : CS_MORE);
        for (int i = 0; i < BYSTANDERS_FLIGHT; i++)
            bystander_read(fd, number + (uint32_t)i + BYSTANDERS_ECHO, &cid[i], &off[i], &len[i], &bytes[i]);
        atomic_fetch_add(&bystanders->rounds, 1);
        poll(NULL, 0, 1); /* leave the processors to those who are to die */
    }
}

static void bystander_answers(int fd)
{
    for (uint32_t number = 0; cs_wait_readable(cs_find(fd), 0) > 0; number++) {
        int cid, off, len;
        uint8_t *bytes;
        bystander_read(fd, number, &cid, &off, &len, &bytes);
        bystander_write(fd, number + BYSTANDERS_ECHO, cid, off, len, bytes, 0);
    }
}

static inline void bystanders_start(void)
{
    bystanders = mmap(NULL, sizeof *bystanders, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(bystanders != MAP_FAILED);
    for (int i = 0; i < 2; i++)
        if ((bystander[i] = child()) == 0) {
            CHECK_EQ(cs_attach(host.socket), 0);
            int fd = cs_open_channel("bystanders", CS_MIN_QUEUE, SOON_MS);
            CHECK(fd >= 0);
            (i ? bystander_answers : bystander_begins)(fd);
            cs_detach();
            _exit(0);
        }
}

static inline uint64_t bystanders_rounds(void)
{
    return atomic_load(&bystanders->rounds);
}

static inline void bystanders_end(void)
{
    int status;
    atomic_store(&bystanders->stop, 1);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(waitpid(bystander[i], &status, 0), bystander[i]);
        CHECK_EQ(status, 0);
    }
}

#endif
