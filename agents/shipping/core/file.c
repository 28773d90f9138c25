/* Files as a process sees them: it opens them itself, and hands the descriptors to its manager. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs.h"
#include "fault.h"
#include "process.h"

int cs_adopt_file(int file, int flags, int timeout_ms)
{
    int access = flags & O_ACCMODE, given[CS_REQUEST_FDS] = {file, -1};
    struct stat status;
    char path[32];
    if (access == O_RDWR)
        return -EINVAL;
    if (fstat(file, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode)) /* before anything is done to a device */
        return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    off_t position = lseek(file, 0, SEEK_CUR);
    if (position < 0)
        return -errno;
    struct cs_request q = {.call = CS_CALL_OPEN_FILE, .file = {(uint64_t)position, access == O_WRONLY}};
    /* a description of its own, so that O_DIRECT is not switched on for others who have the first */
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    given[1] = open(path, access | O_DIRECT | O_CLOEXEC);
    int fd = cs_open_endpoint_with(&q, given, given[1] < 0 ? 1 : 2,
                              (struct cs_open){.timeout_ms = timeout_ms,
                                               .has_peer = access == O_WRONLY,
                                               .most = CS_CHANNEL_PARTS,
                                               .file = access == O_WRONLY ? CS_FILE_WRITES : CS_FILE_READS});
    CS_FAULT("file.given");
    if (given[1] >= 0)
        close(given[1]);
    return fd;
}

int cs_open_file(const char *path, int flags, int timeout_ms)
{
    if (!path)
        return -EINVAL;
    if (!cs_self.attached) /* before a file is made */
        return -ENOTCONN;
    if ((flags & O_ACCMODE) == O_RDWR || flags & O_APPEND)
        return -EINVAL;
    /* not to wait for the other end of a FIFO, which is refused anyway */
    int file = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
    if (file < 0)
        return -errno;
    CS_FAULT("file.opened");
    int fd = fcntl(file, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : cs_adopt_file(file, flags, timeout_ms);
    close(file);
    return fd;
}

int cs_file_how(int fd)
{
    const struct cs_open *e = cs_find(fd);
    return !e ? -EBADF : !e->file ? -EINVAL : e->how;
}

static int ask(struct cs_open *e, int size, int options)
{
    int err = cs_wait_writable(e, 1, options);
    if (err < 0)
        return err;
    *cs_ring_reserve(&e->tx) = (struct cs_desc){.len = (uint32_t)size, .flags = CS_DESC_ASK};
    cs_ring_submit(&e->tx);
    CS_FAULT("file.asked");
    cs_written(e);
    cs_flush();
    return 0;
}

int cs_file_ask(struct cs_open *e, int size, int options)
{
    if (e->file == CS_FILE_WRITES)
        return -EBADF;
    int err = e->asked == size ? 0 : ask(e, size, options);
    if (err == 0)
        e->asked = size;
    return err;
}

int cs_file_status(struct cs_open *e)
{
    if (e->rest.cid)
        return 1;
    struct cs_desc d = cs_ring_peek(&e->rx, 0);
    if (!(d.flags & CS_DESC_STATUS))
        return 1;
    cs_ring_release(&e->rx, 1);
    CS_FAULT("file.told");
    e->asked = 0; /* the manager has stopped */
    return -(int)d.off;
}

int cs_file_finish(struct cs_open *e)
{
    int err = e->asked ? 0 : ask(e, 0, 0);
    if (err < 0)
        return err;
    CS_FAULT("file.finishing");
    e->asked = 1; /* once, also when a signal comes */
    int64_t ready = cs_wait_readable(e, 0);
    return ready < 0 ? (int)ready : cs_file_status(e);
}
