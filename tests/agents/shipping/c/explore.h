/* All states that a program can reach on the machine of c11.h, depth first, so that the way to a bad one is at
 * hand. The program is `struct program program` and three functions; it is defined before this is included. */
#ifndef EXPLORE_H
#define EXPLORE_H

#include "c11.h"

struct state {
    struct memory memory;
    struct program program;
};

struct visit {
    struct state state;
    struct choices choices;
    uint32_t thread, moved;
    uint32_t on_path; /* the thread whose step leads on to the next state of the path */
};

enum { DEPTH = 1 << 13 };
static struct visit *path[DEPTH];
static uint32_t depth;

/* States that were reached, by 128 bits of hash: among 10^7 states two have the same with a probability of 10^-25. */
struct hash {
    uint64_t a, b;
};
static struct hash *reached;
static uint64_t reached_count, reached_room;

_Noreturn static void counterexample(const char *why)
{
    fprintf(stderr, "counterexample: %s\n", why);
    for (uint32_t i = 0; i < depth; i++) {
        struct visit *v = path[i];
        program = v->state.program;
        fprintf(stderr, "  %s%s\n", where(v->on_path), v->state.memory.thread[v->on_path].results ? " (going on)" : "");
    }
    exit(1);
}

static struct hash hash_of(const struct state *s)
{
    const uint64_t *p = (const uint64_t *)s;
    struct hash h = {1, 2};
    for (size_t i = 0; i < sizeof *s / sizeof *p; i++) {
        h.a = (h.a ^ p[i]) * 0x9e3779b97f4a7c15u;
        h.a ^= h.a >> 29;
        h.b = (h.b + p[i]) * 0xbf58476d1ce4e5b9u;
        h.b ^= h.b >> 32;
    }
    return h;
}

/* Whether this is the first time that a state of that hash is reached. */
static bool is_new(struct hash h)
{
    if (2 * reached_count >= reached_room) {
        struct hash *old = reached;
        uint64_t old_room = reached_room;
        reached_room = old_room ? 2 * old_room : 1 << 12;
        reached_count = 0;
        reached = calloc(reached_room, sizeof *reached);
        if (!reached)
            abort();
        for (uint64_t i = 0; i < old_room; i++)
            if (old[i].a)
                is_new(old[i]);
        free(old);
    }
    uint64_t i = h.a & (reached_room - 1);
    for (; reached[i].a; i = (i + 1) & (reached_room - 1))
        if (reached[i].a == h.a && reached[i].b == h.b)
            return false;
    reached[i] = h;
    reached_count++;
    return true;
}

static void push(void)
{
    if (depth == DEPTH)
        abort();
    if (!path[depth] && !(path[depth] = calloc(1, sizeof **path)))
        abort();
    struct visit *v = path[depth++];
    memcpy(&v->state.memory, &memory, sizeof memory);
    memcpy(&v->state.program, &program, sizeof program);
    v->thread = v->moved = 0;
    memset(&v->choices, 0, sizeof v->choices);
}

/* The next operation of a thread, or all of its step if that has none. False: it waits, or has ended. */
static bool go(const struct visit *v)
{
    running = v->thread;
    replayed = 0;
    acted = false;
    if (setjmp(next_operation)) { /* what the program did on the way here is done again with the next operation */
        memcpy(&program, &v->state.program, sizeof program);
        return true;
    }
    if (!step(running))
        return false;
    memset(self()->result, 0, sizeof self()->result);
    self()->results = 0;
    return true;
}

/* From the state that memory and program are in. A state in which nothing can happen must be a good end. */
static void explore(void)
{
    struct state next;
    memset(&next, 0, sizeof next);
    push();
    while (depth > 0) {
        struct visit *v = path[depth - 1];
        memcpy(&memory, &v->state.memory, sizeof memory);
        memcpy(&program, &v->state.program, sizeof program);
        if (v->thread == THREADS) {
            const char *wrong = v->moved ? NULL : wrong_end();
            if (wrong)
                counterexample(wrong);
            depth--;
            continue;
        }
        choices = v->choices;
        choices.used = 0;
        v->on_path = v->thread;
        bool ran = go(v);
        if (ran)
            forget();
        if (next_choices())
            v->choices = choices;
        else {
            memset(&v->choices, 0, sizeof v->choices);
            v->thread++;
        }
        memcpy(&next.memory, &memory, sizeof memory);
        memcpy(&next.program, &program, sizeof program);
        if (!ran || memcmp(&next, &v->state, sizeof next) == 0)
            continue; /* it looked, and found nothing new */
        v->moved = 1;
        if (is_new(hash_of(&next)))
            push();
    }
}

/* Options: the line of core/ring.h whose order is weakened. Exit code 0: explored without a counterexample, with
 * the number of states and the lines of the orders that were in force; 1: one was found. */
static void options(int argc, char **argv)
{
    weakened_line = argc == 2 ? (unsigned)atoi(argv[1]) : 0;
}

static int finish(void)
{
    printf("%llu", (unsigned long long)reached_count);
    for (unsigned line = 0; line < LINES; line++)
        if (met_line[line])
            printf(" %u", line);
    for (uint32_t i = 0; i < DEPTH; i++)
        free(path[i]);
    free(reached);
    return 0;
}

#endif
