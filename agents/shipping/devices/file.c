/* A regular file behind the six calls. The process opened it, the manager has only its descriptors; each page that is
 * filled or written belongs to the manager meanwhile, so that a process that dies leaves no page under a disk's hands.
 *
 * Both ways go through operations, in the order of the file. A reader's are started ahead of it and delivered in order; a
 * writer's may finish in any. Pages under way are counted, and kept to a part of the pool for each process. */
#define _GNU_SOURCE
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../core/fault.h"

/* What a manager that ends gives its disks to finish: less than whoever stops it waits before killing it. */
#define END_NS 5000000000ull

enum { MOST_CLOSING = 96 }; /* files: more than can be open, and so few that disks have room for others */

/* 0 if it is a regular file, open that way; else -errno. */
static int check_file(int fd, bool writes, struct statx *file)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -errno;
    int wrong = writes ? O_RDONLY : O_WRONLY;
    if (flags & O_PATH || (flags & O_ACCMODE) == wrong)
        return -EBADF;
    if (writes && flags & O_APPEND) /* it would go to the end, whatever its place */
        return -EINVAL;
    /* what is known of it: whoever serves a file system can make any question to it last for ever */
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_SIZE | STATX_INO | STATX_DIOALIGN, file) < 0)
        return -errno;
    return S_ISREG(file->stx_mode) ? 0 : S_ISDIR(file->stx_mode) ? -EISDIR : -EINVAL;
}

/* The second descriptor, if it is the same file, open for direct transfers, whose rules whole pages can keep. Where a file
 * system does not tell its rules, its O_DIRECT may be a copy by another name. */
static bool may_be_direct(int fd, bool writes, const struct statx *first)
{
    struct statx file;
    return fd >= 0 && check_file(fd, writes, &file) == 0 && fcntl(fd, F_GETFL) & O_DIRECT &&
           file.stx_ino == first->stx_ino && file.stx_dev_major == first->stx_dev_major &&
           file.stx_dev_minor == first->stx_dev_minor && file.stx_mask & STATX_DIOALIGN && file.stx_dio_mem_align > 0 &&
           file.stx_dio_mem_align <= CS_PAGE_SIZE && file.stx_dio_offset_align > 0 &&
           CS_PAGE_SIZE % file.stx_dio_offset_align == 0;
}

static int open_disk(struct cs_manager *m)
{
    if (m->disk)
        return 0;
    int err = cs_disk_uring.open(&m->disk, m->doorbell);
    return err < 0 ? cs_disk_threads.open(&m->disk, m->doorbell) : 0;
}

int cs_file_open(struct cs_manager *m, uint32_t process, const struct cs_request *q, int *given, struct cs_reply *reply,
                 int *fds)
{
    struct cs_endpoint *e = cs_endpoint_unused(m);
    struct statx file;
    int err;
    if (given[0] < 0)
        return cs_files_take(m) ? -EBADF : -ENFILE;
    if (q->file.writes > 1 || q->file.position > INT64_MAX)
        return -EINVAL;
    if ((err = check_file(given[0], q->file.writes, &file)) < 0 || (err = open_disk(m)) < 0)
        return err;
    if (!e)
        return -EMFILE;
    struct cs_file *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    if ((err = cs_endpoint_begin(m, e, process, CS_FILE_QUEUE, false, fds)) < 0) {
        free(f);
        return err;
    }
    CS_FAULT("manager.file_has_rings");
    *f = (struct cs_file){
        .next = m->files, .owner = (uint16_t)(process + 1), .fd = given[0], .direct_fd = given[1], .writes = q->file.writes,
        .position = q->file.position, .size = file.stx_size, .stopped = true, .last = &f->first};
    /* whole pages: one that the page cache has too is never written directly beside it */
    f->align = may_be_direct(given[1], f->writes, &file) ? CS_PAGE_SIZE : 0;
    given[0] = given[1] = -1;
    m->files = f;
    CS_FAULT("manager.file_listed");
    e->file = f;
    reply->opened.how = (f->align ? CS_FILE_DIRECT : 0) | (m->disk->engine == &cs_disk_uring ? CS_FILE_URING : 0);
    return cs_endpoint_opened(m, e, reply);
}

struct cs_operation *cs_operation_new(uint32_t count)
{
    struct cs_operation *o = calloc(1, sizeof *o + count * (sizeof(struct iovec) + sizeof(uint32_t)));
    if (!o)
        return NULL;
    o->transfer.iov = o->iov;
    o->page = (uint32_t *)(o->iov + count);
    return o;
}

void cs_operation_add(struct cs_manager *m, struct cs_file *f, struct cs_operation *o)
{
    for (uint32_t i = 0; i < o->count; i++)
        o->pages += m->pool.shared->table[o->page[i]].pages;
    o->transfer.owner = f;
    f->pages += o->pages;
    m->file_pages += o->pages;
    f->operations++;
    *f->last = o;
    f->last = &o->next;
    CS_FAULT("manager.operation_added");
}

void cs_operation_remove(struct cs_manager *m, struct cs_file *f, struct cs_operation **at, bool give)
{
    struct cs_operation *o = *at, *next = o->next;
    for (uint32_t i = 0; give && i < o->count; i++)
        cs_pool_give(&m->pool, o->page[i]);
    CS_FAULT("manager.operation_over");
    *at = next;
    if (!next)
        f->last = at;
    f->pages -= o->pages;
    m->file_pages -= o->pages;
    f->operations--;
    free(o);
}

bool cs_file_grants(const struct cs_manager *m, const struct cs_file *f, uint32_t pages)
{
    uint32_t under_way = pages;
    for (const struct cs_file *other = m->files; other; other = other->next)
        under_way += other->owner == f->owner ? other->pages : 0;
    return (under_way == pages || under_way <= m->pool.pages / CS_RECYCLE_SHARE) &&
           m->file_pages + pages <= m->pool.pages / 2;
}

/* Directly, if place, memory and lengths all are whole blocks. */
static bool is_aligned(const struct cs_file *f, const struct cs_operation *o)
{
    uint64_t sum = o->transfer.position;
    for (int i = 0; i < o->transfer.count; i++)
        sum |= (uintptr_t)o->transfer.iov[i].iov_base | o->transfer.iov[i].iov_len;
    return f->align && sum % f->align == 0;
}

/* Start what waits, in order. Direct and buffered transfers of one file are never on their way together: the kernel keeps
 * them coherent one after the other only. */
bool cs_file_start(struct cs_manager *m, struct cs_file *f)
{
    bool worked = false;
    for (struct cs_operation *o = f->first; o && m->disk->flying < CS_DISK_DEPTH; o = o->next) {
        if (o->state != CS_OPERATION_WAITING)
            continue;
        bool direct = is_aligned(f, o);
        if (f->flying > 0 && f->flying_direct != direct)
            break;
        f->flying_direct = direct;
        f->flying++;
        o->state = CS_OPERATION_FLYING;
        o->transfer.fd = direct ? f->direct_fd : f->fd;
        m->disk->engine->start(m->disk, &o->transfer);
        CS_FAULT("manager.transfer_started");
        worked = true;
    }
    return worked;
}

static void end_of_transfer(struct cs_manager *m, struct cs_file *f, struct cs_operation *o)
{
    int64_t result = o->transfer.result;
    f->flying--;
    CS_FAULT("manager.transfer_ended");
    o->state = CS_OPERATION_DONE;
    if (result == -EINTR)
        o->state = CS_OPERATION_WAITING;
    else if (result == -EINVAL && o->transfer.fd == f->direct_fd) {
        f->align = 0; /* it has more rules than it tells: by way of the page cache, then */
        o->state = CS_OPERATION_WAITING;
    } else if (f->writes)
        cs_file_wrote(m, f, o);
}

/* Nobody has it open any more. When the last transfer is over its descriptors are closed, as slowly as that may go. */
static void close_slowly(struct cs_manager *m, struct cs_file *f)
{
    const int fds[] = {f->fd, f->direct_fd};
    while (f->closing < 2 && m->disk->flying < CS_DISK_DEPTH) {
        struct cs_transfer *t = &f->close[f->closing];
        *t = (struct cs_transfer){.kind = CS_TRANSFER_CLOSE, .fd = fds[f->closing++], .owner = f};
        if (t->fd < 0) {
            f->closed++;
            continue;
        }
        m->disk->engine->start(m->disk, t);
        CS_FAULT("manager.file_closing");
    }
}

struct cs_endpoint *cs_file_endpoint(struct cs_manager *m, const struct cs_file *f)
{
    for (uint32_t i = 0; i < m->endpoints; i++)
        if (m->endpoint[i].used && m->endpoint[i].file == f)
            return &m->endpoint[i];
    return NULL;
}

static void finish_without_owner(struct cs_manager *m, struct cs_file *f)
{
    cs_file_start(m, f);
    for (struct cs_operation **at = &f->first; *at;)
        if ((*at)->state == CS_OPERATION_DONE)
            cs_operation_remove(m, f, at, true);
        else
            at = &(*at)->next;
    if (!f->first)
        close_slowly(m, f);
}

bool cs_files_pass(struct cs_manager *m)
{
    bool worked = false;
    if (!m->disk)
        return false;
    m->disk->engine->submit(m->disk);
    for (struct cs_transfer *t; (t = m->disk->engine->finished(m->disk)); worked = true)
        if (t->kind == CS_TRANSFER_CLOSE)
            ((struct cs_file *)t->owner)->closed++;
        else
            end_of_transfer(m, t->owner, (struct cs_operation *)t);
    for (struct cs_file **at = &m->files, *f; (f = *at);) {
        if (!cs_file_endpoint(m, f))
            finish_without_owner(m, f);
        if (f->closed < 2) {
            at = &f->next;
            continue;
        }
        CS_FAULT("manager.file_closed");
        *at = f->next;
        m->files_closing--;
        free(f);
    }
    if (!m->disk->engine->submit(m->disk))
        m->held_back = true;
    return worked;
}

bool cs_file_pass(struct cs_manager *m, struct cs_endpoint *e)
{
    if (cs_ring_ready(&e->tx) < 0 || cs_ring_space(&e->rx) < 0) {
        cs_control_drop(m, e->process);
        return true;
    }
    bool worked = e->file->writes ? cs_file_take(m, e) : cs_file_fill(m, e);
    return cs_file_start(m, e->file) || worked;
}

void cs_file_take_free(struct cs_manager *m, struct cs_endpoint *e, struct cs_desc d)
{
    int64_t page = cs_pool_check(&m->pool, d.cid, 0, 0, (uint16_t)(e->process + 1));
    if (page >= 0)
        cs_pool_give(&m->pool, (uint32_t)page);
    else
        cs_count(m->drops[CS_DROP_BAD_DESCRIPTOR], 1);
}

void cs_file_say(struct cs_endpoint *e, int error)
{
    if (cs_ring_space(&e->rx) <= 0)
        return; /* a process that asks and never listens */
    *cs_ring_reserve(&e->rx) = (struct cs_desc){.off = (uint32_t)-error, .flags = CS_DESC_STATUS};
    cs_ring_submit(&e->rx);
    e->announce = true;
}

bool cs_files_take(const struct cs_manager *m)
{
    return m->files_closing < MOST_CLOSING;
}

void cs_files_discard(struct cs_manager *m, const int *given)
{
    if (given[0] < 0 && given[1] < 0)
        return;
    struct cs_file *f = open_disk(m) == 0 ? calloc(1, sizeof *f) : NULL;
    if (f) {
        *f = (struct cs_file){.next = m->files, .fd = given[0], .direct_fd = given[1], .last = &f->first};
        m->files = f;
        m->files_closing++;
        return;
    }
    for (int i = 0; i < CS_REQUEST_FDS; i++)
        if (given[i] >= 0)
            close(given[i]);
}

void cs_file_hang_up(struct cs_manager *m, struct cs_endpoint *e)
{
    /* what is being read will be thrown away, what is being written goes its way */
    for (struct cs_operation *o = e->file->first; o && !e->file->writes; o = o->next)
        if (o->state == CS_OPERATION_WAITING)
            o->state = CS_OPERATION_DONE;
    CS_FAULT("manager.file_hung_up");
    e->file->owner = 0; /* another process may have its place soon */
    e->file = NULL;
    m->files_closing++;
}

uint32_t cs_files_end(struct cs_manager *m)
{
    const uint64_t until_ns = cs_now_ns() + END_NS;
    uint64_t rung, now_ns;
    if (!m->disk)
        return 0;
    while (cs_files_pass(m), m->files) {
        if ((now_ns = cs_now_ns()) >= until_ns)
            return m->disk->flying;
        struct pollfd bell = {.fd = m->doorbell, .events = POLLIN};
        if (poll(&bell, 1, (int)((until_ns - now_ns) / 1000000) + 1) > 0 && read(m->doorbell, &rung, sizeof rung) < 0) {
            /* it has been taken with an earlier one */
        }
    }
    m->disk->engine->close(m->disk);
    return 0;
}
