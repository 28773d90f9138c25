/* Write-revoked: a process maps the pool once, without any page in it, and registers the mapping with a userfaultfd that
 * only the manager keeps (shield.c). The manager puts the pages of a container in when their owner asks for them, and
 * protects them against writing when it gives them away: two calls in a process that need not run and is not asked. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard.h"
#include "shield.h"

/* A process's mapping of the pool. */
struct cs_view {
    int userfault;
    uint32_t shift; /* of the pool's pages */
    uint64_t base;
    struct cs_view *next; /* of the orphans */
    uint8_t has[];        /* was the page ever put in? */
};

static int protect(const struct cs_view *v, uint32_t page, uint32_t pages, bool on)
{
    struct uffdio_writeprotect how = {
        .range = {v->base + ((uint64_t)page << v->shift), (uint64_t)pages << v->shift},
        .mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : UFFDIO_WRITEPROTECT_MODE_DONTWAKE,
    };
    return ioctl(v->userfault, UFFDIO_WRITEPROTECT, &how) < 0 ? -errno : 0;
}

static int put_in(const struct cs_view *v, uint32_t page)
{
    struct uffdio_continue how = {.range = {v->base + ((uint64_t)page << v->shift), 1ull << v->shift},
                                  .mode = UFFDIO_CONTINUE_MODE_DONTWAKE};
    return ioctl(v->userfault, UFFDIO_CONTINUE, &how) < 0 && errno != EEXIST ? -errno : 0;
}

static void let_go(struct cs_view *v)
{
    if (v)
        close(v->userfault);
    free(v);
}

/* While a process lives, its userfaultfd must stay open: without it, it could write everywhere again. */
static void bury_orphans(struct cs_guard *g)
{
    for (struct cs_view **at = &g->orphans; *at;) {
        struct cs_view *v = *at;
        if (protect(v, 0, 1, true) != -ESRCH) {
            at = &v->next;
            continue;
        }
        *at = v->next;
        let_go(v);
    }
}

static void write_revoked_leave(struct cs_pool *p, uint16_t owner)
{
    struct cs_guard *g = p->guard;
    if (g->view[owner]) {
        g->view[owner]->next = g->orphans;
        g->orphans = g->view[owner];
        g->view[owner] = NULL;
    }
    bury_orphans(g);
}

/* Whoever sent it may have sent anything. */
static bool is_userfault(int fd)
{
    char path[32], name[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, name, sizeof name - 1);
    name[length > 0 ? length : 0] = 0;
    return strcmp(name, "anon_inode:[userfaultfd]") == 0;
}

static int write_revoked_adopt(struct cs_pool *p, uint16_t owner, int userfault, uint64_t base)
{
    if (p->guard->view[owner] || base % cs_page_bytes(p) || !is_userfault(userfault))
        return -EINVAL;
    struct cs_view *v = calloc(1, sizeof *v + p->pages);
    if (!v)
        return -ENOMEM;
    *v = (struct cs_view){.userfault = userfault, .shift = p->shift, .base = base};
    int err = protect(v, 0, p->pages, true);
    if (err < 0)
        free(v);
    else
        p->guard->view[owner] = v;
    return err;
}

static int write_revoked_open(struct cs_pool *p, const char **attempt)
{
    /* a page that was swapped out would be missing where it was put in, and its owner get a SIGBUS */
    if (mlock(p->data, (size_t)p->pages << p->shift) < 0) {
        /* not without the right to; it matters on a machine that swaps */
    }
    *attempt = "use userfaultfd write protection of shared memory (protection write-revoked needs Linux 5.19)";
    return cs_userfault_check();
}

static void write_revoked_close(struct cs_pool *p)
{
    for (struct cs_view *v = p->guard->orphans, *next; v; v = next) {
        next = v->next;
        let_go(v);
    }
    for (int i = 0; i < CS_OWNERS; i++)
        let_go(p->guard->view[i]);
}

static int write_revoked_grant(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t owner, int *fds)
{
    struct cs_view *v = p->guard->view[owner];
    (void)fds;
    if (!v)
        return -EACCES; /* it has not done its part */
    for (uint32_t i = page; i < page + pages; i++) {
        int err = v->has[i] ? 0 : put_in(v, i);
        if (err < 0)
            return err;
        v->has[i] = 1;
    }
    return protect(v, page, pages, false);
}

static bool write_revoked_revoke(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t holder)
{
    const struct cs_view *v = p->guard->view[holder];
    int err = v ? protect(v, page, pages, true) : 0;
    if (!v) /* it was dropped, with pages that could not be taken from it then */
        bury_orphans(p->guard);
    if ((err < 0 && err != -ESRCH) || (!v && p->guard->orphans)) /* ESRCH: it has no memory any more */
        return false;
    for (uint32_t i = page; i < page + pages; i++)
        p->guard->page[i].holder = 0;
    return true;
}

const struct cs_guard_tier cs_guard_write_revoked = {write_revoked_open, write_revoked_close, write_revoked_adopt,
                                                     write_revoked_leave, write_revoked_grant, write_revoked_revoke};
