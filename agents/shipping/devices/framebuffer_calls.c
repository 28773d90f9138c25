/* A process's calls about frame buffers. */
#include <errno.h>
#include <string.h>

#include "../core/process.h"

static int set_name(struct cs_request *q, const char *name)
{
    if (!name || !name[0])
        return -EINVAL;
    if (strlen(name) >= sizeof q->framebuffer.name)
        return -ENAMETOOLONG;
    strcpy(q->framebuffer.name, name);
    return 0;
}

int cs_open_framebuffer(const char *name, int timeout_ms)
{
    struct cs_request q = {.call = CS_CALL_OPEN_FRAMEBUFFER};
    int err = set_name(&q, name);
    if (err < 0)
        return err;
    return cs_open_endpoint(&q, (struct cs_open){.timeout_ms = timeout_ms, .has_peer = true, .write_only = true});
}

int cs_view_framebuffer(const char *name)
{
    struct cs_request q = {.call = CS_CALL_VIEW_FRAMEBUFFER};
    struct cs_reply reply;
    int fds[CS_REPLY_FDS], err = cs_self.attached ? set_name(&q, name) : -ENOTCONN;
    if (err == 0)
        err = cs_ask(&q, &reply, fds);
    return err < 0 ? err : fds[0];
}

static int ask_geometry(const struct cs_open *e, uint32_t request, struct cs_framebuffer *geometry)
{
    struct cs_request q = {.call = CS_CALL_IOCTL, .ioctl = {e->number, request, *geometry}};
    struct cs_reply reply;
    int err = cs_ask(&q, &reply, NULL);
    if (err == 0)
        *geometry = reply.geometry;
    return err;
}

int cs_ioctl(int fd, unsigned request, void *arg)
{
    struct cs_open *e = cs_find(fd);
    int err;
    if (!e)
        return -EBADF;
    if (!e->write_only)
        return -ENOTTY;
    switch (request) {
    case CS_SET_FRAMEBUFFER: /* what was written before is for the old one */
        if ((err = cs_wait_done(e, 0)) < 0)
            return err;
        /* fall through */
    case CS_GET_FRAMEBUFFER:
        return arg ? ask_geometry(e, request, arg) : -EINVAL;
    case CS_DRAIN:
        if (arg && *(const int *)arg < 0)
            return -EINVAL;
        return cs_wait_done(e, arg ? (uint32_t) * (const int *)arg : 0);
    default:
        return -EINVAL;
    }
}
