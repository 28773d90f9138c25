/* `bench ipc`, the systems in C. Two processes on two cores: one makes messages, the other looks at them.
 *
 * ipc SYSTEM SIZE SECONDS TOUCHED MEASURE CPU CPU SOCKET PARENT [PROTECTION ZEROING PAGE RECYCLING]
 *     TOUCHED: lines (a word of each cache line is written and read), nothing, bytes (all, as the tests want it), mapped
 *         (and no more; only shipping tells it from nothing)
 *     MEASURE: throughput (messages one after the other), round-trip (one there, one back, each made and looked at)
 *     SOCKET: a path for the manager's, if the system needs one
 *     PARENT: the process that starts it, and with which it ends
 *     PROTECTION, ZEROING, PAGE, RECYCLING: numbers for the pool of shipping's manager, 0 0 4096 1
 * ipc manager SIZE CPU CPU SOCKET PARENT: a manager for messages of that size, until SIGTERM
 *
 * On standard output one JSON object; on standard error why there is none. The clock starts after a fifth of SECONDS. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ways.h"

enum { LINE = 64, LARGE_PAGE = 2 << 20, BIG = 64 << 10, LOOK_EVERY = 64, LARGEST = 1 << 28 };
enum touched { LINES, NOTHING, BYTES, MAPPED };

static const struct way *const ways[] = {&way_shipping, &way_pipe, &way_stream, &way_seqpacket,
                                         &way_vmsplice, &way_readv, &way_ring};

/* What the two processes tell the one that started them. */
static struct {
    uint64_t messages;
    double seconds;
    char pages[32];
    _Atomic bool done; /* measured: the others may break off */
} *told;

static const char *system_name = "";
static enum touched touched;
static double warm_up, measured;

static void fail(const char *attempt, int err)
{
    if (told && atomic_load(&told->done))
        exit(0);
    fprintf(stderr, "ipc: %s: cannot %s: %s\n", system_name, attempt, strerror(-err));
    exit(1);
}

static void must(int err, const char *attempt)
{
    if (err < 0)
        fail(attempt, err);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pin(const int *cpus, int count)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < count; i++)
        CPU_SET(cpus[i], &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        fail("run on the CPU asked for", -errno);
}

static uint8_t pattern(uint64_t number, size_t at)
{
    return (uint8_t)(number * 7 + at * 31 + at / 251);
}

static void make(uint8_t *data, size_t size, uint64_t number)
{
    if (touched == LINES)
        for (size_t i = 0; i < size; i += LINE)
            memcpy(data + i, &number, sizeof number);
    else if (touched == BYTES)
        for (size_t i = 0; i < size; i++)
            data[i] = pattern(number, i);
}

static bool is_made(const uint8_t *data, size_t size, uint64_t number)
{
    uint64_t sum = 0, word;
    for (size_t i = 0; touched == LINES && i < size; i += LINE) {
        memcpy(&word, data + i, sizeof word);
        sum += word;
    }
    if (touched == LINES)
        return sum == number * (size / LINE);
    for (size_t i = 0; touched == BYTES && i < size; i++)
        if (data[i] != pattern(number, i))
            return false;
    return true;
}

static void send_one(struct link *l, uint64_t number)
{
    must(l->way->begin(l), "begin a message");
    make(l->data, l->size, number);
    must(l->way->send(l), "send a message");
}

static void receive_one(struct link *l, uint64_t number)
{
    must(l->way->receive(l), "receive a message");
    if (!is_made(l->data, l->size, number)) {
        fprintf(stderr, "ipc: %s: message %llu is not what was sent\n", system_name, (unsigned long long)number);
        exit(1);
    }
    must(l->way->release(l), "release a message");
}

static void join(struct link *l, bool writes)
{
    l->writes = writes;
    must(l->way->join(l), "join");
    if (l->way == &way_vmsplice && writes)
        strncpy(told->pages, pages_of_splice, sizeof told->pages - 1);
}

/* Count what `step` does, from the first look at the clock after the warm-up to the first one after the end. */
static void measure(struct link *links, void (*step)(struct link *links, uint64_t number), uint64_t look_every)
{
    uint64_t number = 0, first = 0;
    double start = now(), from = 0, t = start;
    while (from == 0 || t < from + measured) {
        for (uint64_t i = 0; i < look_every; i++)
            step(links, ++number);
        t = now();
        if (from == 0 && t >= start + warm_up) {
            from = t;
            first = number;
        }
    }
    told->messages = number - first;
    told->seconds = t - from;
    atomic_store(&told->done, true);
}

static void read_one(struct link *links, uint64_t number)
{
    receive_one(&links[0], number);
}

static void there_and_back(struct link *links, uint64_t number)
{
    send_one(&links[0], number);
    receive_one(&links[1], number);
}

static void write_all(struct link *links)
{
    join(&links[0], true);
    for (uint64_t number = 1;; number++)
        send_one(&links[0], number);
}

static void read_all(struct link *links)
{
    join(&links[0], false);
    measure(links, read_one, links[0].size < BIG ? LOOK_EVERY : 1);
}

static void echo(struct link *links)
{
    join(&links[0], false);
    join(&links[1], true);
    for (uint64_t number = 1;; number++) {
        receive_one(&links[0], number);
        send_one(&links[1], number);
    }
}

static void call(struct link *links)
{
    join(&links[0], true);
    join(&links[1], false);
    measure(links, there_and_back, 1);
}

/* A process that ends with this one. */
static pid_t child(const int *cpus, int count)
{
    pid_t us = getpid(), pid = fork();
    if (pid < 0)
        fail("start a process", -errno);
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != us)
        _exit(1);
    pin(cpus, count);
    return 0;
}

static pid_t start_manager(const char *socket, size_t size, const struct pool *pool, const int *cpus)
{
    int said[2];
    char word[8];
    if (pipe(said) < 0)
        fail("make a pipe", -errno);
    pid_t pid = child(cpus, 2);
    if (pid == 0)
        exit(run_manager(socket, size, pool, said[1]) < 0);
    close(said[1]);
    if (read(said[0], word, sizeof word) <= 0)
        fail("start its manager", -EPIPE);
    close(said[0]);
    return pid;
}

/* The processes of a trial; 0: there is none, or it was waited for. */
enum { FIRST, SECOND, MANAGER, PROCESSES };

/* Wait until `measurer` is done; the others have to be there until then. */
static bool done_well(pid_t *process, int measurer)
{
    for (;;) {
        int status, i = 0;
        pid_t pid = wait(&status);
        while (i < PROCESSES && process[i] != pid)
            i++;
        if (i < PROCESSES)
            process[i] = 0;
        if (i == measurer)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (pid < 0 || !atomic_load(&told->done)) {
            fprintf(stderr, "ipc: %s: a process ended too early\n", system_name);
            return false;
        }
    }
}

static void end(pid_t pid, int number)
{
    if (pid > 0 && kill(pid, number) == 0)
        waitpid(pid, NULL, 0);
}

static long number_of(const char *text, long from, long to, const char *what)
{
    char *rest;
    long value = strtol(text, &rest, 10);
    if (*text && !*rest && value >= from && value <= to)
        return value;
    fprintf(stderr, "ipc: %s: %s given, a whole number from %ld to %ld expected\n", what, text, from, to);
    exit(2);
}

static int choice(const char *text, const char *const *allowed, int count, const char *what)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, allowed[i]) == 0)
            return i;
    fprintf(stderr, "ipc: %s: %s given, one of", what, text);
    for (int i = 0; i < count; i++)
        fprintf(stderr, " %s", allowed[i]);
    fprintf(stderr, " expected\n");
    exit(2);
}

/* Whoever is killed in the middle of a benchmark takes its trial along. */
static void end_with(const char *parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != number_of(parent, 1, INT_MAX, "PARENT"))
        exit(1);
}

static const struct pool usual = {.page_bytes = PAGE};

static struct pool pool_of(char **args)
{
    return (struct pool){.protection = (uint32_t)number_of(args[0], 0, 2, "PROTECTION"),
                         .zeroing = (uint32_t)number_of(args[1], 0, 3, "ZEROING"),
                         .page_bytes = (uint32_t)number_of(args[2], PAGE, LARGE_PAGE, "PAGE"),
                         .no_recycling = number_of(args[3], 0, 1, "RECYCLING") == 0};
}

static int only_manager(char **args)
{
    int cpus[] = {(int)number_of(args[3], 0, CPU_SETSIZE - 1, "CPU"), (int)number_of(args[4], 0, CPU_SETSIZE - 1, "CPU")};
    end_with(args[6]);
    pin(cpus, 2);
    return run_manager(args[5], (size_t)number_of(args[2], LINE, LARGEST, "SIZE"), &usual, STDOUT_FILENO) < 0;
}

int main(int count, char **args)
{
    static const char *const touches[] = {"lines", "nothing", "bytes", "mapped"}, *const measures[] = {"throughput", "round-trip"};
    enum { WAYS = sizeof ways / sizeof *ways };
    const char *names[WAYS];
    if (count == 7 && strcmp(args[1], "manager") == 0)
        return only_manager(args);
    if (count != 10 && count != 14) {
        fprintf(stderr, "ipc: SYSTEM SIZE SECONDS TOUCHED MEASURE CPU CPU SOCKET PARENT "
                        "[PROTECTION ZEROING PAGE RECYCLING] expected\n");
        return 2;
    }
    for (int i = 0; i < WAYS; i++)
        names[i] = ways[i]->name;
    system_name = args[1];
    const struct way *way = ways[choice(args[1], names, WAYS, "SYSTEM")];
    size_t size = (size_t)number_of(args[2], LINE, LARGEST, "SIZE") / LINE * LINE;
    measured = atof(args[3]);
    warm_up = measured / 5;
    touched = (enum touched)choice(args[4], touches, 4, "TOUCHED");
    const struct pool pool = count == 14 ? pool_of(args + 10) : usual;
    bool round_trip = choice(args[5], measures, 2, "MEASURE") == 1;
    int cpus[] = {(int)number_of(args[6], 0, CPU_SETSIZE - 1, "CPU"), (int)number_of(args[7], 0, CPU_SETSIZE - 1, "CPU")};
    if (!(measured > 0)) {
        fprintf(stderr, "ipc: SECONDS: %s given, a number above zero expected\n", args[3]);
        return 2;
    }
    end_with(args[9]);
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (told == MAP_FAILED)
        fail("share memory", -errno);

    struct link links[2];
    for (int i = 0; i < 2; i++) {
        links[i] = (struct link){.way = way, .name = i ? "back" : "there", .socket = args[8], .size = size,
                                 .touched = touched != NOTHING};
        must(way->prepare(&links[i]), "prepare");
    }
    pid_t process[PROCESSES] = {0};
    if (way == &way_shipping)
        process[MANAGER] = start_manager(args[8], size, &pool, cpus);
    if ((process[FIRST] = child(&cpus[0], 1)) == 0) {
        (round_trip ? call : write_all)(links);
        exit(0);
    }
    if ((process[SECOND] = child(&cpus[1], 1)) == 0) {
        (round_trip ? echo : read_all)(links);
        exit(0);
    }
    bool well = done_well(process, round_trip ? FIRST : SECOND);
    end(process[FIRST], SIGKILL);
    end(process[SECOND], SIGKILL);
    end(process[MANAGER], SIGTERM);
    if (well)
        printf("{\"messages\": %llu, \"seconds\": %.9f, \"pages\": \"%s\"}\n", (unsigned long long)told->messages,
               told->seconds, told->pages);
    return !well;
}
