/* What is on the other end of a trial: a program that has text in memory and writes it, a block at a time, to standard
 * output or to a channel; or the manager of a host without networks, for the latter. In both ways each byte is copied
 * once on its way out, by write(2) into the kernel, or by us into a container.
 *
 *   feed pipe BYTES                  feed channel SOCKET NAME BYTES                  feed manager SOCKET */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "core/manager.h"
#include "cs.h"

enum { BLOCK = 64 << 10, PIPE_BYTES = 1 << 20, WAIT_MS = 20000, POOL_PAGES = 4096 };

static char text[PIPE_BYTES];
static _Atomic int stop;

static void told_to_stop(int number)
{
    (void)number;
    stop = 1;
}

/* Words of one to twelve letters, lines of about sixty; the same every time. */
static void write_text(void)
{
    uint32_t random = 1, word = 5, line = 0;
    for (size_t i = 0; i < sizeof text; i++, line++) {
        random = random * 1664525 + 1013904223;
        if (word-- > 0) {
            text[i] = (char)('a' + (random >> 24) % 26);
            continue;
        }
        word = 1 + (random >> 24) % 12;
        text[i] = line > 60 ? '\n' : ' ';
        line = line > 60 ? 0 : line;
    }
}

static int block_of(uint64_t left)
{
    return left < BLOCK ? (int)left : BLOCK;
}

static int feed_pipe(uint64_t bytes)
{
    fcntl(1, F_SETPIPE_SZ, PIPE_BYTES); /* as much as a user may have; if not, what there is */
    for (uint64_t done = 0; done < bytes;) {
        ssize_t put = write(1, text + done % sizeof text, (size_t)block_of(bytes - done));
        if (put < 0)
            return -errno;
        done += (uint64_t)put;
    }
    return 0;
}

static int feed_channel(const char *socket, const char *name, uint64_t bytes)
{
    int err = cs_attach(socket), fd = err < 0 ? err : cs_open_channel(name, PIPE_BYTES / BLOCK, WAIT_MS);
    for (uint64_t done = 0; fd >= 0 && done < bytes;) {
        void *address;
        int len = block_of(bytes - done), cid = cs_alloc(len, &address, CS_MAPNOW);
        if (cid < 0)
            return cid;
        memcpy(address, text + done % sizeof text, (size_t)len);
        if ((err = cs_write(fd, 1, &cid, NULL, &len, 0)) < 0)
            return err;
        done += (uint64_t)len;
    }
    return fd < 0 ? fd : cs_close(fd);
}

static int run_manager(const char *socket)
{
    char error[256] = "";
    struct cs_manager *m;
    struct cs_manager_config config = {.backend = "auto", .pages = POOL_PAGES};
    if (strlen(socket) >= sizeof config.socket)
        return -ENAMETOOLONG;
    strcpy(config.socket, socket);
    signal(SIGTERM, told_to_stop);
    int err = cs_manager_open(&m, &config, NULL, error, sizeof error);
    if (err < 0) {
        fprintf(stderr, "feed: %s\n", error);
        return err;
    }
    if (write(1, "ready\n", 6) != 6)
        err = -EPIPE;
    else
        err = cs_manager_run(m, &stop);
    cs_manager_close(m);
    return err;
}

int main(int argc, char **argv)
{
    int err = -EINVAL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    write_text();
    if (argc == 3 && strcmp(argv[1], "pipe") == 0)
        err = feed_pipe(strtoull(argv[2], NULL, 10));
    else if (argc == 5 && strcmp(argv[1], "channel") == 0)
        err = feed_channel(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    else if (argc == 3 && strcmp(argv[1], "manager") == 0)
        err = run_manager(argv[2]);
    if (err < 0)
        fprintf(stderr, "feed %s: %s\n", argc > 1 ? argv[1] : "", strerror(-err));
    return err < 0;
}
