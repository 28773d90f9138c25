/* Attempts on pages: the attacker gave them away, or never had them. Each leaves its outcome as exit code (hostile.h). */
#define _GNU_SOURCE
#include "hostile.h"

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { OF_TREE = -1 };

static void given(void)
{
    start_host_and_victim();
    own_one();
    CHECK(give_it());
}

TEST(write_after_giving)
{
    given();
    poke(our.addr);
    end_with(true, false);
}

TEST(read_after_giving)
{
    given();
    end_with(true, are_theirs(our.addr));
}

TEST(have_the_kernel_write_after_giving)
{
    int pipes[2];
    given();
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(write(pipes[1], "xyz", 3), 3);
    CHECK(read(pipes[0], our.addr, 3) == 3 || errno == EFAULT);
    end_with(true, false);
}

TEST(write_through_proc_self_mem_after_giving)
{
    given();
    int mem = open("/proc/self/mem", O_RDWR);
    CHECK(mem >= 0);
    CHECK(pwrite(mem, "x", 1, (off_t)(uintptr_t)our.addr) <= 1);
    struct iovec from = {"x", 1}, to = {our.addr, 1};
    CHECK(process_vm_writev(getpid(), &from, 1, &to, 1, 0) <= 1);
    end_with(true, false);
}

TEST(read_through_proc_self_mem_after_giving)
{
    uint8_t bytes[LOOK] = {0};
    given();
    int mem = open("/proc/self/mem", O_RDONLY);
    end_with(true, pread(mem, bytes, LOOK, (off_t)(uintptr_t)our.addr) == LOOK && are_theirs(bytes));
}

/* The manager's is not the only one that works on this process's memory. */
static int second_userfault(void)
{
    struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    ioctl(fd, UFFDIO_API, &api);
    return fd;
}

TEST(undo_the_protection_with_a_second_userfaultfd)
{
    given();
    int again = second_userfault();
    struct uffdio_range range = {(uintptr_t)our.addr, CS_PAGE_SIZE};
    struct uffdio_register all = {.range = range, .mode = UFFDIO_REGISTER_MODE_WP};
    struct uffdio_writeprotect off = {.range = range};
    ioctl(again, UFFDIO_UNREGISTER, &range);
    ioctl(again, UFFDIO_REGISTER, &all);
    ioctl(again, UFFDIO_WRITEPROTECT, &off);
    poke(our.addr);
    end_with(true, false);
}

TEST(put_in_another_s_page_with_a_second_userfaultfd)
{
    given();
    uint8_t *page = cs_self.data + (size_t)*private_page * CS_PAGE_SIZE;
    struct uffdio_continue in = {.range = {(uintptr_t)page, CS_PAGE_SIZE}};
    ioctl(second_userfault(), UFFDIO_CONTINUE, &in);
    end_with(true, are_theirs(page));
}

TEST(make_the_mapping_writable_again)
{
    given();
    uint8_t *page = our.addr;
    mprotect(page, CS_PAGE_SIZE, PROT_READ | PROT_WRITE);
    poke(page);
    madvise(page, CS_PAGE_SIZE, MADV_DONTNEED);
    madvise(page, CS_PAGE_SIZE, MADV_POPULATE_WRITE);
    poke(page);
    madvise(page, CS_PAGE_SIZE, MADV_REMOVE);
    remap_file_pages(page, CS_PAGE_SIZE, 0, cs_cid_page((uint32_t)our.cid), 0);
    poke(page);
    /* it is in nobody's way that this replaces the mapping, if it can */
    mmap(page, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    poke(page);
    end_with(true, false);
}

TEST(touch_a_page_that_was_never_its_own)
{
    start_host_and_victim();
    own_one();
    CHECK(give_it());
    end_with(true, are_theirs(cs_self.data + (size_t)*private_page * CS_PAGE_SIZE));
}

/* Who gets it, or has had it for long, is of the same user. */
TEST(take_it_from_its_owner)
{
    given();
    uint8_t byte = 0, *theirs = *private_address;
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/mem", (int)victim.pid);
    int mem = open(path, O_RDWR);
    bool reached = mem >= 0 && pread(mem, &byte, 1, (off_t)(uintptr_t)theirs) == 1;
    struct iovec to = {&byte, 1}, from = {theirs, 1};
    reached |= process_vm_readv(victim.pid, &to, 1, &from, 1, 0) == 1;
    reached |= process_vm_writev(victim.pid, &to, 1, &from, 1, 0) == 1;
    reached |= ptrace(PTRACE_SEIZE, victim.pid, NULL, NULL) == 0;
    int pidfd = (int)syscall(SYS_pidfd_open, victim.pid, 0);
    for (int fd = 0; fd < 64; fd++)
        reached |= syscall(SYS_pidfd_getfd, pidfd, fd, 0) >= 0;
    end_with(true, reached);
}

TEST(find_it_behind_any_descriptor)
{
    given();
    end_with(true, any_descriptor_shows(*private_page));
}

static void hold_in_a_child(void)
{
    int orders[2], words[2];
    char seen = 0;
    own_one();
    CHECK(pipe(orders) == 0 && pipe(words) == 0);
    madvise(our.addr, CS_PAGE_SIZE, MADV_DOFORK);
    pid_t pid = hostile_child();
    if (pid == 0) {
        CHECK_EQ(read(orders[0], &seen, 1), 1);
        seen = are_theirs(our.addr) ? 'y' : 'n';
        poke(our.addr);
        CHECK_EQ(write(words[1], &seen, 1), 1);
        pause();
    }
    bool got = give_it();
    CHECK(write(orders[1], "!", 1) == 1 && read(words[0], &seen, 1) == 1);
    kill(pid, SIGKILL);
    end_with(got, seen == 'y');
}

TEST(keep_it_through_a_child)
{
    start_host_and_victim();
    hold_in_a_child();
}

static void hold_by_mremap(void)
{
    own_one();
    uint8_t *also = mremap(our.addr, 0, CS_PAGE_SIZE, MREMAP_MAYMOVE); /* a second mapping of the same */
    bool got = give_it(), seen = also != MAP_FAILED && are_theirs(also);
    if (also != MAP_FAILED)
        poke(also);
    end_with(got, seen);
}

TEST(keep_it_through_mremap)
{
    start_host_and_victim();
    hold_by_mremap();
}

TEST(map_it_twice)
{
    start_host_and_victim();
    own_one();
    off_t off = host.protection == CS_COOPERATIVE ? (off_t)cs_cid_page((uint32_t)our.cid) * CS_PAGE_SIZE : 0;
    uint8_t *also = mmap(NULL, CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, a_descriptor(), off);
    bool got = give_it(), seen = also != MAP_FAILED && are_theirs(also);
    if (also != MAP_FAILED)
        poke(also);
    end_with(got, seen);
}

TEST(keep_a_descriptor_of_it)
{
    start_host_and_victim();
    own_one();
    int fd = a_descriptor();
    bool got = give_it();
    end_with(got, fd >= 0 && shows_secrets(fd, cs_cid_page((uint32_t)our.cid)));
}

/* A reference made of a descriptor that is closed then: another opening, or one that can become one. */
static void hold_by(int how)
{
    char path[32];
    own_one();
    int fd = a_descriptor();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int held = how == OF_TREE ? (int)syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | O_CLOEXEC) : open(path, how);
    if (host.protection != CS_COOPERATIVE)
        close(fd);
    bool got = give_it();
    end_with(got, held >= 0 && shows_secrets(held, cs_cid_page((uint32_t)our.cid)));
}

TEST(keep_it_opened_again_for_reading)
{
    start_host_and_victim();
    hold_by(O_RDONLY);
}

TEST(keep_it_by_open_tree)
{
    start_host_and_victim();
    hold_by(OF_TREE);
}

TEST(keep_it_by_O_PATH)
{
    start_host_and_victim();
    hold_by(O_PATH);
}

TEST(keep_it_by_O_PATH_unshielded)
{
    escape_the_shield();
    hold_by(O_PATH);
}

TEST(keep_it_through_mremap_unshielded)
{
    escape_the_shield();
    hold_by_mremap();
}

TEST(keep_it_through_a_child_unshielded)
{
    escape_the_shield();
    hold_in_a_child();
}
