/* A pool whose free pages are full of what somebody left there. */
#ifndef SECRETS_H
#define SECRETS_H

#include "channel.h"
#include "core/protocol.h"

enum { SECRET = 0xa5, SECRET_PAGES = 5 * CS_ALLOC_BATCH };

static inline bool all_are(const uint8_t *bytes, int count, int value)
{
    for (int i = 0; i < count; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* Leave a secret in many pages and die: they are the next to be handed out. */
static inline void leave_secrets(void)
{
    for (int i = 0; i < SECRET_PAGES; i++) {
        void *addr;
        CHECK(cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW) > 0);
        memset(addr, SECRET, CS_PAGE_SIZE);
    }
}

static inline void host_with_secrets(uint32_t protection, uint32_t zeroing)
{
    host.protection = protection;
    host.zeroing = zeroing;
    host_start_manager();
    pid_t pid = neighbour(leave_secrets);
    end_of(pid);
    WITHIN(SOON_MS, counted("containers_owned") + counted("containers_withheld") == 0);
}

#endif
