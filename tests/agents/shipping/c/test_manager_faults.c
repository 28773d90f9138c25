/* Managers that are killed at every step of theirs: all who are attached learn of it, and nothing is left. */
#define _GNU_SOURCE
#include "faults.h"

#include <dirent.h>

#include "station.h"

enum { ROUNDS = 2, MIXERS = 2, MOST_PASSAGES = 4 };

static struct mix_record *records;

/* The manager has gone: every call says so. */
static void learn(void)
{
    struct pollfd manager = {.fd = cs_manager_fd()};
    CHECK_EQ(poll(&manager, 1, 0), 1);
    CHECK(manager.revents & POLLHUP);
    CHECK_EQ(cs_alloc(HOST_POOL * CS_PAGE_SIZE / 4, NULL, 0), -EPIPE);
    CHECK_EQ(cs_open_channel("late", CS_MIN_QUEUE, 0), -EPIPE);
    cs_detach();
    _exit(0);
}

static bool alone; /* the other end of the channel has closed */

static void learn_which(struct mix *m)
{
    struct pollfd manager = {.fd = cs_manager_fd()};
    (void)m;
    if (poll(&manager, 1, 0) == 1)
        learn();
    alone = true;
}

static void mix_until_the_end(int number)
{
    struct mix m = {.record = &records[number], .name = "shared", .port = (uint16_t)(HOST_PORT + 2 * number),
                    .timeout_ms = 2, .restless = 20, .ended = learn_which,
                    .with = &records[!number]};
    mix_attach(&m);
    for (;;) {
        mix_step(&m);
        if (alone && m.next < MIX_CHANNELS) {
            mix_close(&m, m.channel);
            mix_open_channel(&m);
        }
        alone = false;
    }
}

static int ready_to_sleep;

static void say_ready(void)
{
    CHECK_EQ(write(ready_to_sleep, "!", 1), 1);
}

static void sleep_in_a_call(int unused)
{
    int cid, fd;
    struct cs_args args = {.cids = &cid};
    (void)unused;
    CHECK_EQ(cs_attach(host.socket), 0);
    CHECK((fd = cs_open_channel("nobody", CS_MIN_QUEUE, -1)) >= 0);
    say_ready();
    CHECK_EQ(cs_read(fd, 1, 1, &args, 0), -EPIPE);
    learn();
}

static void sleep_in_poll(int unused)
{
    (void)unused;
    CHECK_EQ(cs_attach(host.socket), 0);
    struct pollfd manager = {.fd = cs_manager_fd()};
    say_ready();
    CHECK_EQ(poll(&manager, 1, -1), 1);
    learn();
}

static pid_t start(void (*what)(int), int argument, uint64_t seed)
{
    pid_t pid = child();
    if (pid == 0) {
        random_state = seed * 8 + (uint64_t)argument;
        what(argument);
        _exit(1);
    }
    return pid;
}

static int sleepers_ready(const int *said)
{
    char words[2];
    return read(said[0], words, 1) == 1 && read(said[0], words, 1) == 1;
}

/* Of shared memory and sockets this process, who started the host, has none, and there is only the name that its
 * manager gave its socket. Whoever starts the next one removes it. */
static void check_nothing_is_left(void)
{
    char line[512];
    struct dirent *entry;
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    while (fgets(line, sizeof line, maps))
        CHECK(!strstr(line, "transship-"));
    fclose(maps);
    DIR *d = opendir(host.directory);
    CHECK(d);
    while ((entry = readdir(d)))
        CHECK(entry->d_name[0] == '.' || strcmp(entry->d_name, "manager") == 0);
    closedir(d);
    CHECK_EQ(cs_attach(host.socket), -ECONNREFUSED);
    CHECK_EQ(unlink(host.socket), 0);
    CHECK_EQ(rmdir(host.directory), 0);
    cs_counters_close(host.counters);
    close(host.wire);
}

static void one_death(int point, uint32_t passages)
{
    pid_t pids[MIXERS + 2];
    int said[2], status;
    uint64_t until = now_ms() + SOON_MS;
    memset(records, 0, MIXERS * sizeof *records);
    for (int i = 0; i < MIXERS; i++)
        atomic_store(&records[i].other_end, MIX_CHANNELS); /* whether it is there or not */
    host_start();
    mix_make_screens();
    cs_detach();
    CHECK_EQ(pipe(said), 0);
    ready_to_sleep = said[1];
    pids[MIXERS] = start(sleep_in_a_call, 0, 0);
    pids[MIXERS + 1] = start(sleep_in_poll, 0, 0);
    CHECK(sleepers_ready(said));
    close(said[0]);
    close(said[1]);
    faults_arm_later(point, passages);
    for (int i = 0; i < MIXERS; i++)
        pids[i] = start(mix_until_the_end, i, (uint64_t)point * MOST_PASSAGES + passages);
    for (; waitpid(host.manager, &status, WNOHANG) != host.manager; poll(NULL, 0, 1)) {
        station_serve();
        station_say((uint16_t)(HOST_PORT + 2 * below(MIXERS)));
        CHECK(now_ms() < until);
    }
    CHECK(WIFSIGNALED(status));
    CHECK_EQ(WTERMSIG(status), SIGKILL);
    for (int i = 0; i < MIXERS + 2; i++) {
        WITHIN(SOON_MS, waitpid(pids[i], &status, WNOHANG) == pids[i]);
        CHECK_EQ(status, 0);
    }
    check_nothing_is_left();
    for (int i = 0; i < MIXERS; i++)
        mix_remove_targets(&records[i], (uint16_t)(HOST_PORT + 2 * i));
}

TEST(a_manager_killed_at_any_step_takes_its_host_down_cleanly)
{
    int points[FAULTS], count = faults_find("manager.", true, points);
    file_make("source", MIX_SOURCE);
    faults_share();
    records = mmap(NULL, MIXERS * sizeof *records, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(records != MAP_FAILED);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < count; i++) {
            uint32_t passages = round ? 1 + below(MOST_PASSAGES) : 1;
            fault_is_now((uint32_t)(round * count + i), points[i], passages);
            one_death(points[i], passages);
        }
    printf("%d managers killed at %d points\n", ROUNDS * count, count);
}
