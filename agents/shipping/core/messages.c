#define _GNU_SOURCE
#include "messages.h"

#include <string.h>
#include <sys/socket.h>

#include "protocol.h"

/* Aligned as the headers in it must be. */
union descriptors {
    char bytes[CMSG_SPACE(CS_MAP_BATCH * sizeof(int))];
    struct cmsghdr align;
};

bool cs_message_send(int socket, const void *data, size_t bytes, const int *fds, int count)
{
    union descriptors control = {0};
    struct iovec iov = {(void *)data, bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    if (count > 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, (size_t)count * sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL) == (ssize_t)bytes;
}

ssize_t cs_message_receive(int socket, void *data, size_t bytes, int *fds, int room)
{
    union descriptors control;
    struct iovec iov = {data, bytes};
    /* exactly as long as they are, not CMSG_SPACE: padding would have room for one that nobody looks at */
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
                             .msg_controllen = CMSG_LEN((size_t)room * sizeof(int))};
    for (int i = 0; i < room; i++)
        fds[i] = -1;
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_TRUNC);
    struct cmsghdr *c = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    return got;
}
