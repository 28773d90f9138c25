/* What the parts of the file device share: file.c (open, transfers, close), file_read.c and file_write.c. */
#ifndef CS_FILE_H
#define CS_FILE_H

#include "../core/manager.h"
#include "disk.h"

enum cs_operation_state { CS_OPERATION_WAITING, CS_OPERATION_FLYING, CS_OPERATION_DONE };

/* Containers on their way to or from one place of a file. */
struct cs_operation {
    struct cs_transfer transfer; /* first: a finished transfer is its operation */
    struct cs_operation *next;   /* of the file */
    enum cs_operation_state state;
    bool stale;              /* reading: what came before it was shorter than thought */
    uint32_t skip, bytes;    /* reading: those that are wanted begin so far behind the transfer's place */
    uint32_t count, pages;   /* containers; pages of all */
    uint32_t *page;          /* the first of each */
    struct iovec iov[];
};

struct cs_file {
    struct cs_file *next; /* of the manager's */
    uint16_t owner;
    bool writes, flying_direct;
    int fd, direct_fd; /* both the process's; -1: it sent one only */
    uint32_t align;    /* of direct transfers; 0: there are none */
    uint64_t position; /* where the next operation begins */
    uint64_t size;     /* when it was opened: behind it there may be nothing to read ahead */
    struct cs_operation *first, **last;
    uint32_t operations, pages, flying;

    uint32_t wanted; /* reading: bytes of each container that the process asked for */
    bool stopped;    /* reading: the process has not asked, or not since it was told of an end or an error */

    int failed; /* writing: the first error, from then on all is lost */
    bool asked; /* writing: the process wants to know when all is written */

    struct cs_transfer close[2];
    uint32_t closing, closed;
};

/* NULL: no memory. */
struct cs_operation *cs_operation_new(uint32_t count);
/* Behind the others; its containers are under way from here on. */
void cs_operation_add(struct cs_manager *m, struct cs_file *f, struct cs_operation *o);
/* give: its containers go back to the pool. */
void cs_operation_remove(struct cs_manager *m, struct cs_file *f, struct cs_operation **at, bool give);
/* May so many pages more be under way for its process? */
bool cs_file_grants(const struct cs_manager *m, const struct cs_file *f, uint32_t pages);
bool cs_file_start(struct cs_manager *m, struct cs_file *f);
/* Who has it open, or NULL. */
struct cs_endpoint *cs_file_endpoint(struct cs_manager *m, const struct cs_file *f);
/* What a process freed through its ring. */
void cs_file_take_free(struct cs_manager *m, struct cs_endpoint *e, struct cs_desc d);
/* Tell the process: an end (0) or an error, behind all that was delivered. */
void cs_file_say(struct cs_endpoint *e, int error);

/* file_read.c: what its process asks for, what it gets, what is read ahead */
bool cs_file_fill(struct cs_manager *m, struct cs_endpoint *e);
/* file_write.c: what its process wrote */
bool cs_file_take(struct cs_manager *m, struct cs_endpoint *e);
/* One transfer has ended, perhaps with a part of it. */
void cs_file_wrote(struct cs_manager *m, struct cs_file *f, struct cs_operation *o);

#endif
