// The sandbox of a process: Landlock, seccomp, and a child process with fewer rights.
//
// The caller decides which directories are permitted. Only the table of system calls is decided here.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- Landlock -------------------------------------------------------------------------------

// The headers of Debian 12 do not have these yet. An older kernel accepts a longer struct if its end is zero.
struct ruleset {
    uint64_t handled_access_fs, handled_access_net, scoped;
};
#define ACCESS_FS_TRUNCATE (1ULL << 14)
#define ACCESS_FS_IOCTL_DEV (1ULL << 15)
#define ACCESS_NET_TCP (3ULL)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

int ck_landlock_version(void) {
    return outcome(syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION));
}

// All file system rights that this version of Landlock knows.
static uint64_t rights(int version) {
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    if (version >= 2) all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) all |= ACCESS_FS_TRUNCATE;
    if (version >= 5) all |= ACCESS_FS_IOCTL_DEV;
    return all;
}

int ck_landlock_ruleset(int version, int reads_anything, int keeps) {
    struct ruleset ruleset = {.handled_access_fs = rights(version)};
    if (reads_anything) ruleset.handled_access_fs &= ~(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
    if (version >= 4) ruleset.handled_access_net = ACCESS_NET_TCP;
    if (version >= 6)
        ruleset.scoped = (keeps & ck_keeps_signals ? 0 : SCOPE_SIGNAL)
                         | (keeps & ck_keeps_abstract_sockets ? 0 : SCOPE_ABSTRACT_UNIX_SOCKET);
    size_t size = version >= 6 ? sizeof ruleset : version >= 4 ? offsetof(struct ruleset, scoped)
                                                                : offsetof(struct ruleset, handled_access_net);
    return outcome(syscall(SYS_landlock_create_ruleset, &ruleset, size, 0));
}

int ck_landlock_allow(int ruleset, int version, int handle, int may) {
    uint64_t access = 0;
    if (may & ck_may_read) access |= LANDLOCK_ACCESS_FS_READ_FILE;
    if (may & ck_may_list) access |= LANDLOCK_ACCESS_FS_READ_DIR;
    if (may & ck_may_write)
        access |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | (rights(version) & ACCESS_FS_TRUNCATE);
    if (may & ck_may_remove) access |= LANDLOCK_ACCESS_FS_REMOVE_FILE;
    struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = handle};
    return outcome(syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0));
}

int ck_landlock_restrict(int ruleset) { return outcome(syscall(SYS_landlock_restrict_self, ruleset, 0)); }

// ---- seccomp --------------------------------------------------------------------------------

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

// The system calls that the daemon needs while it serves, the most frequent first. All others fail with EPERM. So the
// daemon cannot execute programs, start a child, trace or signal another process, mount, enter a namespace, load a
// module, use the kernel's key rings or io_uring, or change its identity or capabilities. It can create files only with
// open, and cannot rename or link files, or change their owner or mode.
static const uint32_t permitted[] = {
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_epoll_pwait, SYS_recvmsg, SYS_fstat, SYS_write, SYS_fdatasync, SYS_sendmsg, SYS_close, SYS_accept4,
    SYS_getsockopt, SYS_pread64, SYS_epoll_ctl, SYS_newfstatat, SYS_read,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll,
    // Memory management and the C library.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex, SYS_getrandom, SYS_clock_gettime, SYS_restart_syscall,
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack, SYS_sched_yield, SYS_sysinfo, SYS_uname,
    // The process's own ids, working directory and capabilities.
    SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getcwd, SYS_capget,
    // Files: checking paths, reading the policy, writing and rotating the log, and removing the socket's file at the
    // end. inotify_add_watch is missing: all watches of the daemon exist by then, and can only be removed.
    SYS_statx, SYS_lseek, SYS_getdents64, SYS_readlinkat, SYS_dup, SYS_flock, SYS_fsync, SYS_ftruncate,
    SYS_unlinkat, SYS_inotify_rm_watch,
#ifdef SYS_unlink
    SYS_unlink,
#endif
#ifdef SYS_readlink
    SYS_readlink,
#endif
    // Credentials: from the file to the socket, without being read here.
    SYS_sendfile,
    // Existing sockets, and messages to the service manager.
    SYS_sendto, SYS_recvfrom, SYS_setsockopt, SYS_shutdown,
    // The thread that closes what clients sent (Closer).
    SYS_timer_settime,
    // The pairs of signing channels.
    SYS_socketpair,
    // The daemon's own log lines on standard error.
    SYS_pwritev2,
    // The end of the process; abort(3) of the C library uses writev, and tgkill (see below).
    SYS_writev, SYS_exit, SYS_exit_group,
};

// System calls that are permitted only with a harmless argument. If `mask` is 0, `argument` must be equal to `value`;
// otherwise it must have no bit of `mask`. If a call has several lines, one of them must match.
struct check {
    uint32_t call;
    uint32_t argument, value, mask;
};
static const struct check checked[] = {
    // No file may be created with the set-user-ID or set-group-ID bit.
    {SYS_openat, 3, 0, 06000},
    // Not F_NOTIFY, which watches a directory. No locks, and no signals to other processes.
    {SYS_fcntl, 1, F_DUPFD_CLOEXEC, 0},
    {SYS_fcntl, 1, F_GETFD, 0},
    // fdopendir(3) closes the directory for executed programs, of which there are none.
    {SYS_fcntl, 1, F_SETFD, 0},
    {SYS_fcntl, 1, F_GETFL, 0},
    {SYS_mmap, 2, 0, PROT_EXEC},
    {SYS_mprotect, 2, 0, PROT_EXEC},
    {SYS_ioctl, 1, SIOCOUTQ, 0},
    // What the kernel says of the process at the other end.
    {SYS_ioctl, 1, ck_process_info, 0},
};

#ifdef ARCHITECTURE
static size_t add_check(struct sock_filter *program, size_t length, struct check check) {
    // Compares the low 32 bits only, because the kernel uses these arguments as 32-bit numbers.
    uint32_t offset = offsetof(struct seccomp_data, args) + check.argument * sizeof(uint64_t);
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, check.call, 0, 3);
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
    program[length++] = check.mask ? (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, check.mask, 1, 0)
                                   : (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, check.value, 0, 1);
    program[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    return length;
}
#endif

int ck_seccomp_restrict(int is_opener) {
#ifndef ARCHITECTURE
    (void)is_opener;
    return -ENOSYS;
#else
    enum { checks = sizeof checked / sizeof *checked, calls = sizeof permitted / sizeof *permitted };
    struct sock_filter program[3 + 5 * (checks + 1) + 1 + 2 * calls + 4 + 1];
    const struct sock_filter number = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    size_t length = 0;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_filter deny = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program[length++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    program[length++] = deny;
    // The kernel runs the program only for calls with checks, as it remembers which calls pass in any case.
    for (size_t i = 0; i < checks; i++) length = add_check(program, length, checked[i]);
    // No signal to another process. (Landlock would forbid too the one that the kernel sends to the children at the end.)
    length = add_check(program, length, (struct check){SYS_tgkill, 0, (uint32_t)getpid(), 0});
    program[length++] = number;
    for (size_t i = 0; i < calls; i++) {
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, permitted[i], 0, 1);
        program[length++] = allow;
    }
    if (is_opener) {
        const uint32_t calls_of_opener[] = {SYS_inotify_add_watch, SYS_memfd_create};
        for (size_t i = 0; i < 2; i++) {
            program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls_of_opener[i], 0, 1);
            program[length++] = allow;
        }
    }
    program[length++] = deny;
    struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
    return outcome(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0));
#endif
}

// ---- capabilities ---------------------------------------------------------------------------

int ck_keep_capabilities(uint64_t capabilities) {
    // An executed program would inherit ambient capabilities, which a service manager can set.
    int result = outcome(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    if (result < 0) return result;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) return -errno;
    int has_more = 0;
    for (int half = 0; half < 2; half++) {
        uint32_t kept = data[half].permitted & (uint32_t)(capabilities >> (32 * half));
        has_more |= kept != data[half].permitted;
        data[half] = (struct __user_cap_data_struct){.effective = kept, .permitted = kept, .inheritable = 0};
    }
    result = outcome(syscall(SYS_capset, &header, data));
    // The service manager's own seccomp filter may forbid the call. That does no harm if the only capabilities left to
    // drop are inheritable ones: they matter only to an executed program, and the daemon executes none.
    return result == -EPERM && !has_more ? 0 : result;
}

// ---- a child --------------------------------------------------------------------------------

int ck_child(int *sockets) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        int error = errno;
        close(pair[0]);
        close(pair[1]);
        return -error;
    }
    if (child > 0) {
        close(pair[1]);
        *sockets = pair[0];
        return child;
    }
    // The kernel kills the child when its parent ends, in whatever way that happens; not if the parent is in a Landlock
    // domain with SCOPE_SIGNAL by then, nor if the child's user id changes after this. The child also ends when its socket
    // does.
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) _exit(0);
    // Only the child's end of the socket pair stays open, as descriptor 3. Its standard streams are /dev/null. Both are
    // still so after an execve.
    int null = open("/dev/null", O_RDWR);
    for (int stream = 0; stream < 3 && null >= 0; stream++) dup2(null, stream);
    if (dup2(pair[1], 3) < 0 || fcntl(3, F_SETFD, 0) < 0) _exit(1);
    if (syscall(SYS_close_range, 4, ~0U, 0) < 0) {
        // Fallback for Linux before 5.9.
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0) _exit(1);
        for (rlim_t descriptor = 4; descriptor < limit.rlim_cur; descriptor++) close((int)descriptor);
    }
    *sockets = 3;
    return 0;
}

int ck_execute_again(const char *argument) {
    char *const arguments[] = {(char *)"keybrokerd", (char *)argument, NULL}, *const environment[] = {NULL};
    execve("/proc/self/exe", arguments, environment);
    if (errno != ENOENT) return -errno;
    const char *path = (const char *)getauxval(AT_EXECFN);
    return path == NULL ? -ENOENT : outcome(execve(path, arguments, environment));
}

int ck_name_process(const char *name) { return outcome(prctl(PR_SET_NAME, name, 0, 0, 0)); }

_Noreturn void ck_wait_for_ever(int is_opener) {
    // Without seccomp the thread has no filter, as all others.
    (void)ck_seccomp_restrict(is_opener);
    for (;;) poll(NULL, 0, -1);
}
