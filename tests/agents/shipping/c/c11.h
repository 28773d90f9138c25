/* The memory of C11 as RC11 orders it (Lahav et al., PLDI 2017), as an abstract machine whose every step can be
 * explored. In it a word has no one value but the order of all its stores, and a thread knows, for each word, how
 * far it has come: a load may return any store from there on, a store may land anywhere beyond. A release hands
 * knowledge on with the stored value, an acquire takes it, and sequentially consistent fences exchange theirs
 * (the views of Kang et al., POPL 2017, without their promises: in RC11 no store overtakes a load before it).
 *
 * Plain data is checked for races instead: for each access a thread knows whether it has happened before what
 * the thread does next. Two accesses, one a write, without this knowledge between them are a counterexample.
 *
 * core/ring.h itself runs on this machine: include this file, then that one. */
#ifndef C11_H
#define C11_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, WORDS = 8, STORES = 12, OPERATIONS = 4, PLAIN = 16 };

/* All structures here are without padding: whole states are compared and hashed. */
struct knowledge {
    uint64_t plain;    /* 1 + THREADS bits for each plain item: its last write, the last read of each thread */
    uint8_t at[WORDS]; /* the oldest store of each word that may still be read */
};

struct store {
    struct knowledge carries;
    uint32_t value;
    uint32_t exchanged; /* by an exchange, which nothing may come between and what it read */
};

struct word {
    uint64_t count;
    struct store store[STORES];
};

struct thread {
    struct knowledge now;
    struct knowledge acquired; /* what an acquire fence would take: all that was read relaxed */
    struct knowledge released; /* what relaxed stores carry: all before the last release fence */
    uint32_t result[OPERATIONS]; /* of the operations that its unfinished step has done */
    uint64_t results;
};

struct memory {
    struct word word[WORDS];
    struct thread thread[THREADS];
    struct knowledge fences;
};

static struct memory memory;
static uint32_t running; /* the thread whose step this is */
static const void *word_address[WORDS];
static uint32_t word_users[WORDS], words; /* users: a bit for each thread */

/* A step is taken one operation at a time, so that others can come between: it starts again each time, and
 * the operations that it has done before return what they returned. */
static jmp_buf next_operation;
static uint32_t replayed;
static bool acted;

/* The alternatives of this operation: which is taken, of how many. All are, one after the other. */
enum { CHOICES = 6 };
struct choices {
    uint8_t taken[CHOICES], of[CHOICES];
    uint32_t count, used;
};
static struct choices choices;

/* Of core/ring.h: the line whose order is weakened, and those whose orders were in force. */
enum { LINES = 1024 };
static unsigned weakened_line;
static bool met_line[LINES];

_Noreturn static void counterexample(const char *why);

static uint32_t pick(uint32_t of)
{
    if (choices.used == choices.count) {
        if (choices.count == CHOICES || of > UINT8_MAX)
            abort();
        choices.taken[choices.count] = 0;
        choices.of[choices.count++] = (uint8_t)of;
    }
    return choices.taken[choices.used++];
}

/* The next combination of alternatives; false after the last. */
static bool next_choices(void)
{
    while (choices.count > 0 && ++choices.taken[choices.count - 1] == choices.of[choices.count - 1])
        choices.count--;
    choices.used = 0;
    return choices.count > 0;
}

static struct thread *self(void)
{
    return &memory.thread[running];
}

static bool repeat(uint32_t *result)
{
    if (replayed < self()->results) {
        *result = self()->result[replayed++];
        return true;
    }
    return false;
}

static uint32_t done(uint32_t result)
{
    if (self()->results == OPERATIONS)
        abort();
    self()->result[self()->results++] = result;
    replayed++;
    return result;
}

/* One operation on memory in each go; the next one is for another go. */
static void act(void)
{
    if (acted)
        longjmp(next_operation, 1);
    acted = true;
}

/* Any number below n: what a program does is not for the model to say. */
static uint32_t choose(uint32_t n)
{
    uint32_t result;
    return repeat(&result) ? result : done(pick(n));
}

static void join(struct knowledge *k, const struct knowledge *more)
{
    k->plain |= more->plain;
    for (uint32_t i = 0; i < WORDS; i++)
        if (k->at[i] < more->at[i])
            k->at[i] = more->at[i];
}

/* All the knowledge there is, one after the other; NULL after the last. */
static struct knowledge *everyones(uint32_t n)
{
    if (n < 3 * THREADS) {
        struct thread *t = &memory.thread[n / 3];
        return n % 3 == 0 ? &t->now : n % 3 == 1 ? &t->acquired : &t->released;
    }
    if ((n -= 3 * THREADS) == 0)
        return &memory.fences;
    n--;
    for (uint32_t i = 0; i < WORDS; n -= (uint32_t)memory.word[i++].count)
        if (n < memory.word[i].count)
            return &memory.word[i].store[n].carries;
    return NULL;
}

static uint32_t word_at(const volatile void *address)
{
    for (uint32_t i = 0; i < words; i++)
        if (word_address[i] == address)
            return i;
    abort();
}

static bool acquires(int order)
{
    return order == __ATOMIC_ACQUIRE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static bool releases(int order)
{
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static uint32_t read_store(uint32_t word, uint32_t at, int order)
{
    struct thread *t = self();
    const struct store *s = &memory.word[word].store[at];
    t->now.at[word] = (uint8_t)at;
    join(&t->acquired, &s->carries);
    if (acquires(order))
        join(&t->now, &s->carries);
    join(&t->acquired, &t->now);
    return s->value;
}

static struct store *add_store(uint32_t word, uint32_t at, uint32_t value, int order)
{
    struct thread *t = self();
    struct word *w = &memory.word[word];
    struct knowledge *k;
    if (w->count == STORES)
        abort();
    for (uint32_t n = 0; (k = everyones(n)); n++)
        k->at[word] = (uint8_t)(k->at[word] + (k->at[word] >= at));
    memmove(&w->store[at + 1], &w->store[at], (w->count++ - at) * sizeof w->store[0]);
    t->now.at[word] = (uint8_t)at;
    join(&t->acquired, &t->now);
    w->store[at] = (struct store){.carries = releases(order) ? t->now : t->released, .value = value};
    w->store[at].carries.at[word] = (uint8_t)at;
    return &w->store[at];
}

static uint32_t c11_load(const volatile void *address, int order)
{
    uint32_t result, word = word_at(address);
    if (repeat(&result))
        return result;
    act();
    uint32_t oldest = self()->now.at[word];
    return done(read_store(word, oldest + pick((uint32_t)memory.word[word].count - oldest), order));
}

static void c11_store(const volatile void *address, uint32_t value, int order)
{
    uint32_t result, word = word_at(address), places = 0, place[STORES];
    if (repeat(&result))
        return;
    act();
    const struct word *w = &memory.word[word];
    for (uint32_t at = self()->now.at[word] + 1u; at <= w->count; at++)
        if (at == w->count || !w->store[at].exchanged)
            place[places++] = at;
    add_store(word, place[pick(places)], value, order);
    done(0);
}

static uint32_t c11_exchange(const volatile void *address, uint32_t value, int order)
{
    uint32_t result, word = word_at(address), places = 0, place[STORES];
    if (repeat(&result))
        return result;
    act();
    const struct word *w = &memory.word[word];
    for (uint32_t at = self()->now.at[word]; at < w->count; at++)
        if (at + 1 == w->count || !w->store[at + 1].exchanged)
            place[places++] = at;
    uint32_t at = place[pick(places)];
    struct knowledge carried = w->store[at].carries;
    result = read_store(word, at, order);
    struct store *s = add_store(word, at + 1, value, order);
    join(&s->carries, &carried); /* it continues the release that it read */
    s->exchanged = 1;
    return done(result);
}

static void c11_fence(int order)
{
    uint32_t result;
    struct thread *t = self();
    if (repeat(&result))
        return;
    act();
    if (acquires(order))
        join(&t->now, &t->acquired);
    if (order == __ATOMIC_SEQ_CST) {
        join(&t->now, &memory.fences);
        memory.fences = t->now;
    }
    if (releases(order))
        t->released = t->now;
    join(&t->acquired, &t->now);
    done(0);
}

/* An access to plain data, of which the program says that nobody else can be at it. Only in steps that have no
 * operation before their last. */
static void plain(uint32_t item, bool write, const char *race)
{
    uint64_t last_write = UINT64_C(1) << item * (1 + THREADS), all = last_write * ((1 << (1 + THREADS)) - 1);
    uint64_t ours = write ? last_write : last_write << (1 + running), needs = write ? all : last_write;
    struct knowledge *k;
    if (item >= PLAIN || replayed > 0)
        abort();
    if ((self()->now.plain & needs) != needs)
        counterexample(race);
    for (uint32_t n = 0; (k = everyones(n)); n++)
        k->plain &= ~ours;
    self()->now.plain |= ours;
    self()->acquired.plain |= ours;
}

/* Forget stores that all users of a word have seen later ones of. */
static void forget(void)
{
    for (uint32_t i = 0; i < words; i++) {
        struct word *w = &memory.word[i];
        struct knowledge *k;
        uint8_t oldest = UINT8_MAX;
        for (uint32_t t = 0; t < THREADS; t++)
            if (word_users[i] >> t & 1 && memory.thread[t].now.at[i] < oldest)
                oldest = memory.thread[t].now.at[i];
        if (oldest == 0)
            continue;
        for (uint32_t n = 0; (k = everyones(n)); n++)
            k->at[i] = (uint8_t)(k->at[i] > oldest ? k->at[i] - oldest : 0);
        w->count -= oldest;
        memmove(&w->store[0], &w->store[oldest], w->count * sizeof w->store[0]);
        memset(&w->store[w->count], 0, oldest * sizeof w->store[0]);
        w->store[0].exchanged = 0;
    }
}

static void add_word(const volatile void *address, uint32_t value, uint32_t users)
{
    if (words == WORDS)
        abort();
    memory.word[words] = (struct word){.count = 1, .store[0] = {.carries.plain = UINT64_MAX, .value = value}};
    word_users[words] = users;
    word_address[words++] = (const void *)address;
}

static void start_memory(void)
{
    struct knowledge *k;
    memset(&memory, 0, sizeof memory);
    words = 0;
    for (uint32_t n = 0; (k = everyones(n)); n++)
        k->plain = UINT64_MAX;
}

/* The order that is in force at a line of core/ring.h: what is written there, unless it is the one to weaken. */
static int in_force(unsigned line, int order)
{
    if (line >= LINES)
        abort();
    met_line[line] = true;
    if (line != weakened_line)
        return order;
    return order == __ATOMIC_SEQ_CST ? __ATOMIC_ACQ_REL : __ATOMIC_RELAXED;
}

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_thread_fence
#define atomic_load_explicit c11_load
#define atomic_store_explicit c11_store
#define atomic_exchange_explicit c11_exchange
#define atomic_thread_fence c11_fence
#define memory_order_relaxed __ATOMIC_RELAXED
#define memory_order_acquire in_force(__LINE__, __ATOMIC_ACQUIRE)
#define memory_order_release in_force(__LINE__, __ATOMIC_RELEASE)
#define memory_order_seq_cst in_force(__LINE__, __ATOMIC_SEQ_CST)

#endif
