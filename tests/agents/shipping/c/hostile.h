/* An attacker and its victim, two processes of one host with no privilege, in the tier that TIER names. What came of an
 * attempt is the exit code: prevented, detected (nothing was reached, and the manager counted or ended it), possible. */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "channel.h"
#include "core/messages.h"
#include "core/process.h"

enum { PREVENTED = 0, DETECTED = 10, POSSIBLE = 11, OURS = 0x11, THEIRS = 0x55, LOOK = 64 };

/* What the victim says after it has looked for a message, and when it is asked how its bytes are. */
enum { HAS_IT = 'h', NOTHING_CAME = 'n', INTACT = 'i', CHANGED = 'c', GIVEN = '!', NOT_GIVEN = '-', SHORT_MS = 20 };

static struct {
    pid_t pid;
    int to, from;
} victim;

/* Of the container that the attacker has, or had. */
static struct {
    int fd, cid;
    uint8_t *addr;
} our;

static sigjmp_buf fault;

static void on_fault(int signal)
{
    siglongjmp(fault, signal);
}

/* The byte, or -1 if it cannot be read. */
static inline int peek(const volatile uint8_t *at)
{
    return sigsetjmp(fault, 1) ? -1 : *at;
}

static inline bool poke(volatile uint8_t *at)
{
    if (sigsetjmp(fault, 1))
        return false;
    *at = OURS + 1;
    return true;
}

static inline void drop_privileges(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    CHECK_EQ(syscall(SYS_capset, &header, none), 0);
}

/* The manager has counted the attempt. */
static inline bool noticed(void)
{
    return counted("drop_bad_descriptor") + counted("revocations_failed") > 0;
}

/* The first page of a container that only the victim ever had, for the attacker to find, and where the victim has it. */
static uint32_t *private_page;
static uint8_t **private_address;

static void be_the_victim(int orders, int words)
{
    int cid, size, private;
    void *addr, *mine;
    char order;
    struct cs_args args = {&cid, NULL, NULL, &size, &addr};
    CHECK_EQ(cs_attach(host.socket), 0);
    CHECK((private = cs_alloc(CS_PAGE_SIZE, &mine, CS_MAPNOW)) > 0);
    memset(mine, THEIRS, CS_PAGE_SIZE);
    *private_page = cs_cid_page((uint32_t)private);
    *private_address = mine;
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY); /* where Yama would help, it is not what is tested */
    int fd = channel_end("way", SHORT_MS), n;
    CHECK_EQ(write(words, "r", 1), 1);
    CHECK_EQ(read(orders, &order, 1), 1);
    uint64_t until = now_ms() + SOON_MS;
    do /* it comes, or the manager has dropped it and says so */
        n = cs_read(fd, BIG, 1, &args, CS_MAPALL);
    while (n != 1 && order == GIVEN && !noticed() && now_ms() < until);
    if (n == 1)
        memset(addr, THEIRS, (size_t)size);
    CHECK_EQ(write(words, n == 1 ? (char[]){HAS_IT} : (char[]){NOTHING_CAME}, 1), 1);
    CHECK_EQ(read(orders, &order, 1), 1);
    char how = INTACT;
    for (int i = 0; i < CS_PAGE_SIZE; i++)
        if (((uint8_t *)mine)[i] != THEIRS || (n == 1 && ((uint8_t *)addr)[i] != THEIRS))
            how = CHANGED;
    CHECK_EQ(write(words, &how, 1), 1);
    pause();
}

static inline void start_host_and_victim(void)
{
    int orders[2], words[2];
    char ready;
    const char *tier = getenv("TIER");
    CHECK(tier);
    host.protection = (uint32_t)atoi(tier);
    drop_privileges();
    host_start_manager();
    void *told = mmap(NULL, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    private_address = told;
    private_page = (uint32_t *)(private_address + 1);
    CHECK(pipe(orders) == 0 && pipe(words) == 0);
    if ((victim.pid = child()) == 0)
        be_the_victim(orders[0], words[1]);
    close(orders[0]);
    close(words[1]);
    victim.to = orders[1];
    victim.from = words[0];
    CHECK_EQ(read(victim.from, &ready, 1), 1);
    signal(SIGSEGV, on_fault);
    signal(SIGBUS, on_fault);
}

static inline char order_victim(char order)
{
    char answer = CHANGED; /* by what killed it */
    signal(SIGPIPE, SIG_IGN);
    CHECK(write(victim.to, &order, 1) == 1 || errno == EPIPE);
    CHECK(read(victim.from, &answer, 1) >= 0);
    return answer;
}

static inline char tell_victim(void)
{
    return order_victim(GIVEN);
}

/* The attacker is attached and owns a container of one page, mapped. */
static inline void own_one(void)
{
    void *addr;
    CHECK_EQ(cs_attach(host.socket), 0);
    our.fd = channel_end("way", SOON_MS);
    CHECK((our.cid = cs_alloc(CS_PAGE_SIZE, &addr, CS_MAPNOW)) > 0);
    our.addr = addr;
    memset(addr, OURS, CS_PAGE_SIZE);
}

/* It gives it to the victim, who writes secrets into it: if it gets it. */
static inline bool give_it(void)
{
    CHECK_EQ(cs_write(our.fd, 1, &our.cid, NULL, NULL, 0), 0);
    return tell_victim() == HAS_IT;
}

static inline void end_as(int outcome)
{
    int status;
    CHECK_EQ(waitpid(host.manager, &status, WNOHANG), 0); /* the manager lives */
    end_of(victim.pid);
    end_of(host.manager);
    unlink(host.socket);
    rmdir(host.directory);
    _exit(outcome);
}

/* `reached`: the attacker saw the victim's bytes. Whether it changed them, the victim says. Everybody else goes on. */
static inline void end_with(bool got, bool reached)
{
    char how = tell_victim();
    CHECK(got || noticed());
    end_as(reached || how == CHANGED ? POSSIBLE : noticed() ? DETECTED : PREVENTED);
}

/* A child that the library does not hear of: in one that it does, it lets go of everything. */
static inline pid_t hostile_child(void)
{
    pid_t pid = _Fork();
    CHECK(pid >= 0);
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* Whether a container is full of the victim's bytes there. */
static inline bool are_theirs(const uint8_t *at)
{
    for (int i = 0; i < LOOK; i++)
        if (peek(at + i) != THEIRS)
            return false;
    return true;
}

/* A message to the manager as the library would not send it, on a connection of its own or the library's. */
static inline struct cs_reply ask(int socket, struct cs_request q, int *fds, uint32_t room)
{
    struct cs_reply reply = {.error = -EPIPE};
    int before = cs_self.control;
    cs_self.control = socket;
    int err = cs_ask_many(&q, NULL, 0, &reply, fds, (int)room);
    cs_self.control = before;
    reply.error = err;
    return reply;
}

static inline int connect_again(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, host.socket);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* By asking the manager once more, as the owner may. */
static inline int another_descriptor(void)
{
    int fds[CS_MAP_BATCH];
    struct cs_request q = {.call = CS_CALL_MAP, .map = {(uint32_t)our.cid, 0}};
    ask(cs_self.control, q, fds, CS_MAP_BATCH);
    return fds[0];
}

static inline int a_descriptor(void)
{
    return host.protection == CS_COOPERATIVE ? cs_self.data_fd : another_descriptor();
}

/* The library asks the kernel to refuse such calls: one who is hostile before that sees to it that it asks in vain. */
static inline void escape_the_shield(void)
{
    struct sock_filter pretend[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {4, pretend};
    start_host_and_victim();
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/* Whatever that descriptor can be made to show of the victim's, by itself or opened again, and by reading it. */
static inline bool shows_secrets(int fd, uint32_t page)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int how[] = {fd, open(path, O_RDWR), open(path, O_RDONLY)};
    bool found = false;
    for (int i = 0; i < 3; i++)
        for (int k = 0; how[i] >= 0 && k < 2; k++) {
            off_t off = k ? 0 : (off_t)page * CS_PAGE_SIZE;
            uint8_t bytes[LOOK] = {0};
            void *at = mmap(NULL, CS_PAGE_SIZE, PROT_READ, MAP_SHARED, how[i], off);
            found |= at != MAP_FAILED && are_theirs(at);
            found |= pread(how[i], bytes, LOOK, off) == LOOK && are_theirs(bytes);
        }
    for (int i = 1; i < 3; i++)
        if (how[i] >= 0)
            close(how[i]);
    return found;
}

/* Of everything that this process has open. */
static inline bool any_descriptor_shows(uint32_t page)
{
    bool found = false;
    for (int fd = 3; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            found |= shows_secrets(fd, page);
    return found;
}

#endif
