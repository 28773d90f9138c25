/* A container on its way between two processes and the manager, through core/ring.h and core/pool.c themselves,
 * as C11 allows memory to behave. One process also lies: it gives again what it gave, or what another owns. The
 * manager accepts a descriptor exactly if its sender owns the container by that name; no access to the page or to
 * its entry in the table races with another owner's; and in the end the page is back in the pool. There is one
 * page, so that it is always the one just given that is used again, and the generation wraps on the way. */
#include "core/pool.h" /* first: its counters are not part of the model */

#include "c11.h"
#include "core/ring.h"

enum { MANAGER, LIAR, HONEST, TIMES = 4, CAPACITY = 1, LIES = 2, FIRST_GENERATION = CS_GENERATION_MASK - 3 };
enum { RINGS = 4, PAGE = RINGS * CAPACITY, ENTRY }; /* plain items: slots, the page, its entry in the table */

enum { POLL, SERVE, DELIVER, PUT };
enum { IDLE, TAKE, SEND };
enum action { READ, WRITE, FREE, AGAIN, ANOTHERS };

struct process {
    uint32_t at, action;
    uint32_t cid, time; /* what it owns, 0: nothing; and how many hand-overs there had been then */
    uint32_t old_cid, old_time;
    uint32_t lies, guess; /* how many it may still tell; a name that it read in the table */
};

static struct program {
    _Alignas(64) uint8_t ring[RINGS][256];
    struct cs_ring producer[RINGS], consumer[RINGS];
    _Alignas(64) uint8_t table[sizeof(struct cs_pool_shared) + sizeof(struct cs_container)];
    uint32_t free_list[2], place[2]; /* room for one, twice: no padding */
    cs_counter states[CS_STATES];
    struct cs_pool pool;
    uint64_t at, process, pass_on; /* the manager: whose message; hand it to the next owner as it is */
    uint64_t owner, times;         /* the truth: who has the page, and how often it was handed to a process */
    struct process of[THREADS];    /* the manager's is not used */
} program;

static const char *where(uint32_t thread);
static bool step(uint32_t thread);
static const char *wrong_end(void);

#include "explore.h"

static const char *where(uint32_t thread)
{
    static const char *const manager[] = {"manager: is a message ready?", "manager: check a message",
                                          "manager: is there space?", "manager: hand the container over"};
    static const char *const process[2][3] = {
        {"liar: read, give or lie?", "liar: take the container", "liar: send"},
        {"honest: read or give?", "honest: take the container", "honest: send"}};
    return thread == MANAGER ? manager[program.at] : process[thread - LIAR][program.of[thread].at];
}

static uint32_t to_manager(uint64_t process)
{
    return (uint32_t)(process - LIAR) * 2;
}

static uint32_t from_manager(uint64_t process)
{
    return to_manager(process) + 1;
}

static struct cs_container *entry(void)
{
    return program.pool.shared->table;
}

static void put(uint32_t ring, struct cs_desc d)
{
    struct cs_ring *r = &program.producer[ring];
    plain(ring * CAPACITY + r->next % CAPACITY, true, "a descriptor is overwritten that may still be read");
    *cs_ring_reserve(r) = d;
    cs_ring_submit(r);
}

static struct cs_desc peek(uint32_t ring)
{
    const struct cs_ring *r = &program.consumer[ring];
    plain(ring * CAPACITY + r->next % CAPACITY, false, "a descriptor is read that may not be written yet");
    return cs_ring_peek(r, 0);
}

static uint32_t hand_over(uint64_t process)
{
    uint32_t cid = cs_pool_move(&program.pool, 0, (uint16_t)process, CS_OWNED);
    if (cid == 0 || cid >> 31)
        counterexample("a container is given a name that is none");
    program.owner = process;
    program.times++;
    return cid;
}

/* As cs_send_pass does: check; then free it, let the network have it and give it back, or pass it on. */
static void serve(void)
{
    uint32_t ring = to_manager(program.process);
    struct cs_desc d = peek(ring);
    bool accepted = cs_pool_check(&program.pool, d.cid, 0, d.len, (uint16_t)program.process) == 0;
    bool right = d.off == 0 && program.owner == program.process && d.len == program.times;
    if (accepted && !right)
        counterexample("a container is taken from an owner who did not give it");
    if (right && !accepted)
        counterexample("an owner is refused");
    if (accepted) {
        plain(ENTRY, true, "an entry of the table is written that its container's owner may be reading");
        program.owner = MANAGER;
        program.pass_on = !(d.flags & CS_DESC_FREE) && choose(2);
        if (!program.pass_on) {
            if (!(d.flags & CS_DESC_FREE))
                cs_pool_split(&program.pool, 0);
            cs_pool_give(&program.pool, 0);
        }
    }
    program.at = accepted && program.times < TIMES ? DELIVER : POLL;
    if (accepted && program.times == TIMES && program.pass_on)
        cs_pool_give(&program.pool, 0);
    cs_ring_release(&program.consumer[ring], 1);
}

static bool manage(void)
{
    switch (program.at) {
    case POLL: {
        uint32_t process = LIAR + choose(2);
        int64_t ready = cs_ring_ready(&program.consumer[to_manager(process)]);
        if (ready < 0)
            counterexample("the manager finds an impossible index");
        if (ready > 0) {
            program.process = process;
            program.at = SERVE;
        }
        return true;
    }
    case SERVE:
        serve();
        return true;
    case DELIVER: {
        uint32_t process = LIAR + choose(2);
        if (cs_ring_space(&program.producer[from_manager(process)]) > 0) {
            program.process = process;
            program.at = PUT;
        }
        return true;
    }
    default:
        if (!program.pass_on) { /* a frame arrives in it */
            cs_pool_take(&program.pool, CS_RECEIVING);
            plain(PAGE, true, "a page is filled that its owner before may still be using");
        }
        plain(ENTRY, true, "an entry of the table is written that its container's owner before may be reading");
        uint32_t cid = hand_over(program.process);
        program.at = POLL;
        put(from_manager(program.process), (struct cs_desc){.cid = cid, .len = (uint32_t)program.times});
        return true;
    }
}

/* What the process may do now; how many of those there are. */
static uint32_t actions(uint32_t process, enum action *a)
{
    const struct process *p = &program.of[process];
    uint32_t count = 0;
    if (p->cid) {
        a[count++] = WRITE;
        a[count++] = FREE;
    } else
        a[count++] = READ;
    if (p->lies && p->old_cid)
        a[count++] = AGAIN;
    if (p->lies && !p->cid && entry()->owner != process)
        a[count++] = ANOTHERS;
    return count;
}

static void send_descriptor(uint32_t process, struct process *p)
{
    struct cs_desc d = {.cid = p->cid, .len = p->time, .flags = p->action == FREE ? CS_DESC_FREE : 0};
    if (p->action == AGAIN)
        d = (struct cs_desc){.cid = p->old_cid, .len = p->old_time};
    else if (p->action == ANOTHERS)
        d = (struct cs_desc){.cid = p->guess, .off = 1};
    if (p->action == AGAIN || p->action == ANOTHERS)
        p->lies--;
    else {
        plain(ENTRY, false, "an owner reads an entry of the table that is being written");
        p->old_cid = p->cid;
        p->old_time = p->time;
        p->cid = p->time = 0;
    }
    p->action = p->guess = 0;
    p->at = IDLE;
    put(to_manager(process), d);
}

static void take(uint32_t process, struct process *p)
{
    uint32_t ring = from_manager(process);
    struct cs_desc d = peek(ring);
    plain(ENTRY, false, "an owner reads an entry of the table that is being written");
    plain(PAGE, false, "an owner reads a page that may not be written yet");
    plain(PAGE, true, "an owner writes a page that others may still be using");
    if (d.cid != cs_cid(0, entry()->generation) || entry()->owner != process || entry()->pages != 1)
        counterexample("the table does not say what the new owner was told");
    p->cid = d.cid;
    p->time = d.len;
    p->at = IDLE;
    cs_ring_release(&program.consumer[ring], 1);
}

static bool use(uint32_t process)
{
    struct process *p = &program.of[process];
    enum action possible[4];
    switch (p->at) {
    case IDLE: {
        enum action a = possible[choose(actions(process, possible))];
        int64_t room = a == READ ? cs_ring_ready(&program.consumer[from_manager(process)])
                                 : cs_ring_space(&program.producer[to_manager(process)]);
        if (room < 0)
            counterexample("a process finds an impossible index");
        if (room > 0) {
            p->action = a;
            p->guess = a == ANOTHERS ? cs_cid(0, entry()->generation) : 0;
            p->at = a == READ ? TAKE : SEND;
        }
        return true;
    }
    case TAKE:
        take(process, p);
        return true;
    default:
        send_descriptor(process, p);
        return true;
    }
}

static bool step(uint32_t thread)
{
    return thread == MANAGER ? manage() : use(thread);
}

static const char *wrong_end(void)
{
    if (program.times < TIMES || program.owner != MANAGER)
        return "a container is stuck on its way";
    if (program.pool.free_count != 1 || program.pool.held[MANAGER] != 1 || entry()->state != CS_FREE ||
        cs_count_value(&program.states[CS_FREE]) != 1)
        return "a page is lost";
    return NULL;
}

static void start(void)
{
    struct cs_pool *p = &program.pool;
    start_memory();
    for (uint32_t i = 0; i < RINGS; i++) {
        cs_ring_init(&program.producer[i], program.ring[i], CAPACITY);
        cs_ring_init(&program.consumer[i], program.ring[i], CAPACITY);
        uint32_t before = UINT32_MAX - i % 2, users = 1u << MANAGER | 1u << (LIAR + i / 2);
        program.producer[i].next = program.consumer[i].next = before;
        add_word(&program.producer[i].shared->produced, before, users);
        add_word(&program.producer[i].shared->consumed, before, users);
    }
    p->pages = 1;
    p->shift = 12;
    p->shared = (struct cs_pool_shared *)program.table;
    p->free_list = program.free_list;
    p->place = program.place;
    for (int i = 0; i < CS_STATES; i++)
        p->states[i] = &program.states[i];
    *entry() = (struct cs_container){.generation = FIRST_GENERATION, .pages = 1};
    cs_count_set(p->states[CS_FREE], 1);
    p->free_count = p->held[MANAGER] = 1;
    cs_pool_take(p, CS_RECEIVING);
    program.of[LIAR] = (struct process){.cid = hand_over(LIAR), .time = 1, .lies = LIES};
}

int main(int argc, char **argv)
{
    options(argc, argv);
    start();
    explore();
    return finish();
}
