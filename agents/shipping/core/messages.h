/* One message on the manager's socket, with descriptors beside it (SCM_RIGHTS). */
#ifndef CS_MESSAGES_H
#define CS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* At most CS_MAP_BATCH descriptors; they stay open here. True if it was sent. */
bool cs_message_send(int socket, const void *data, size_t bytes, const int *fds, int count);
/* As recv(2), except that what does not fit is counted too. fds: room for at most CS_MAP_BATCH, -1 where none came; the
 * kernel closes what has no room. */
ssize_t cs_message_receive(int socket, void *data, size_t bytes, int *fds, int room);

#endif
