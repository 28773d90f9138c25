/* What a process does to itself in the tiers that are not cooperative, once, when it attaches: from then on nothing in it
 * can undo what the manager takes away. */
#ifndef CS_SHIELD_H
#define CS_SHIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0, or why this kernel has no userfaultfd as it is needed here. */
int cs_userfault_check(void);
/* Map the memory file so that each page can only be seen after the holder of *userfault put it in, and neither the
 * mapping nor that can be changed, here or in a child. Both are the caller's. */
int cs_shield_map(int fd, size_t bytes, size_t alignment, uint8_t **data, int *userfault);
/* Nobody of the same user without privilege can look into this process any more (ptrace(2)). And for it, all its threads
 * and children, for good: no more ways to hold on to pages without a mapping (io_uring, splice, AF_XDP, O_PATH), to use a
 * userfaultfd, to take pages out of their file, to have a child inherit one or, with `once`, to attach again. */
int cs_shield_calls(bool once);

#endif
