/* Strict: each page is a memory file of its own, which the manager has open once. To map the page a process gets a
 * descriptor of its own. Before the page goes on, the manager takes a write lease on the file (fcntl(2), F_SETLEASE): the
 * kernel grants it only if no other descriptor and no mapping of the file exists anywhere, in no process and in no
 * message under way. So nobody is asked and nobody is believed. A page that is still held is kept back until it is not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard.h"

enum { OTHER_DESCRIPTORS = 256 };

/* Another opening of the same file, which the kernel counts apart. Whoever had one could lock up the file by its mode. */
static int open_again(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = open(path, O_RDWR | O_CLOEXEC);
    if (again < 0 && errno == EACCES && fchmod(fd, S_IRUSR | S_IWUSR) == 0)
        again = open(path, O_RDWR | O_CLOEXEC);
    return again < 0 ? -errno : again;
}

/* A page's file at the page's place in the manager's mapping; its only descriptor. */
static int open_page(const struct cs_pool *p, uint32_t page)
{
    size_t bytes = cs_page_bytes(p);
    int made = cs_memory_file("transship-page", bytes, F_SEAL_SEAL, p->huge);
    if (made < 0)
        return made;
    int fd = open_again(made); /* memfd_create's own is not counted by the kernel as a writer */
    close(made);
    if (fd < 0)
        return fd;
    if (mmap(cs_page_data(p, page), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE | MAP_FIXED, fd, 0) != MAP_FAILED)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

static bool nobody_else_has(int fd)
{
    if (fcntl(fd, F_SETLEASE, F_WRLCK) < 0)
        return false;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return true;
}

static int allow_descriptors(uint32_t count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    if (limit.rlim_cur >= count)
        return 0;
    if (limit.rlim_max < count)
        return -EMFILE;
    limit.rlim_cur = count;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static int strict_open(struct cs_pool *p, const char **attempt)
{
    struct cs_guard *g = p->guard;
    *attempt = "have a descriptor for each page of the pool (protection strict needs as many: ulimit -Hn)";
    if (!(g->file = malloc(p->pages * sizeof *g->file)))
        return -ENOMEM;
    for (uint32_t i = 0; i < p->pages; i++)
        g->file[i] = -1;
    int err = allow_descriptors(p->pages + OTHER_DESCRIPTORS);
    if (err < 0)
        return err;
    /* who opens a page's file in the moment of a lease has the kernel send us this; nobody waits long */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGIO, &ignore, &g->on_lease_break) < 0)
        return -errno;
    g->ignoring = true;
    *attempt = "make a file for each page of the pool (protection strict)";
    /* one file for all is not wanted here, and its memory is needed: of large pages there are no more */
    if (mmap(p->data, (size_t)p->pages << p->shift, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        return -errno;
    close(p->data_fd);
    p->data_fd = -1;
    for (uint32_t i = 0; i < p->pages; i++)
        if ((g->file[i] = open_page(p, i)) < 0)
            return g->file[i];
    *attempt = "take a lease on a page's file (protection strict needs fcntl's F_SETLEASE on memory files)";
    int other = open_again(g->file[0]);
    if (other < 0)
        return other;
    bool seen = !nobody_else_has(g->file[0]);
    close(other);
    return seen && nobody_else_has(g->file[0]) ? 0 : -EOPNOTSUPP;
}

static void strict_close(struct cs_pool *p)
{
    for (uint32_t i = 0; p->guard->file && i < p->pages; i++)
        if (p->guard->file[i] >= 0)
            close(p->guard->file[i]);
    free(p->guard->file);
    if (p->guard->ignoring)
        sigaction(SIGIO, &p->guard->on_lease_break, NULL);
}

static int strict_grant(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t owner, int *fds)
{
    (void)owner;
    for (uint32_t i = 0; i < pages; i++)
        if ((fds[i] = open_again(p->guard->file[page + i])) < 0) {
            int err = fds[i];
            while (i > 0)
                close(fds[--i]);
            return err;
        }
    return 0;
}

static bool strict_revoke(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t holder)
{
    (void)holder;
    bool all = true;
    for (uint32_t i = page; i < page + pages; i++)
        if (nobody_else_has(p->guard->file[i]))
            p->guard->page[i].holder = 0;
        else
            all = false;
    return all;
}

const struct cs_guard_tier cs_guard_strict = {strict_open, strict_close, NULL, NULL, strict_grant, strict_revoke};
