#define _GNU_SOURCE
#include "shield.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pool.h"

/* Newer than Debian 12's headers. */
#ifndef SYS_mseal
#define SYS_mseal 462 /* Linux 6.10 */
#endif

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0 /* none: the filter refuses everything, so cs_shield_calls refuses first */
#endif

static int userfault(void)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_SIGBUS | UFFD_FEATURE_MINOR_SHMEM | UFFD_FEATURE_MINOR_HUGETLBFS |
                                         UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
    /* for faults in user mode only, which needs no privilege: the kernel's own end with -EFAULT all the same */
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
    if (fd < 0)
        return -errno;
    if (ioctl(fd, UFFDIO_API, &api) == 0)
        return fd;
    int err = -errno;
    close(fd);
    return err;
}

int cs_userfault_check(void)
{
    int fd = userfault();
    if (fd < 0)
        return fd;
    close(fd);
    /* of nothing: is it there? */
    return syscall(SYS_mseal, 0, 0, 0) < 0 && errno == ENOSYS ? -ENOSYS : 0;
}

int cs_shield_map(int fd, size_t bytes, size_t alignment, uint8_t **data, int *out)
{
    int err, userfaults = userfault();
    if (userfaults < 0)
        return userfaults;
    uint8_t *memory = cs_reserve(bytes, alignment);
    if (!memory) {
        close(userfaults);
        return -ENOMEM;
    }
    struct uffdio_register all = {.range = {(uint64_t)(uintptr_t)memory, bytes},
                                  .mode = UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP};
    if (mmap(memory, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
        ioctl(userfaults, UFFDIO_REGISTER, &all) < 0 || madvise(memory, bytes, MADV_DONTFORK) < 0 ||
        syscall(SYS_mseal, memory, bytes, 0) < 0) {
        err = -errno;
        munmap(memory, bytes);
        close(userfaults);
        return err;
    }
    *data = memory;
    *out = userfaults;
    return 0;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, what)
#define REFUSE ANSWER(SECCOMP_RET_ERRNO | EPERM)
/* The next instruction only if the loaded value is, or is not, that one. */
#define IF(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1)
#define UNLESS(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0)
#define REFUSE_CALL(name) IF(SYS_##name), REFUSE

#define REFUSE_FLAG(name, number, flag)                                                                               \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), LOAD(args[number]),                                         \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flag, 0, 1), REFUSE, ANSWER(SECCOMP_RET_ALLOW)

int cs_shield_calls(bool once)
{
    /* an argument's low half, on machines that are little-endian, as both of ours are */
    struct sock_filter filter[] = {
        LOAD(arch),
        UNLESS(ARCHITECTURE),
        REFUSE,
        LOAD(nr),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1), /* x32: the same calls by other numbers */
        REFUSE,
        REFUSE_CALL(io_uring_setup), /* its registered buffers outlive mappings */
        REFUSE_CALL(io_uring_register),
        REFUSE_CALL(io_uring_enter), /* of a ring that somebody else made */
        REFUSE_CALL(vmsplice), /* pipes and sockets hold on to pages, too */
        REFUSE_CALL(splice),
        REFUSE_CALL(sendfile),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 4),
        LOAD(args[2]),
        IF(SO_ZEROCOPY),
        REFUSE,
        ANSWER(SECCOMP_RET_ALLOW),
        REFUSE_FLAG(sendto, 3, MSG_ZEROCOPY), /* on a socket that has it already */
        REFUSE_FLAG(sendmsg, 2, MSG_ZEROCOPY),
        REFUSE_FLAG(sendmmsg, 3, MSG_ZEROCOPY),
        REFUSE_CALL(io_setup),
        REFUSE_CALL(io_submit),
        REFUSE_CALL(process_madvise),
        REFUSE_CALL(remap_file_pages),
        REFUSE_CALL(openat2), /* its flags are out of a filter's sight */
        REFUSE_CALL(open_tree), /* what it returns is an O_PATH */
        REFUSE_CALL(name_to_handle_at),
        REFUSE_CALL(open_by_handle_at),
#ifdef SYS_open
        REFUSE_FLAG(open, 1, O_PATH),
#endif
        REFUSE_FLAG(openat, 2, O_PATH), /* a reference that no lease sees, and that can be opened again */
        REFUSE_FLAG(fallocate, 1, FALLOC_FL_PUNCH_HOLE), /* what was in a page would be gone for its next owner too */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 6),
        LOAD(args[2]),
        IF(MADV_REMOVE),
        REFUSE,
        IF(MADV_DOFORK),
        REFUSE,
        ANSWER(SECCOMP_RET_ALLOW),
        /* a second userfaultfd can undo what the first one protects, and put in pages of its own choice */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5),
        LOAD(args[1]),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
        IF(UFFDIO << 8),
        REFUSE,
        ANSWER(SECCOMP_RET_ALLOW),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 5),
        LOAD(args[0]),
        IF(AF_XDP),
        REFUSE,
        IF(once ? AF_UNIX : AF_XDP),
        REFUSE,
        ANSWER(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (ARCHITECTURE == 0)
        return -ENOSYS;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
        return errno ? -errno : -EBUSY;
    return 0;
}
