/* Who may touch which page, in the tiers in which the manager sees to it and not the library (docs/protection.md).
 *
 * A process maps a container by asking (CS_CALL_MAP). The manager remembers for each page to whom it is mapped, and takes
 * that back when the container leaves its owner, before anybody else has it. It also remembers which bytes of a page are
 * its owner's to see, and zeroes the others when it grants a mapping: the edges that hold no data (CS95-441, section 2). */
#ifndef CS_PROTECTION_H
#define CS_PROTECTION_H

#include <stdbool.h>
#include <stdint.h>

enum cs_protection { CS_COOPERATIVE, CS_WRITE_REVOKED, CS_STRICT, CS_PROTECTIONS };

/* What of new memory is zeroed. CS_ZERO_USUAL: nothing in the cooperative tier, the edges in the others. */
enum cs_zeroing { CS_ZERO_USUAL, CS_ZERO_NONE, CS_ZERO_EDGES, CS_ZERO_ALL, CS_ZEROINGS };

struct cs_counters;
struct cs_pool;
struct cs_guard;

/* Guard a new pool, of which nobody has anything yet. 0 or -errno, with what was attempted in attempt. */
int cs_guard_open(struct cs_pool *p, enum cs_protection tier, struct cs_counters *counters, const char **attempt);
void cs_guard_close(struct cs_pool *p);

/* Another process is behind this owner's number; what the last one had mapped there does not count for it. */
void cs_guard_enter(struct cs_guard *g, uint16_t owner);
/* It was dropped, and what it had given back. It may live on. */
void cs_guard_leave(struct cs_pool *p, uint16_t owner);
/* Write-revoked: the owner has the pool mapped at base, registered with this userfaultfd, which is ours from now on. */
int cs_guard_adopt(struct cs_pool *p, uint16_t owner, int userfault, uint64_t base);

/* Let the owner map its container from that page of it on: its bytes that are nobody's to see are zero. Returns the
 * pages granted, all that are left of them or CS_MAP_BATCH, or -errno. Strict: fds gets a descriptor for each. */
int cs_guard_grant(struct cs_pool *p, uint32_t page, uint32_t from, uint16_t owner, int *fds);
/* May the container's owner see all of it, so that nothing is zeroed when it is mapped? */
bool cs_guard_shows_all(const struct cs_pool *p, uint32_t page);
/* Nobody can write (strict: nor read) these pages any more, but the manager. False: of some it could not be had. */
bool cs_guard_revoke(struct cs_pool *p, uint32_t page, uint32_t pages);
/* From whom the page could not be taken; 0: nobody. */
uint16_t cs_guard_holder(const struct cs_guard *g, uint32_t page);

/* New pages for an owner, with whatever was in them. */
void cs_guard_take(struct cs_pool *p, uint32_t page, uint32_t pages, uint16_t owner);
/* A device wrote these bytes of a container that is nobody's yet, and no others are for its owner. */
void cs_guard_fill(struct cs_pool *p, uint32_t page, uint32_t off, uint32_t len);
/* Only these bytes of a container go on to whoever gets it. */
void cs_guard_narrow(struct cs_pool *p, uint32_t page, uint32_t off, uint32_t len);
/* A device reads these bytes: zero those among them that were not their giver's to see. */
void cs_guard_clean(struct cs_pool *p, uint32_t page, uint32_t off, uint32_t len);
/* The page is nobody's. */
void cs_guard_forget(struct cs_guard *g, uint32_t page);

#endif
