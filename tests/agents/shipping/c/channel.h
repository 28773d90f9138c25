/* Two processes and a channel between them: what both sides of a test share. */
#ifndef CHANNEL_H
#define CHANNEL_H

#include "host.h"
#include "random.h"

enum { SHORT_QUEUE = 16, BIG = 128 << 10 };

/* A second process that does this and ends; wait for it with ended_well. */
static inline pid_t other(void (*what)(void))
{
    pid_t pid = child();
    if (pid == 0) {
        CHECK_EQ(cs_attach(host.socket), 0);
        what();
        cs_detach();
        _exit(0);
    }
    return pid;
}

static inline void ended_well(pid_t pid)
{
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
}

static inline int channel_end(const char *name, int timeout_ms)
{
    int fd = cs_open_channel(name, SHORT_QUEUE, timeout_ms);
    CHECK(fd >= 0);
    return fd;
}

static inline uint8_t pattern_byte(uint32_t number, uint32_t at)
{
    return (uint8_t)(number * 7 + at * 31 + at / 256 + at / CS_PAGE_SIZE);
}

/* Write one container with the bytes [from, from + len) of pattern at off. */
static inline int write_pattern(int fd, int off, int len, uint32_t number, int options)
{
    void *addr;
    int cid = cs_alloc(off + len ? off + len : 1, &addr, CS_MAPNOW);
    if (cid < 0)
        return cid;
    for (int i = 0; i < len; i++)
        ((uint8_t *)addr)[off + i] = pattern_byte(number, (uint32_t)i);
    int err = cs_write(fd, 1, &cid, &off, &len, options);
    if (err < 0)
        CHECK_EQ(cs_free(1, &cid), 0); /* it is still ours */
    return err;
}

/* Write messages of len bytes and that number until nothing more fits, between writer and reader and in the reader's ring;
 * how many. An end of a short time-out: it may pass before the manager has run at all. */
static inline int fill_channel(int fd, int len, uint32_t number)
{
    int written = 0, err = 0;
    while (err == 0 || written < 2 * SHORT_QUEUE)
        if ((err = write_pattern(fd, 0, len, number, 0)) == 0)
            written++;
        else
            CHECK_EQ(err, -ETIMEDOUT);
    return written;
}

/* Read some bytes of a message of that number, which begin at its byte `at`; how many, 0 at the end, or -errno. */
static inline int read_pattern(int fd, int size, int maxcon, uint32_t number, uint32_t at, int options)
{
    int cids[64], offs[64], lens[64], sizes[64], bytes = 0;
    void *addrs[64];
    struct cs_args args = {cids, offs, lens, sizes, addrs};
    int n = cs_read(fd, size, maxcon, &args, CS_MAPALL | options);
    CHECK(n <= maxcon);
    for (int i = 0; i < n; i++) {
        CHECK(offs[i] >= 0 && lens[i] >= 0 && offs[i] + lens[i] <= sizes[i]);
        for (int k = 0; k < lens[i]; k++)
            CHECK_EQ(((uint8_t *)addrs[i])[offs[i] + k], pattern_byte(number, at + (uint32_t)bytes + (uint32_t)k));
        bytes += lens[i];
    }
    CHECK(bytes <= size);
    if (n > 0)
        CHECK_EQ(cs_free(n, cids), 0);
    return n > 0 ? bytes : n;
}

#endif
