/* What protection.c and the tiers share (write_revoked.c, strict.c). */
#ifndef CS_GUARD_H
#define CS_GUARD_H

#include <signal.h>

#include "pool.h"
#include "protection.h"
#include "protocol.h"

enum { CS_GONE = CS_OWNERS }; /* a holder that was dropped */

struct cs_page_guard {
    uint32_t last;     /* the attachment that had it mapped last; 0: since then a device has written to it */
    uint32_t from, to; /* bytes that its owner may see */
    uint16_t holder;   /* the owner to whom it is mapped; 0: nobody */
};

struct cs_guard_tier {
    int (*open)(struct cs_pool *p, const char **attempt);
    void (*close)(struct cs_pool *p); /* of what open did, if only in part */
    int (*adopt)(struct cs_pool *p, uint16_t owner, int userfault, uint64_t base); /* may be NULL */
    void (*leave)(struct cs_pool *p, uint16_t owner);                              /* may be NULL */
    /* These pages are the owner's. On failure none is granted. */
    int (*grant)(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t owner, int *fds);
    /* All are mapped to that owner, if to anybody. Those of which it is certain get no holder; true: all of them. */
    bool (*revoke)(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t holder);
};

extern const struct cs_guard_tier cs_guard_write_revoked, cs_guard_strict;

struct cs_guard {
    const struct cs_guard_tier *tier;
    struct cs_page_guard *page;
    uint32_t attachment[CS_OWNERS], attachments; /* never used twice */
    cs_counter *zeroed, *still_mapped;
    int *file;                         /* strict: of each page */
    struct sigaction on_lease_break;   /* strict: what SIGIO did before */
    bool ignoring;                     /* strict: it does nothing now */
    struct cs_view *view[CS_OWNERS + 1]; /* write-revoked: the process's mapping of the pool; never one of CS_GONE */
    struct cs_view *orphans;           /* of processes that were dropped and may still be alive */
};

#endif
