/* Streams: what they are connected to, and their containers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs.h"
#include "stream.h"

enum {
    ROOM = 64 << 10,   /* a container, or the buffer of an ordinary descriptor */
    ANY_SIZE = 1 << 30, /* a channel's message: all of it, so that none is cut */
    QUEUE = 16,
    PATIENCE = 10000, /* milliseconds that the pool may be empty */
};

static const char channel_prefix[] = "channel:";

CS_FILE cs_standard[3] = {
    {.fd = 0, .others = NULL},
    {.fd = 1, .writes = true, .others = &cs_standard[0]},
    {.fd = 2, .writes = true, .unbuffered = true, .kind = CS_STREAM_KERNEL, .others = &cs_standard[1]},
};
static CS_FILE *all = &cs_standard[2];

int cs_stream_fail(CS_FILE *f, int error)
{
    f->failed = true;
    errno = error;
    return EOF;
}

/* Attach where the environment says, unless the program has done so itself. 0 or -errno. */
static int attach(void)
{
    const char *manager = getenv("CS_MANAGER");
    int err;
    if (cs_manager_fd() >= 0)
        return 0;
    if (!manager)
        return -ENOTCONN;
    return (err = cs_attach(manager)) == -EISCONN ? 0 : err;
}

static bool on_device(const CS_FILE *f)
{
    return f->kind == CS_STREAM_CHANNEL || f->kind == CS_STREAM_FILE;
}

/* Something else than a regular file: a FIFO, say, which two looks at it would not leave as it is. */
static bool is_special(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

/* 0 or -errno. */
static int connect_to(CS_FILE *f, const char *path, int flags)
{
    int err = attach();
    if (strncmp(path, channel_prefix, sizeof channel_prefix - 1) == 0) {
        f->fd = err < 0 ? err : cs_open_channel(path + sizeof channel_prefix - 1, QUEUE, -1);
        f->kind = CS_STREAM_CHANNEL;
        return f->fd < 0 ? f->fd : 0;
    }
    f->fd = err < 0 ? err : is_special(path) ? -EINVAL : cs_open_file(path, flags, -1);
    f->kind = CS_STREAM_FILE;
    if (f->fd >= 0 || (f->fd != -ENOTCONN && f->fd != -EINVAL))
        return f->fd < 0 ? f->fd : 0;
    /* no manager, or no regular file, or one that is appended to */
    f->fd = open(path, flags | O_CLOEXEC, 0666);
    f->kind = CS_STREAM_KERNEL;
    return f->fd < 0 ? -errno : 0;
}

static void choose_buffering(CS_FILE *f)
{
    f->line = f->writes && !f->unbuffered && f->kind == CS_STREAM_KERNEL && isatty(f->fd);
}

/* The standard streams are connected when first used. */
static int decide(CS_FILE *f)
{
    const char *path = getenv(f->writes ? "CS_STDOUT" : "CS_STDIN");
    int err = 0;
    if (f->kind == CS_STREAM_FAILED)
        return -EBADF;
    if (f->kind != CS_STREAM_UNDECIDED)
        return 0;
    f->kind = CS_STREAM_KERNEL;
    if (path && (err = connect_to(f, path, f->writes ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY)) < 0)
        f->kind = CS_STREAM_FAILED;
    choose_buffering(f);
    return err;
}

/* Flags of open(2) for a mode, or -EINVAL. */
static int flags_of(const char *mode)
{
    int flags;
    switch (mode[0]) {
    case 'r': flags = O_RDONLY; break;
    case 'w': flags = O_WRONLY | O_CREAT | O_TRUNC; break;
    case 'a': flags = O_WRONLY | O_CREAT | O_APPEND; break;
    default: return -EINVAL;
    }
    if (strchr(mode, '+')) /* a container is read or written */
        return -EINVAL;
    return strchr(mode, 'x') ? flags | O_EXCL : flags;
}

static CS_FILE *made(CS_FILE f)
{
    CS_FILE *stream = malloc(sizeof *stream);
    if (!stream)
        return NULL;
    f.ours = true;
    f.others = all;
    *stream = f;
    choose_buffering(stream);
    return all = stream;
}

CS_FILE *cs_fopen(const char *path, const char *mode)
{
    CS_FILE f = {.fd = -1};
    int flags = flags_of(mode), err = flags < 0 ? flags : connect_to(&f, path, flags);
    CS_FILE *stream = NULL;
    f.writes = flags & O_WRONLY;
    if (err == 0 && !(stream = made(f))) {
        (on_device(&f) ? cs_close : close)(f.fd);
        err = -ENOMEM;
    }
    if (err < 0)
        errno = -err;
    return stream;
}

CS_FILE *cs_fdopen(int fd, const char *mode)
{
    int flags = flags_of(mode);
    if (flags < 0 || fd < 0) {
        errno = flags < 0 ? EINVAL : EBADF;
        return NULL;
    }
    /* a descriptor of the library is one of the kernel's too, to poll on: ask the library first */
    enum cs_stream_kind kind = cs_file_how(fd) >= 0           ? CS_STREAM_FILE
                               : cs_writable(fd) != -EBADF ? CS_STREAM_CHANNEL
                                                           : CS_STREAM_KERNEL;
    return made((CS_FILE){.fd = fd, .kind = kind, .writes = (flags & O_WRONLY) != 0});
}

/* Bytes that were read next, 0 at the end, or -errno. */
static int64_t read_container(CS_FILE *f)
{
    int off, len = 0, n;
    void *address;
    const int size = f->kind == CS_STREAM_CHANNEL ? ANY_SIZE : ROOM;
    struct cs_args args = {.cids = &f->container, .offs = &off, .lens = &len, .addrs = &address};
    do {
        if (f->container)
            cs_free(1, &f->container);
        f->container = 0;
        while ((n = cs_read(f->fd, size, 1, &args, CS_MAPALL)) == -EINTR) {
        }
        if (n <= 0)
            return n;
    } while (len == 0);
    f->first = (unsigned char *)address + off;
    return len;
}

static int64_t read_kernel(CS_FILE *f)
{
    ssize_t got;
    if (!f->first && !(f->first = malloc(ROOM)))
        return -ENOMEM;
    if (cs_standard[1].line) /* what was asked on a terminal is seen before it is answered */
        cs_fflush(&cs_standard[1]);
    while ((got = read(f->fd, f->first, ROOM)) < 0 && errno == EINTR) {
    }
    return got < 0 ? -errno : got;
}

int cs_fill(CS_FILE *f)
{
    int err = f->writes ? -EBADF : decide(f);
    if (err < 0)
        return cs_stream_fail(f, -err);
    if (f->aside) {
        f->next = f->aside_next;
        f->readable = f->aside_readable;
        f->aside = false;
        if (f->next < f->readable)
            return *f->next++;
    }
    if (f->at_end)
        return EOF;
    int64_t got = f->kind == CS_STREAM_KERNEL ? read_kernel(f) : read_container(f);
    f->next = f->first;
    f->readable = got > 0 ? f->first + got : f->first;
    if (got < 0)
        return cs_stream_fail(f, (int)-got);
    f->at_end = got == 0;
    return got > 0 ? *f->next++ : EOF;
}

/* What an empty pool lacks comes back when the readers of what we wrote have done with it. */
static int allocate(CS_FILE *f)
{
    void *address;
    int cid;
    for (int waited = 0; (cid = cs_alloc(ROOM, &address, CS_MAPNOW)) == -ENOBUFS && waited < PATIENCE; waited++)
        poll(NULL, 0, 1);
    if (cid < 0)
        return cid;
    f->container = cid;
    f->first = address;
    return 0;
}

static int make_room(CS_FILE *f)
{
    int err = decide(f);
    if (err == 0 && on_device(f))
        err = allocate(f);
    else if (err == 0 && !(f->first = malloc(ROOM)))
        err = -ENOMEM;
    if (err < 0)
        return err;
    f->next = f->first;
    f->end = f->first + ROOM;
    f->writable = f->line || f->unbuffered ? NULL : f->end;
    return 0;
}

static int write_kernel(CS_FILE *f)
{
    for (unsigned char *from = f->first; from < f->next;) {
        ssize_t put = write(f->fd, from, (size_t)(f->next - from));
        if (put < 0 && errno != EINTR) {
            int err = -errno;
            memmove(f->first, from, (size_t)(f->next - from));
            f->next -= from - f->first;
            return err;
        }
        from += put > 0 ? put : 0;
    }
    f->next = f->first;
    return 0;
}

static int write_container(CS_FILE *f)
{
    int len = (int)(f->next - f->first), err;
    while ((err = cs_write(f->fd, 1, &f->container, NULL, &len, 0)) == -EINTR) {
    }
    if (err < 0)
        return err;
    f->container = 0;
    f->first = f->next = f->end = f->writable = NULL;
    return 0;
}

int cs_stream_put(CS_FILE *f, const void *from, size_t count)
{
    const unsigned char *next = from;
    size_t left = count;
    int err = f->writes ? 0 : -EBADF;
    while (left > 0 && err == 0) {
        if (f->next < f->end) {
            size_t now = (size_t)(f->end - f->next) < left ? (size_t)(f->end - f->next) : left;
            memcpy(f->next, next, now);
            f->next += now;
            next += now;
            left -= now;
        } else if (f->first)
            err = f->kind == CS_STREAM_KERNEL ? write_kernel(f) : write_container(f);
        else
            err = make_room(f);
    }
    if (err < 0)
        return cs_stream_fail(f, -err);
    return f->unbuffered || (f->line && memchr(from, '\n', count)) ? cs_fflush(f) : 0;
}

int cs_spill(int c, CS_FILE *f)
{
    unsigned char byte = (unsigned char)c;
    return cs_stream_put(f, &byte, 1) < 0 ? EOF : byte;
}

int cs_fflush(CS_FILE *f)
{
    int err = 0, all_of_them = 0;
    if (!f) {
        for (f = all; f; f = f->others)
            all_of_them |= cs_fflush(f);
        return all_of_them;
    }
    if (f->writes && f->next > f->first)
        err = f->kind == CS_STREAM_KERNEL ? write_kernel(f) : write_container(f);
    return err < 0 ? cs_stream_fail(f, -err) : 0;
}

int cs_fileno(CS_FILE *f)
{
    int err = decide(f);
    if (err < 0)
        return cs_stream_fail(f, -err);
    return f->fd;
}

/* A signal ends the wait for a file to be written, and closes nothing. */
static int close_device(const CS_FILE *f)
{
    int err;
    while ((err = cs_close(f->fd)) == -EINTR) {
    }
    return err;
}

int cs_fclose(CS_FILE *f)
{
    int failed = cs_fflush(f), err = errno;
    if (f->kind == CS_STREAM_KERNEL)
        free(f->first);
    else if (f->container)
        cs_free(1, &f->container);
    if (f->kind == CS_STREAM_KERNEL && close(f->fd) < 0 && !failed) {
        failed = EOF;
        err = errno;
    }
    int closed = on_device(f) ? close_device(f) : 0;
    if (closed < 0 && !failed) {
        failed = EOF;
        err = -closed;
    }
    if (f->ours) {
        for (CS_FILE **at = &all; *at; at = &(*at)->others)
            if (*at == f) {
                *at = f->others;
                break;
            }
        free(f);
    } else
        *f = (CS_FILE){.fd = -1, .kind = CS_STREAM_FAILED, .writes = f->writes, .others = f->others};
    if (failed)
        errno = err;
    return failed;
}

/* After the program's own last words (atexit): what is still in the streams goes out, and their readers see the end. */
__attribute__((destructor)) static void close_all(void)
{
    decide(&cs_standard[1]); /* what is empty is made, too */
    cs_fflush(NULL);
    for (CS_FILE *f = all; f; f = f->others)
        if (on_device(f))
            close_device(f);
}
