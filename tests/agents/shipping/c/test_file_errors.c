/* Disks that are full, that fail and that hang, and processes that die meanwhile. What fails and hangs here is
 * /proc/self/mem, a regular file, where a mapping reaches behind the end of what it maps (EIO); and the manager's own calls
 * preadv and pwritev, replaced by ones that wait until they are let go. */
#define _GNU_SOURCE
#include "files.h"

#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "core/process.h"

enum { SKIP = 77, FULL = 1 << 20 };

/* Mounts of our own, which end with us. */
static void mount_here(const char *type, const char *options)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        fprintf(stderr, "this process may not mount: %s\n", strerror(errno));
        exit(SKIP);
    }
    CHECK(mkdir("disk", 0700) == 0 || errno == EEXIST);
    CHECK_EQ(mount("none", "disk", type, 0, options), 0);
}

static void write_until_full(int operation)
{
    file_make("source", 3 * FULL);
    int src = file_reader("source", SOON_MS), dst = file_writer("disk/target"), cid;
    int err = copy_loop(src, dst, operation);
    if (err == 0) /* all was accepted before the disk said anything */
        err = cs_close(dst);
    else {
        CHECK((cid = cs_alloc(1, NULL, 0)) > 0);
        CHECK_EQ(cs_write(dst, 1, &cid, NULL, NULL, 0), -ENOSPC); /* and so do all that follow */
        CHECK_EQ(cs_write(dst, 1, &cid, NULL, NULL, CS_DONTWAIT), -ENOSPC);
        CHECK_EQ(cs_writable(dst), -ENOSPC);
        CHECK_EQ(cs_free(1, &cid), 0);
        CHECK_EQ(cs_close(dst), -ENOSPC);
    }
    CHECK_EQ(err, -ENOSPC);
    CHECK(counted("file_errors") > 0);
    CHECK_EQ(cs_close(src), 0);
    check_no_leak();
}

TEST(a_full_disk_is_told_to_the_writer_and_nothing_leaks)
{
    mount_here("tmpfs", "size=1m");
    host_start();
    for (int operation = 4096; operation <= 1 << 20; operation *= 4) {
        write_until_full(operation);
        CHECK_EQ(file_size("disk/target"), FULL); /* all that there was room for */
        CHECK_EQ(unlink("disk/target"), 0);
    }
    file_make("source", FULL); /* it was not the manager that was full */
    CHECK_EQ(copy_file("source", "disk/target", 65536), 0);
    file_same("source", "disk/target");
    host_end();
}

TEST(a_full_disk_that_is_written_directly_is_told_too)
{
    CHECK_EQ(system("truncate -s 2M image && mkfs.ext4 -q -F -m 0 -O ^has_journal image"), 0);
    mount_here("tmpfs", "size=16m");
    if (system("mount -o loop image disk 2>/dev/null") != 0) {
        fprintf(stderr, "no loop device can be mounted here\n");
        exit(SKIP);
    }
    host_start();
    int fd = file_writer("disk/target");
    CHECK_EQ(cs_file_how(fd) & CS_FILE_DIRECT, CS_FILE_DIRECT);
    CHECK_EQ(cs_close(fd), 0);
    write_until_full(65536);
    CHECK(counted("file_bytes_buffered") < counted("file_bytes_out"));
    host_end();
}

TEST(a_read_only_file_system_refuses_at_once)
{
    mount_here("tmpfs", "ro");
    host_start();
    CHECK_EQ(cs_open_file("disk/target", O_WRONLY | O_CREAT, 0), -EROFS);
    host_end();
}

TEST(a_file_that_would_become_too_big_is_told)
{
    host_start();
    int file = open("target", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), cid = cs_alloc(1, NULL, 0);
    uint64_t good = 0;
    for (uint64_t step = (uint64_t)1 << 62; step > 0; step /= 2)
        if (lseek(file, (off_t)(good + step), SEEK_SET) >= 0)
            good += step;
    CHECK_EQ(lseek(file, (off_t)good, SEEK_SET), good);
    int fd = cs_adopt_file(file, O_WRONLY, SOON_MS);
    CHECK(fd >= 0);
    CHECK_EQ(cs_write(fd, 1, &cid, NULL, NULL, 0), 0);
    CHECK_EQ(cs_close(fd), -EFBIG);
    close(file);
    check_no_leak();
    host_end();
}

/* Pages of ours, of which the last is not there, and the file in which they are. */
static int memory_file(uint8_t **memory, int pages, int flags, int *behind)
{
    int file = open("/proc/self/mem", flags | O_CLOEXEC);
    *behind = memfd_create("memory", MFD_CLOEXEC);
    CHECK_EQ(ftruncate(*behind, (pages - 1) * CS_PAGE_SIZE), 0);
    *memory = mmap(NULL, (size_t)pages * CS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, *behind, 0);
    CHECK(file >= 0 && *memory != MAP_FAILED);
    CHECK_EQ(lseek(file, (off_t)(uintptr_t)*memory, SEEK_SET), (off_t)(uintptr_t)*memory);
    return file;
}

TEST(a_read_error_comes_after_all_that_was_read_and_can_be_tried_again)
{
    host_start();
    uint8_t *memory;
    int behind, file = memory_file(&memory, 9, O_RDONLY, &behind), fd = cs_adopt_file(file, O_RDONLY, SOON_MS);
    CHECK(fd >= 0);
    CHECK_EQ(cs_file_how(fd) & CS_FILE_DIRECT, 0);
    for (uint32_t i = 0; i < 8 * CS_PAGE_SIZE; i++)
        memory[i] = pattern_byte(3, i);
    for (uint32_t i = 0; i < 8; i++)
        CHECK_EQ(read_pattern(fd, CS_PAGE_SIZE, 1, 3, i * CS_PAGE_SIZE, 0), CS_PAGE_SIZE);
    for (int i = 0; i < 3; i++)
        CHECK_EQ(read_pattern(fd, CS_PAGE_SIZE, 1, 0, 0, 0), -EIO);
    CHECK_EQ(ftruncate(behind, 9 * CS_PAGE_SIZE), 0);
    memory[8 * CS_PAGE_SIZE] = pattern_byte(3, 8 * CS_PAGE_SIZE);
    CHECK_EQ(read_pattern(fd, 1, 1, 3, 8 * CS_PAGE_SIZE, 0), 1);
    CHECK_EQ(cs_close(fd), 0);
    close(file);
    check_no_leak();
    host_end();
}

TEST(a_write_error_ends_the_file_for_its_writer)
{
    host_start();
    uint8_t *memory;
    int behind, file = memory_file(&memory, 3, O_RDWR, &behind), fd = cs_adopt_file(file, O_WRONLY, SOON_MS), err = 0;
    CHECK(fd >= 0);
    CHECK_EQ(write_pattern(fd, 0, 2 * CS_PAGE_SIZE, 4, 0), 0);
    for (int i = 0; i < 1000 && err == 0; i++)
        err = write_pattern(fd, 0, 100, 4, 0);
    CHECK(err == 0 || err == -EIO);
    CHECK_EQ(cs_close(fd), -EIO);
    for (uint32_t i = 0; i < 2 * CS_PAGE_SIZE; i++)
        CHECK_EQ(memory[i], pattern_byte(4, i));
    close(file);
    check_no_leak();
    host_end();
}

/* While it is 1 the manager's threads do not come back from the disk. */
static _Atomic int *disk_hangs;

ssize_t __real_preadv(int fd, const struct iovec *iov, int count, off_t position);
ssize_t __real_pwritev(int fd, const struct iovec *iov, int count, off_t position);

static void hang(void)
{
    while (disk_hangs && atomic_load(disk_hangs))
        poll(NULL, 0, 1);
}

ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t position)
{
    hang();
    return __real_preadv(fd, iov, count, position);
}

ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t position)
{
    hang();
    return __real_pwritev(fd, iov, count, position);
}

/* A host whose manager has only threads, and whose disk hangs. */
static void host_start_hanging(void)
{
    disk_hangs = mmap(NULL, sizeof *disk_hangs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(disk_hangs != MAP_FAILED);
    *disk_hangs = 1;
    forbid(__NR_io_uring_setup);
    host_start();
}

static void others_go_on(void)
{
    int to = channel_end("test", SOON_MS), from = channel_end("test", SOON_MS), udp = host_open(HOST_PORT, SOON_MS), cid;
    struct cs_args args = {.cids = &cid};
    for (uint32_t i = 0; i < 100; i++) {
        CHECK_EQ(write_pattern(to, 0, 1000, i, 0), 0);
        CHECK_EQ(read_pattern(from, BIG, 1, i, 0, 0), 1000);
        station_send(HOST_PORT, 10);
        CHECK_EQ(cs_read(udp, 10, 1, &args, 0), 1);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(cs_close(to) | cs_close(from) | cs_close(udp), 0);
}

TEST(a_disk_that_hangs_holds_up_its_own_reader_only)
{
    host_start_hanging();
    file_make("source", 16 * CS_PAGE_SIZE);
    int fd = file_reader("source", 50), cid, len, err;
    struct cs_args args = {.cids = &cid, .lens = &len};
    CHECK_EQ(cs_read(fd, CS_PAGE_SIZE, 1, &args, CS_DONTWAIT), -EAGAIN);
    CHECK_EQ(cs_read(fd, CS_PAGE_SIZE, 1, &args, 0), -ETIMEDOUT);
    CHECK_EQ(cs_ready(fd), 0);
    others_go_on();
    *disk_hangs = 0;
    for (int i = 0; i < 16; i++) {
        while ((err = cs_read(fd, CS_PAGE_SIZE, 1, &args, 0)) == -ETIMEDOUT) {
        }
        CHECK_EQ(err, 1);
        CHECK_EQ(len, CS_PAGE_SIZE);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(cs_close(fd), 0);
    check_no_leak();
    host_end();
}

TEST(a_disk_that_hangs_holds_its_writer_back_with_a_part_of_the_pool)
{
    host_start_hanging();
    int fd = cs_open_file("target", O_WRONLY | O_CREAT | O_TRUNC, 50), err, written = 0;
    while ((err = write_pattern(fd, 0, 8 * CS_PAGE_SIZE, 7, 0)) == 0 || counted("pages_following") == 0)
        written += err == 0;
    CHECK_EQ(err, -ETIMEDOUT);
    CHECK(counted("containers_free") > HOST_POOL / 2);
    others_go_on();
    CHECK_EQ(cs_close(fd), -ETIMEDOUT); /* closed it is */
    CHECK_EQ(cs_close(fd), -EBADF);
    *disk_hangs = 0;
    check_no_leak();
    uint64_t bytes = counted("file_bytes_out"); /* what the manager had taken in is written */
    CHECK(bytes > 0 && bytes <= HOST_POOL / CS_RECYCLE_SHARE * CS_PAGE_SIZE);
    CHECK_EQ(file_size("target"), bytes);
    CHECK_EQ(counted("file_errors"), (uint64_t)written - bytes / (8 * CS_PAGE_SIZE));
    host_end();
}

TEST(pages_that_a_disk_holds_are_nobodys_until_it_lets_go)
{
    host_start_hanging();
    file_make("source", 1 << 20);
    int fd = file_reader("source", 0), cid;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_read(fd, 16 * CS_PAGE_SIZE, 1, &args, 0), -ETIMEDOUT);
    WITHIN(SOON_MS, counted("pages_following") > 0);
    cs_detach(); /* as if it had died */
    CHECK_EQ(cs_attach(host.socket), 0);
    others_go_on();
    CHECK(counted("pages_following") > 0);
    *disk_hangs = 0;
    check_no_leak();
    host_end();
}

TEST(a_manager_whose_disk_hangs_ends_all_the_same_and_says_so)
{
    host_start_hanging();
    file_make("source", 1 << 20);
    int fd = file_reader("source", 0), cid, status = 0;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_read(fd, CS_PAGE_SIZE, 1, &args, 0), -ETIMEDOUT);
    WITHIN(SOON_MS, counted("containers_receiving") > 2 * HOST_QUEUE);
    CHECK_EQ(kill(host.manager, SIGTERM), 0);
    WITHIN(SOON_MS, waitpid(host.manager, &status, WNOHANG) == host.manager);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), HOST_LEFT);
    CHECK_EQ(cs_close(fd), -EPIPE);
    cs_detach();
    CHECK_EQ(rmdir(host.directory), 0); /* its socket is gone */
}

static void copy_for_ever(void)
{
    if (fork() > 0)
        return; /* the parent says that it began, and waits to be killed */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    cs_detach();
    CHECK_EQ(cs_attach(host.socket), 0);
    for (;;)
        CHECK_EQ(copy_file("source", "target", 4 * CS_PAGE_SIZE), 0);
}

TEST(a_process_killed_in_the_middle_of_a_copy_leaves_no_page_behind)
{
    host_start();
    file_make("source", 8 << 20);
    for (uint32_t round = 0; round < 20; round++) {
        uint64_t before = counted("file_bytes_out");
        pid_t pid = neighbour(copy_for_ever);
        WITHIN(SOON_MS, counted("file_bytes_out") - before > round * 300000);
        end_of(pid); /* its child with it */
        check_no_leak();
    }
    host_end();
}

TEST(when_the_manager_dies_reads_and_writes_say_so)
{
    host_start();
    file_make("source", 1 << 20);
    int src = file_reader("source", SOON_MS), dst = file_writer("target"), cid, err;
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_read(src, OPERATION, 1, &args, 0), 1);
    end_of(host.manager);
    while ((err = cs_write(dst, 1, &cid, NULL, NULL, 0)) == 0)
        CHECK((err = cs_read(src, OPERATION, 1, &args, 0)) == 1 || err == -EPIPE);
    CHECK(err == -EPIPE || err == -EPERM); /* nothing was left to read, and so nothing to write */
    while ((err = cs_read(src, OPERATION, 1, &args, 0)) == 1) {
    }
    CHECK_EQ(err, -EPIPE);
    CHECK_EQ(cs_close(dst), -EPIPE);
    CHECK_EQ(cs_close(src), -EPIPE);
    CHECK_EQ(cs_open_file("source", O_RDONLY, 0), -EPIPE);
    cs_detach();
    CHECK_EQ(unlink(host.socket) | rmdir(host.directory), 0);
}

TEST(a_writer_that_lies_about_its_containers_ends_its_own_file)
{
    host_start();
    int fd = file_writer("target"), cid = cs_alloc(1, NULL, 0);
    struct cs_ring *tx = &cs_find(fd)->tx;
    CHECK_EQ(write_pattern(fd, 0, 10, 1, 0), 0);
    *cs_ring_reserve(tx) = (struct cs_desc){.cid = (uint32_t)cid, .len = 10, .flags = CS_DESC_MORE};
    *cs_ring_reserve(tx) = (struct cs_desc){.cid = (uint32_t)cid, .off = CS_PAGE_SIZE, .len = 1};
    cs_ring_submit(tx);
    cs_ring_manager();
    WITHIN(SOON_MS, counted("drop_bad_descriptor") == 1);
    CHECK_EQ(cs_close(fd), -EPERM);
    WITHIN(5 * SOON_MS, file_size("target") == 10); /* what came before the lie is on its way, however slow the disk is */
    int reader = file_reader("target", SOON_MS);
    tx = &cs_find(reader)->tx;
    *cs_ring_reserve(tx) = (struct cs_desc){.cid = UINT32_MAX, .len = UINT32_MAX};
    *cs_ring_reserve(tx) = (struct cs_desc){.len = UINT32_MAX, .flags = CS_DESC_ASK};
    *cs_ring_reserve(tx) = (struct cs_desc){.flags = CS_DESC_ASK};
    cs_ring_submit(tx);
    cs_ring_manager();
    WITHIN(SOON_MS, counted("drop_bad_descriptor") == 2);
    CHECK_EQ(read_pattern(reader, 10, 1, 1, 0, 0), 1); /* it asked for one byte */
    atomic_store(&cs_find(reader)->rx.shared->consumed, 123456789);
    cs_ring_manager();
    struct pollfd manager = {.fd = cs_manager_fd()};
    CHECK_EQ(poll(&manager, 1, SOON_MS), 1);
    CHECK_EQ(cs_close(reader), -EPIPE);
    cs_detach();
    WITHIN(SOON_MS, pool_is_whole());
    CHECK_EQ(cs_attach(host.socket), 0);
    host_end();
}

TEST(a_process_that_keeps_what_it_reads_is_told_when_it_has_its_share)
{
    host_start();
    file_make("source", 64 << 20);
    int fd = file_reader("source", SOON_MS), cid, err;
    struct cs_args args = {.cids = &cid};
    while ((err = cs_read(fd, 65536, 1, &args, 0)) == 1) {
    }
    CHECK_EQ(err, -ENOBUFS);
    CHECK(counted("containers_free") > HOST_POOL / 16);
    ended_well(other(others_go_on));
    CHECK_EQ(truncate("source", 0), 0);
    check_no_leak();
    host_end();
}
