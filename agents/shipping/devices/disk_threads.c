/* Transfers by a few threads of our own, for kernels that have no io_uring or forbid it. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "disk.h"

enum { THREADS = 4 }; /* a file that hangs holds one of them */

struct queue {
    struct cs_transfer *first, **end;
};

struct threads {
    struct cs_disk disk;
    int doorbell, count;
    pthread_t thread[THREADS];
    pthread_mutex_t lock; /* over all below */
    pthread_cond_t work;
    struct queue started, finished;
    bool stop;
};

static void put(struct queue *q, struct cs_transfer *t)
{
    t->next = NULL;
    *q->end = t;
    q->end = &t->next;
}

static struct cs_transfer *take(struct queue *q)
{
    struct cs_transfer *t = q->first;
    if (t && !(q->first = t->next))
        q->end = &q->first;
    return t;
}

static int64_t transfer(const struct cs_transfer *t)
{
    int64_t done = t->kind == CS_TRANSFER_READ    ? preadv(t->fd, t->iov, t->count, (off_t)t->position)
                   : t->kind == CS_TRANSFER_WRITE ? pwritev(t->fd, t->iov, t->count, (off_t)t->position)
                                                  : close(t->fd);
    return done < 0 ? -errno : done;
}

static void *serve(void *argument)
{
    struct threads *d = argument;
    const uint64_t one = 1;
    pthread_mutex_lock(&d->lock);
    while (!d->stop) {
        struct cs_transfer *t = take(&d->started);
        if (!t) {
            pthread_cond_wait(&d->work, &d->lock);
            continue;
        }
        pthread_mutex_unlock(&d->lock);
        t->result = transfer(t);
        pthread_mutex_lock(&d->lock);
        put(&d->finished, t);
        if (write(d->doorbell, &one, sizeof one) < 0) {
            /* full: it has been rung */
        }
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static void threads_close(struct cs_disk *disk)
{
    struct threads *d = (struct threads *)disk;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_broadcast(&d->work);
    pthread_mutex_unlock(&d->lock);
    while (d->count > 0)
        pthread_join(d->thread[--d->count], NULL);
    free(d);
}

static int threads_open(struct cs_disk **out, int doorbell)
{
    struct threads *d = calloc(1, sizeof *d);
    sigset_t all, before;
    int err = 0;
    if (!d)
        return -ENOMEM;
    d->disk.engine = &cs_disk_threads;
    d->doorbell = doorbell;
    d->started.end = &d->started.first;
    d->finished.end = &d->finished.first;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    /* the process's signals are for its own threads, and SIGXFSZ for nobody: its errno value is told */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (d->count < THREADS && (err = pthread_create(&d->thread[d->count], NULL, serve, d)) == 0)
        d->count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (d->count == 0) {
        threads_close(&d->disk);
        return -err;
    }
    *out = &d->disk;
    return 0;
}

static void threads_start(struct cs_disk *disk, struct cs_transfer *t)
{
    struct threads *d = (struct threads *)disk;
    pthread_mutex_lock(&d->lock);
    put(&d->started, t);
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
    disk->flying++;
}

static bool threads_submit(struct cs_disk *disk)
{
    (void)disk; /* they have it */
    return true;
}

static struct cs_transfer *threads_finished(struct cs_disk *disk)
{
    struct threads *d = (struct threads *)disk;
    pthread_mutex_lock(&d->lock);
    struct cs_transfer *t = take(&d->finished);
    pthread_mutex_unlock(&d->lock);
    disk->flying -= t != NULL;
    return t;
}

const struct cs_disk_engine cs_disk_threads = {
    "threads", threads_open, threads_start, threads_submit, threads_finished, threads_close,
};
