/* Files in the working directory, their contents, and copies of them: what the tests of the file device share. */
#ifndef FILES_H
#define FILES_H

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/stat.h>

#include "channel.h"

enum { OPERATION = 8192 };

/* A different byte at each place, also of neighbouring pages and blocks. */
static inline uint8_t file_byte(uint64_t at)
{
    return (uint8_t)(at * 31 + at / 256 * 7 + at / CS_PAGE_SIZE * 13 + 1);
}

static inline void file_make(const char *name, uint64_t bytes)
{
    static uint8_t block[1 << 16];
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    for (uint64_t at = 0; at < bytes;) {
        uint64_t count = bytes - at < sizeof block ? bytes - at : sizeof block;
        for (uint64_t i = 0; i < count; i++)
            block[i] = file_byte(at + i);
        CHECK_EQ(write(fd, block, count), count);
        at += count;
    }
    close(fd);
}

static inline uint64_t file_size(const char *name)
{
    struct stat status;
    CHECK_EQ(stat(name, &status), 0);
    return (uint64_t)status.st_size;
}

/* Byte for byte. */
static inline void file_same(const char *one, const char *other)
{
    static uint8_t a[1 << 16], b[1 << 16];
    int first = open(one, O_RDONLY | O_CLOEXEC), second = open(other, O_RDONLY | O_CLOEXEC);
    ssize_t got;
    CHECK(first >= 0 && second >= 0);
    CHECK_EQ(file_size(one), file_size(other));
    while ((got = read(first, a, sizeof a)) > 0) {
        CHECK_EQ(read(second, b, sizeof b), got);
        CHECK(memcmp(a, b, (size_t)got) == 0);
    }
    CHECK_EQ(got, 0);
    close(first);
    close(second);
}

static inline int file_reader(const char *name, int timeout_ms)
{
    int fd = cs_open_file(name, O_RDONLY, timeout_ms);
    CHECK(fd >= 0);
    return fd;
}

static inline int file_writer(const char *name)
{
    int fd = cs_open_file(name, O_WRONLY | O_CREAT | O_TRUNC, SOON_MS);
    CHECK(fd >= 0);
    return fd;
}

/* Figure 2's loop: 0, or the first error of either call. What is in hand then is freed. */
static inline int copy_loop(int src, int dst, int size)
{
    int cid, off, len, n, err = 0;
    struct cs_args args = {.cids = &cid, .offs = &off, .lens = &len};
    while ((n = cs_read(src, size, 1, &args, 0)) > 0)
        if ((err = cs_write(dst, 1, &cid, &off, &len, 0)) < 0) {
            CHECK_EQ(cs_free(1, &cid), 0);
            return err;
        }
    return n;
}

static inline int copy_file(const char *source, const char *target, int size)
{
    int src = file_reader(source, SOON_MS), dst = file_writer(target);
    int err = copy_loop(src, dst, size), closed = cs_close(dst);
    CHECK_EQ(cs_close(src), 0);
    return err < 0 ? err : closed;
}

/* Nothing is under way and nothing is ours, now or soon. */
static inline bool pool_is_whole(void)
{
    return counted("containers_free") + counted("containers_receiving") == HOST_POOL &&
           counted("containers_receiving") == 2 * HOST_QUEUE;
}

/* Our attachment anew: what this process kept for reuse goes back too. */
static inline void check_no_leak(void)
{
    cs_detach();
    WITHIN(SOON_MS, pool_is_whole());
    CHECK_EQ(cs_attach(host.socket), 0);
}

/* In this process and those that it starts, the call does not exist. */
static inline void forbid(int call)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

#endif
