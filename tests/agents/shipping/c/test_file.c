/* Files through the six calls: every byte, every size, the ends of them, and what is refused. */
#define _GNU_SOURCE
#include "files.h"
#include "pool_check.h"

#include <sys/epoll.h>
#include <sys/syscall.h>

static const int file_sizes[] = {
    0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 12288, 16383, 16385, 100001, 1048575, 1048576, 1048577, 3000001};
static const int operations[] = {1 << 10, 4096, 5000, 8192, 65536, 131072, 1 << 20, 8 << 20};
enum { FILE_SIZES = sizeof file_sizes / sizeof *file_sizes, OPERATIONS = sizeof operations / sizeof *operations };

static void copy_all_sizes(void)
{
    for (int i = 0; i < FILE_SIZES; i++) {
        file_make("source", (uint64_t)file_sizes[i]);
        for (int k = 0; k < OPERATIONS; k++) {
            if (file_sizes[i] / operations[k] > 300)
                continue;
            CHECK_EQ(copy_file("source", "target", operations[k]), 0);
            file_same("source", "target");
        }
    }
    check_no_leak();
    CHECK_EQ(counted("file_errors"), 0);
}

TEST(a_copy_is_the_same_byte_for_byte)
{
    host_start();
    copy_all_sizes();
    host_end();
}

TEST(a_copy_is_the_same_where_the_kernel_has_no_io_uring)
{
    forbid(__NR_io_uring_setup);
    host_start();
    file_make("source", 1);
    int fd = file_reader("source", SOON_MS);
    CHECK_EQ(cs_file_how(fd) & CS_FILE_URING, 0);
    copy_all_sizes();
    host_end();
}

/* Every container of a read begins where the one before it ended. */
static uint64_t read_to_the_end(int fd, int size, uint64_t from)
{
    int cid, off, len, bytes, n;
    void *addr;
    struct cs_args args = {&cid, &off, &len, &bytes, &addr};
    while ((n = cs_read(fd, size, 1, &args, CS_MAPALL)) > 0) {
        CHECK(off >= 0 && len > 0 && len <= size && off + len <= bytes);
        for (int i = 0; i < len; i++)
            CHECK_EQ(((uint8_t *)addr)[off + i], file_byte(from + (uint64_t)i));
        from += (uint64_t)len;
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(n, 0);
    return from;
}

TEST(whole_operations_come_in_one_container_each)
{
    host_start();
    file_make("source", 100 * OPERATION);
    int fd = file_reader("source", SOON_MS), cid, off, len, size;
    struct cs_args args = {&cid, &off, &len, &size, NULL};
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(cs_read(fd, OPERATION, 1, &args, 0), 1);
        CHECK_EQ(off, 0);
        CHECK_EQ(len, OPERATION);
        CHECK_EQ(size, OPERATION);
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(cs_read(fd, OPERATION, 1, &args, 0), 0);
    CHECK_EQ(counted("file_bytes_in"), 100 * OPERATION);
    host_end();
}

TEST(the_size_of_reads_may_change_from_one_to_the_next)
{
    host_start();
    file_make("source", 2000003);
    int fd = file_reader("source", SOON_MS), cid, off, len, n;
    void *addr;
    struct cs_args args = {&cid, &off, &len, NULL, &addr};
    uint64_t at = 0;
    while ((n = cs_read(fd, 1 + (int)below(40000), 1, &args, CS_MAPALL)) > 0) {
        for (int i = 0; i < len; i++)
            CHECK_EQ(((uint8_t *)addr)[off + i], file_byte(at + (uint64_t)i));
        at += (uint64_t)len;
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(at, 2000003);
    check_no_leak();
    host_end();
}

TEST(an_end_is_found_again_and_what_was_appended_is_read)
{
    host_start();
    file_make("source", 5000);
    int fd = file_reader("source", SOON_MS);
    CHECK_EQ(read_to_the_end(fd, OPERATION, 0), 5000);
    CHECK_EQ(read_to_the_end(fd, OPERATION, 5000), 5000);
    file_make("source", 300000); /* the same bytes and more */
    CHECK_EQ(read_to_the_end(fd, OPERATION, 5000), 300000);
    check_no_leak();
    host_end();
}

TEST(a_file_that_is_cut_off_while_it_is_read_ends_there)
{
    host_start();
    file_make("source", 1000 * OPERATION);
    int fd = file_reader("source", SOON_MS), cid, len, n, reads = 0;
    struct cs_args args = {.cids = &cid, .lens = &len};
    uint64_t bytes = 0;
    while ((n = cs_read(fd, OPERATION, 1, &args, 0)) > 0) {
        bytes += (uint64_t)len;
        CHECK_EQ(cs_free(1, &cid), 0);
        if (++reads == 10)
            CHECK_EQ(truncate("source", 500 * OPERATION + 77), 0);
    }
    CHECK_EQ(n, 0);
    CHECK_EQ(bytes, 500 * OPERATION + 77);
    check_no_leak();
    host_end();
}

TEST(a_message_of_several_containers_is_written_in_order)
{
    host_start();
    int fd = file_writer("target");
    uint64_t at = 0;
    for (int round = 0; round < 200; round++) {
        int cids[64], offs[64], lens[64], count = 1 + (int)below(round % 10 ? 5 : 64);
        for (int i = 0; i < count; i++) {
            void *addr;
            lens[i] = (int)below(3) ? (int)below(6000) : CS_PAGE_SIZE;
            offs[i] = (int)below(2) ? (int)below(5000) : 0;
            cids[i] = cs_alloc(offs[i] + lens[i] + 1, &addr, CS_MAPNOW);
            CHECK(cids[i] > 0);
            for (int k = 0; k < lens[i]; k++)
                ((uint8_t *)addr)[offs[i] + k] = file_byte(at++);
        }
        CHECK_EQ(cs_write(fd, count, cids, offs, lens, round % 3 ? CS_MORE : 0), 0);
    }
    CHECK_EQ(cs_close(fd), 0);
    CHECK_EQ(counted("file_bytes_out"), at);
    file_make("wanted", at);
    file_same("wanted", "target");
    check_no_leak();
    host_end();
}

TEST(when_close_returns_all_is_written)
{
    host_start();
    file_make("wanted", 40 * 65536 + 5);
    for (int round = 0; round < 20; round++) {
        CHECK_EQ(copy_file("wanted", "target", 65536), 0);
        CHECK_EQ(file_size("target"), 40 * 65536 + 5);
    }
    file_same("wanted", "target");
    host_end();
}

TEST(a_descriptor_begins_where_it_stands_and_stays_there)
{
    host_start();
    file_make("source", 50000);
    int file = open("source", O_RDWR | O_CLOEXEC);
    CHECK_EQ(lseek(file, 12345, SEEK_SET), 12345);
    int fd = cs_adopt_file(file, O_RDONLY, SOON_MS);
    CHECK(fd >= 0);
    CHECK_EQ(read_to_the_end(fd, OPERATION, 12345), 50000);
    CHECK_EQ(lseek(file, 0, SEEK_CUR), 12345);
    CHECK_EQ(cs_close(fd), 0);
    CHECK((fd = cs_adopt_file(file, O_WRONLY, SOON_MS)) >= 0);
    CHECK_EQ(write_pattern(fd, 0, 100, 9, 0), 0);
    CHECK_EQ(cs_close(fd), 0);
    uint8_t byte;
    CHECK_EQ(pread(file, &byte, 1, 12345 + 99), 1);
    CHECK_EQ(byte, pattern_byte(9, 99));
    CHECK_EQ(file_size("source"), 50000);
    CHECK_EQ(unlink("source"), 0);
    CHECK((fd = cs_adopt_file(file, O_RDONLY, SOON_MS)) >= 0); /* it has no name, it is a file all the same */
    close(file);
    host_end();
}

TEST(what_is_no_regular_file_or_not_open_that_way_is_refused)
{
    int pipes[2];
    CHECK_EQ(cs_open_file("source", O_RDONLY, 0), -ENOTCONN);
    host_start();
    int before = open_descriptors();
    file_make("source", 1);
    CHECK_EQ(cs_open_file(NULL, O_RDONLY, 0), -EINVAL);
    CHECK_EQ(cs_open_file("no such file", O_RDONLY, 0), -ENOENT);
    CHECK_EQ(cs_open_file(".", O_RDONLY, 0), -EISDIR);
    CHECK_EQ(cs_open_file("/dev/zero", O_RDONLY, 0), -EINVAL);
    CHECK_EQ(cs_open_file("source", O_RDWR, 0), -EINVAL);
    CHECK_EQ(cs_open_file("source", O_WRONLY | O_APPEND, 0), -EINVAL);
    CHECK_EQ(cs_open_file("source", O_WRONLY | O_CREAT | O_EXCL, 0), -EEXIST);
    CHECK_EQ(mkfifo("fifo", 0600), 0);
    CHECK_EQ(cs_open_file("fifo", O_RDONLY, 0), -EINVAL);
    CHECK_EQ(pipe(pipes), 0);
    CHECK_EQ(cs_adopt_file(pipes[0], O_RDONLY, 0), -EINVAL);
    CHECK_EQ(cs_adopt_file(-1, O_RDONLY, 0), -EBADF);
    static const struct { int opened, wanted, answer; } modes[] = {
        {O_RDONLY, O_WRONLY, -EBADF}, {O_WRONLY, O_RDONLY, -EBADF}, {O_PATH, O_RDONLY, -EBADF},
        {O_WRONLY | O_APPEND, O_WRONLY, -EINVAL}, {O_RDWR, O_RDWR, -EINVAL}};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        int file = open("source", modes[i].opened);
        CHECK_EQ(cs_adopt_file(file, modes[i].wanted, 0), modes[i].answer);
        close(file);
    }
    close(pipes[0]);
    close(pipes[1]);
    CHECK_EQ(unlink("fifo"), 0);
    int reads = file_reader("source", 0), writes = file_writer("target"), cid = cs_alloc(1, NULL, 0), many[65] = {0};
    struct cs_args args = {.cids = &cid};
    CHECK_EQ(cs_write(reads, 1, &cid, NULL, NULL, 0), -EBADF);
    CHECK_EQ(cs_read(writes, 1, 1, &args, 0), -EBADF);
    CHECK_EQ(cs_read(reads, 0, 1, &args, 0), -EINVAL);
    CHECK_EQ(cs_write(writes, 65, many, NULL, NULL, 0), -EINVAL);
    CHECK_EQ(cs_file_how(-1), -EBADF);
    CHECK_EQ(cs_free(1, &cid), 0);
    CHECK_EQ(cs_close(reads), 0);
    CHECK_EQ(cs_close(writes), 0);
    CHECK_EQ(open_descriptors(), before);
    check_no_leak();
    host_end();
}

TEST(a_descriptor_polls_readable_when_the_disk_has_delivered)
{
    host_start();
    file_make("source", 20 * 65536 + 1);
    int fd = file_reader("source", 0), epoll = epoll_create1(EPOLL_CLOEXEC), n;
    struct epoll_event event = {.events = EPOLLIN};
    uint64_t at = 0;
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    do {
        int cid, len;
        struct cs_args args = {.cids = &cid, .lens = &len};
        while ((n = cs_ready(fd)) == 0)
            CHECK_EQ(epoll_wait(epoll, &event, 1, SOON_MS), 1);
        CHECK_EQ(n, 1);
        if ((n = cs_read(fd, OPERATION, 1, &args, CS_DONTWAIT)) > 0) {
            at += (uint64_t)len;
            CHECK_EQ(cs_free(1, &cid), 0);
        }
    } while (n != 0);
    CHECK_EQ(at, 20 * 65536 + 1);
    close(epoll);
    host_end();
}

TEST(a_sparse_file_of_gigabytes_is_copied_at_its_far_end_too)
{
    const uint64_t far = (uint64_t)5 << 30, end = far + 300001;
    host_start();
    file_make("source", 300001);
    int file = open("source", O_RDWR | O_CLOEXEC), other = open("target", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t block[512], got[512];
    for (uint64_t i = 0; i < sizeof block; i++)
        block[i] = file_byte(i);
    CHECK_EQ(pwrite(file, block, sizeof block, (off_t)(end - sizeof block)), sizeof block);
    /* what lies between is a hole: from the last megabytes on, through both devices */
    CHECK_EQ(lseek(file, (off_t)(far - (3 << 20)), SEEK_SET), far - (3 << 20));
    CHECK_EQ(lseek(other, (off_t)(far - (3 << 20)), SEEK_SET), far - (3 << 20));
    int src = cs_adopt_file(file, O_RDONLY, SOON_MS), dst = cs_adopt_file(other, O_WRONLY, SOON_MS);
    CHECK(src >= 0 && dst >= 0);
    CHECK_EQ(copy_loop(src, dst, 131072), 0);
    CHECK_EQ(cs_close(dst), 0);
    CHECK_EQ(file_size("target"), end);
    CHECK_EQ(pread(other, got, sizeof got, (off_t)(end - sizeof got)), sizeof got);
    CHECK(memcmp(block, got, sizeof got) == 0);
    struct stat status;
    CHECK_EQ(fstat(other, &status), 0);
    CHECK(status.st_blocks * 512 < 8 << 20);
    CHECK_EQ(cs_close(src), 0);
    /* and read whole: gigabytes of nothing, counted */
    uint64_t bytes = 0, most = (uint64_t)1 << 30;
    CHECK_EQ(lseek(file, (off_t)(end - most), SEEK_SET), end - most);
    CHECK((src = cs_adopt_file(file, O_RDONLY, SOON_MS)) >= 0);
    int cid, len;
    struct cs_args args = {.cids = &cid, .lens = &len};
    while (cs_read(src, 1 << 20, 1, &args, 0) > 0) {
        bytes += (uint64_t)len;
        CHECK_EQ(cs_free(1, &cid), 0);
    }
    CHECK_EQ(bytes, most);
    close(file);
    close(other);
    CHECK_EQ(truncate("source", 0) + truncate("target", 0), 0);
    check_no_leak();
    host_end();
}

/* A process may have three quarters of what is free, and what it has counts. */
TEST(the_last_container_is_as_long_as_the_share_affords)
{
    enum { LONG = 16, WHOLE = 62, LAST = 6 };
    host_start();
    file_make("source", 2 * WHOLE * LONG * CS_PAGE_SIZE);
    int share = 3 * (int)counted("containers_free") / 4, fd = file_reader("source", SOON_MS), cid, len, err, sum = 0, shorter = 0;
    struct cs_args args = {.cids = &cid, .lens = &len};
    CHECK(cs_alloc((share - WHOLE * LONG - LAST) * CS_PAGE_SIZE, NULL, 0) > 0);
    while ((err = cs_read(fd, LONG * CS_PAGE_SIZE, 1, &args, 0)) == 1) {
        sum += len;
        shorter += len < LONG * CS_PAGE_SIZE;
    }
    CHECK_EQ(err, -ENOBUFS);
    CHECK_EQ(sum, (WHOLE * LONG + LAST) * CS_PAGE_SIZE);
    CHECK_EQ(shorter, 1);
    check_no_leak();
    host_end();
}
