/* What must always hold. For a pool: the counters say what the table says, every page is in exactly one
 * place, and the sum is the pool. */
#ifndef POOL_CHECK_H
#define POOL_CHECK_H

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "core/pool.h"

static inline struct cs_counters *new_counters(void)
{
    int fd = memfd_create("counters", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(fd, CS_COUNTERS_BYTES), 0);
    struct cs_counters *made = cs_counters_open(fd);
    close(fd);
    CHECK(made);
    return made;
}

static inline void check_pool(const struct cs_pool *p)
{
    uint64_t in[CS_STATES] = {0}, held[CS_OWNERS] = {0}, sum = 0;
    uint8_t *listed = calloc(p->pages, 1);
    CHECK(listed);
    for (uint32_t i = 0; i < p->pages; i++) {
        const struct cs_container *c = &p->shared->table[i];
        CHECK(c->state < CS_STATES);
        CHECK((c->owner != 0) == (c->state == CS_OWNED));
        CHECK(c->shared == 0 || c->state == CS_SENDING);
        CHECK(c->pages >= 1 && i + c->pages <= p->pages);
        in[c->state]++;
        held[c->owner] += c->pages;
        for (uint32_t k = 1; k < c->pages; k++)
            CHECK_EQ(c[k].state, CS_TAIL);
    }
    for (int s = 0; s < CS_STATES; s++) {
        CHECK_EQ(cs_count_value(p->states[s]), in[s]);
        sum += in[s];
    }
    held[0] = p->pages;
    for (int owner = 1; owner < CS_OWNERS; held[0] -= held[owner++])
        CHECK_EQ(p->held[owner], held[owner]);
    CHECK_EQ(p->held[0], held[0]);
    CHECK_EQ(sum, p->pages);
    CHECK_EQ(p->free_count, in[CS_FREE]);
    for (uint32_t i = 0; i < p->free_count; i++) {
        CHECK(p->free_list[i] < p->pages && !listed[p->free_list[i]]);
        CHECK_EQ(p->shared->table[p->free_list[i]].state, CS_FREE);
        listed[p->free_list[i]] = 1;
    }
    free(listed);
}

/* Of this process: nothing that it does may leave one behind. */
static inline int open_descriptors(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    CHECK(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

#endif
