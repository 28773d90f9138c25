/* A file system of one file, served by a process of ours, that never answers when the file is closed. */
#ifndef FUSE_H
#define FUSE_H

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "host.h"

enum { FUSE_SKIP = 77, FUSE_FILE = 2, FUSE_FILE_BYTES = 100 };

static inline void fuse_answer(int device, uint64_t unique, int error, const void *body, size_t bytes)
{
    struct fuse_out_header head = {.len = (uint32_t)(sizeof head + bytes), .error = error, .unique = unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)body, bytes}};
    CHECK(writev(device, parts, 2) == (ssize_t)head.len || errno == ENOENT); /* whoever asked has gone */
}

static inline struct fuse_attr fuse_attributes(uint64_t node)
{
    return (struct fuse_attr){.ino = node, .size = FUSE_FILE_BYTES, .nlink = 1,
                              .mode = node == FUSE_FILE ? S_IFREG | 0600 : S_IFDIR | 0700};
}

static inline void fuse_serve(int device, _Atomic int *asked_to_close)
{
    static uint8_t message[FUSE_MIN_READ_BUFFER + (1 << 16)];
    while (read(device, message, sizeof message) >= (ssize_t)sizeof(struct fuse_in_header)) {
        const struct fuse_in_header *q = (const void *)message;
        struct fuse_init_out begun = {.major = FUSE_KERNEL_VERSION, .minor = 31, .max_write = CS_PAGE_SIZE, .max_readahead = 0};
        struct fuse_entry_out entry = {.nodeid = FUSE_FILE, .attr = fuse_attributes(FUSE_FILE)};
        struct fuse_attr_out attributes = {.attr = fuse_attributes(q->nodeid)};
        struct fuse_open_out opened = {.fh = 1};
        switch (q->opcode) {
        case FUSE_INIT: fuse_answer(device, q->unique, 0, &begun, sizeof begun); break;
        case FUSE_LOOKUP: fuse_answer(device, q->unique, 0, &entry, sizeof entry); break;
        case FUSE_GETATTR: fuse_answer(device, q->unique, 0, &attributes, sizeof attributes); break;
        case FUSE_OPEN: fuse_answer(device, q->unique, 0, &opened, sizeof opened); break;
        case FUSE_FLUSH: *asked_to_close = 1; break;
        case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: break; /* need no answer */
        default: fuse_answer(device, q->unique, -ENOSYS, NULL, 0);
        }
    }
    _exit(0);
}

static pid_t fuse_server, fuse_owner;

/* Before whoever has the file open ends, which closes it, and that is never answered. */
static inline void fuse_end(void)
{
    if (fuse_server > 0 && getpid() == fuse_owner)
        end_of(fuse_server);
    fuse_server = 0;
}

/* Mounted at `served`, in mounts of our own. What is returned becomes 1 when the server is asked to close. */
static inline _Atomic int *fuse_start(void)
{
    _Atomic int *asked_to_close = mmap(NULL, sizeof *asked_to_close, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char options[100];
    int device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (device < 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        (mkdir("served", 0700) < 0 && errno != EEXIST) ||
        mount("served", "served", "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
        fprintf(stderr, "no file system can be served here: %s\n", strerror(errno));
        exit(FUSE_SKIP);
    }
    CHECK(asked_to_close != MAP_FAILED);
    fuse_owner = getpid();
    if ((fuse_server = child()) == 0)
        fuse_serve(device, asked_to_close);
    CHECK_EQ(atexit(fuse_end), 0);
    close(device);
    return asked_to_close;
}

#endif
