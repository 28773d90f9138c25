#define _GNU_SOURCE
#include "pool.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CS_SMALL_SHIFT = 12 };
_Static_assert(CS_PAGE_SIZE == 1 << CS_SMALL_SHIFT, "the usual page");

static const char *const state_names[CS_STATES] = {"containers_free", "containers_receiving", "containers_owned",
                                                   "containers_sending", "pages_following", "containers_withheld"};

static void enter(struct cs_pool *p, struct cs_container *c, enum cs_state state)
{
    cs_count(p->states[c->state], -1);
    cs_count(p->states[state], 1);
    c->state = state;
}

static void own(struct cs_pool *p, struct cs_container *c, uint16_t owner)
{
    p->held[c->owner] -= c->pages;
    p->held[owner] += c->pages;
    c->owner = owner;
}

/* What named the container before is stale from now on. Never 0 in the bits that identifiers carry, or the first
 * page's would be 0, which is no identifier. */
static void next_generation(struct cs_container *c)
{
    if ((++c->generation & CS_GENERATION_MASK) == 0)
        c->generation++;
}

static void list_add(struct cs_pool *p, uint32_t page)
{
    p->place[page] = p->free_count;
    p->free_list[p->free_count++] = page;
}

static void list_remove(struct cs_pool *p, uint32_t page)
{
    uint32_t last = p->free_list[--p->free_count];
    p->free_list[p->place[page]] = last;
    p->place[last] = p->place[page];
}

int cs_memory_file(const char *name, size_t bytes, int seals, bool huge)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0));
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)bytes) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | seals) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

uint8_t *cs_reserve(size_t bytes, size_t alignment)
{
    uint8_t *all = mmap(NULL, bytes + alignment, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)all % alignment;
    if (before > 0)
        munmap(all, before);
    munmap(all + before + bytes, alignment - before);
    return all + before;
}

/* Populated: a page fault in the middle of a batch would be charged to the I/O path at random. */
static int map_data(struct cs_pool *p, bool huge)
{
    size_t bytes = (size_t)p->pages << p->shift;
    int fd = cs_memory_file("transship-pool", bytes, F_SEAL_SEAL, huge);
    if (fd < 0)
        return fd;
    if (mmap(p->data, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int err = -errno;
        close(fd);
        return err;
    }
    p->data_fd = fd;
    p->huge = huge;
    return 0;
}

/* Large pages are the processor's where it has that many free (hugetlbpage), else each is many small ones. */
static int make_data(struct cs_pool *p)
{
    if (!(p->data = cs_reserve((size_t)p->pages << p->shift, cs_page_bytes(p))))
        return -ENOMEM;
    return p->shift > CS_SMALL_SHIFT && map_data(p, true) == 0 ? 0 : map_data(p, false);
}

int cs_pool_create(struct cs_pool *p, uint32_t pages, uint32_t page_bytes, struct cs_counters *counters)
{
    *p = (struct cs_pool){.data_fd = -1, .table_fd = -1, .pages = pages, .shift = (uint32_t)__builtin_ctz(page_bytes)};
    if (pages == 0 || (uint64_t)pages << p->shift > (uint64_t)CS_PAGE_SIZE << CS_PAGE_BITS)
        return -EINVAL;
    int err = 0, table = -1;
    char path[64];
    p->free_list = calloc(pages, sizeof *p->free_list);
    p->place = calloc(pages, sizeof *p->place);
    if (!p->free_list || !p->place) {
        err = -ENOMEM;
        goto fail;
    }
    if ((err = make_data(p)) < 0)
        goto fail;
    if ((table = cs_memory_file("transship-containers", cs_table_bytes(pages), 0, false)) < 0) {
        err = table;
        goto fail;
    }
    p->shared = mmap(NULL, cs_table_bytes(pages), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, table, 0);
    if (p->shared == MAP_FAILED)
        goto fail_errno;
    /* Reopened for reading only. A process could reopen it for writing again (/proc/self/fd): from here on nobody can
     * write to it but by the mapping that we have. */
    if (fcntl(table, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
        goto fail_errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", table);
    if ((p->table_fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        goto fail_errno;
    close(table);

    p->shared->version = CS_LAYOUT_VERSION;
    p->shared->pages = pages;
    p->shared->page_bytes = page_bytes;
    for (int i = 0; i < CS_STATES; i++) {
        p->states[i] = cs_counter_get(counters, state_names[i]);
        cs_count_set(p->states[i], 0);
    }
    cs_count_set(p->states[CS_FREE], pages);
    p->held[0] = pages;
    for (uint32_t i = 0; i < pages; i++) {
        p->shared->table[i] = (struct cs_container){.generation = 1, .pages = 1};
        list_add(p, pages - 1 - i);
    }
    return 0;

fail_errno:
    err = -errno;
fail:
    if (table >= 0)
        close(table);
    cs_pool_destroy(p);
    return err;
}

void cs_pool_destroy(struct cs_pool *p)
{
    cs_guard_close(p);
    if (p->data)
        munmap(p->data, (size_t)p->pages << p->shift);
    if (p->shared && p->shared != MAP_FAILED)
        munmap(p->shared, cs_table_bytes(p->pages));
    if (p->data_fd >= 0)
        close(p->data_fd);
    if (p->table_fd >= 0)
        close(p->table_fd);
    free(p->free_list);
    free(p->place);
    *p = (struct cs_pool){.data_fd = -1, .table_fd = -1};
}

static void zero(struct cs_pool *p, uint32_t page, uint32_t count)
{
    memset(cs_page_data(p, page), 0, (size_t)count << p->shift);
}

int cs_pool_take(struct cs_pool *p, enum cs_state state)
{
    if (p->free_count == 0)
        return -ENOBUFS;
    uint32_t page = p->free_list[--p->free_count];
    enter(p, &p->shared->table[page], state);
    if (p->zero_all)
        zero(p, page, 1);
    return (int)page;
}

static void hand_out(struct cs_pool *p, uint32_t page, uint32_t count, uint16_t owner)
{
    cs_pool_move(p, page, owner, CS_OWNED);
    if (p->guard)
        cs_guard_take(p, page, count, owner);
}

/* Next fit, from what was given back last: a size that comes and goes is found at once. */
int cs_pool_take_run(struct cs_pool *p, uint32_t count, uint16_t owner)
{
    uint32_t run = 0, page = p->hint;
    if (count == 1) {
        int one = cs_pool_take(p, CS_OWNED);
        if (one >= 0)
            hand_out(p, (uint32_t)one, 1, owner);
        return one;
    }
    if (count == 0 || count > p->free_count)
        return -ENOBUFS;
    for (uint32_t seen = 0; run < count && seen < p->pages + count; seen++, page++) {
        if (page == p->pages)
            page = run = 0;
        run = p->shared->table[page].state == CS_FREE ? run + 1 : 0;
    }
    if (run < count)
        return -ENOBUFS;
    uint32_t first = page - count;
    for (uint32_t i = first; i < page; i++) {
        list_remove(p, i);
        if (i > first)
            enter(p, &p->shared->table[i], CS_TAIL);
    }
    p->hint = page % p->pages;
    p->shared->table[first].pages = count;
    if (p->zero_all)
        zero(p, first, count);
    hand_out(p, first, count, owner);
    return (int)first;
}

/* Only what nobody can reach any more is free; the rest still counts as his who holds it. */
static void give_guarded(struct cs_pool *p, uint32_t page)
{
    struct cs_container *c = &p->shared->table[page];
    uint32_t pages = c->pages;
    cs_guard_revoke(p, page, pages);
    own(p, c, 0);
    for (uint32_t i = 0; i < pages; i++) {
        uint16_t holder = cs_guard_holder(p->guard, page + i);
        next_generation(&c[i]);
        c[i].pages = 1;
        own(p, &c[i], holder < CS_OWNERS ? holder : 0);
        cs_guard_forget(p->guard, page + i);
        enter(p, &c[i], holder ? CS_WITHHELD : CS_FREE);
        if (!holder)
            list_add(p, page + i);
    }
}

void cs_pool_retry(struct cs_pool *p)
{
    if (!p->guard || cs_count_value(p->states[CS_WITHHELD]) == 0)
        return;
    for (uint32_t page = 0; page < p->pages; page++)
        if (p->shared->table[page].state == CS_WITHHELD)
            cs_pool_give(p, page);
}

void cs_pool_share(struct cs_pool *p, uint32_t page)
{
    p->shared->table[page].shared++;
}

void cs_pool_give(struct cs_pool *p, uint32_t page)
{
    struct cs_container *c = &p->shared->table[page];
    uint32_t pages = c->pages;
    if (c->shared > 0) {
        c->shared--;
        return;
    }
    if (p->guard) {
        give_guarded(p, page);
        return;
    }
    own(p, c, 0);
    for (uint32_t i = 0; i < pages; i++) {
        next_generation(&c[i]);
        c[i].pages = 1;
        enter(p, &c[i], CS_FREE);
        list_add(p, page + i);
    }
    if (pages > 1)
        p->hint = page;
}

uint32_t cs_pool_move(struct cs_pool *p, uint32_t page, uint16_t owner, enum cs_state state)
{
    struct cs_container *c = &p->shared->table[page];
    next_generation(c);
    own(p, c, owner);
    enter(p, c, state);
    return cs_cid(page, c->generation);
}

void cs_pool_split(struct cs_pool *p, uint32_t page)
{
    uint32_t pages = p->shared->table[page].pages;
    own(p, &p->shared->table[page], 0);
    for (uint32_t i = page; i < page + pages; i++) {
        p->shared->table[i].pages = 1;
        cs_pool_move(p, i, 0, CS_SENDING);
    }
}

int64_t cs_pool_cut(struct cs_pool *p, uint32_t page, uint32_t count)
{
    struct cs_container *c = &p->shared->table[page];
    if (count == 0 || count >= c->pages)
        return -EINVAL;
    c[count].pages = c->pages - count;
    c[count].owner = c->owner;
    c->pages = count;
    return cs_pool_move(p, page + count, c->owner, CS_OWNED);
}

int64_t cs_pool_check(const struct cs_pool *p, uint32_t cid, uint32_t off, uint32_t len, uint16_t owner)
{
    uint32_t page = cs_cid_page(cid);
    if (cid >> 31 || page >= p->pages)
        return -EPERM;
    const struct cs_container *c = &p->shared->table[page];
    if (c->state != CS_OWNED || c->owner != owner || cs_cid(page, c->generation) != cid)
        return -EPERM;
    if ((uint64_t)off + len > (uint64_t)c->pages << p->shift)
        return -EPERM;
    return page;
}

uint32_t cs_pool_reclaim(struct cs_pool *p, uint16_t owner)
{
    uint32_t count = 0;
    for (uint32_t page = 0; page < p->pages; page++) {
        struct cs_container *c = &p->shared->table[page];
        if (c->state == CS_OWNED && c->owner == owner) {
            cs_pool_give(p, page);
            count++;
        }
        if (c->state == CS_WITHHELD && c->owner == owner)
            own(p, c, 0); /* another process may have its number soon */
    }
    return count;
}
