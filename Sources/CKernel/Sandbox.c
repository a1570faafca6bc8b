// The walls that a process can put around itself: Landlock, seccomp, and a child with fewer rights.
//
// Nothing in here decides what is permitted but the one table of system calls: which directories is for
// the caller to say.

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
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// ---- Landlock -------------------------------------------------------------------------------

// Younger than Debian 12's headers; the kernel takes a longer struct whose end is zero.
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

// Every right that a kernel of that version knows.
static uint64_t rights(int version) {
    uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    if (version >= 2) all |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) all |= ACCESS_FS_TRUNCATE;
    if (version >= 5) all |= ACCESS_FS_IOCTL_DEV;
    return all;
}

int ck_landlock_ruleset(int version, int reads_anything, int keeps_abstract_sockets) {
    struct ruleset ruleset = {.handled_access_fs = rights(version)};
    if (reads_anything) ruleset.handled_access_fs &= ~(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
    if (version >= 4) ruleset.handled_access_net = ACCESS_NET_TCP;
    if (version >= 6) ruleset.scoped = SCOPE_SIGNAL | (keeps_abstract_sockets ? 0 : SCOPE_ABSTRACT_UNIX_SOCKET);
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

// All that a broker needs once it serves, the most frequent first. What is missing answers EPERM: no execution,
// no child, no tracing or signal to another process, no mount, namespace, module, key ring, ring of requests, no
// other identity or capability, no file made but by open, none renamed, none linked, no owner or mode changed.
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
    // Memory and the C library.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_futex, SYS_getrandom, SYS_clock_gettime, SYS_restart_syscall,
    SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack, SYS_sched_yield, SYS_sysinfo, SYS_uname,
    // Who and what it is.
    SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getcwd, SYS_capget,
    // Files: walks, the policy, the log and its rotation, the socket's own at the end. No inotify_add_watch: all
    // watches are set by then, and can only be given up.
    SYS_statx, SYS_lseek, SYS_getdents64, SYS_readlinkat, SYS_dup, SYS_flock, SYS_fsync, SYS_ftruncate,
    SYS_unlinkat, SYS_inotify_rm_watch,
#ifdef SYS_unlink
    SYS_unlink,
#endif
#ifdef SYS_readlink
    SYS_readlink,
#endif
    // Sockets that exist; and the service manager's, to which each message is its own socket (see below).
    SYS_sendto, SYS_recvfrom, SYS_setsockopt, SYS_shutdown,
    // The daemon's own lines.
    SYS_pwritev2,
    // The end, the C library's own abort (writev, tgkill) among it.
    SYS_writev, SYS_tgkill, SYS_exit, SYS_exit_group,
};

// And some only with an argument that keeps them harmless: `argument` has to be just `value`, or, with `mask`, has
// to have none of its bits. Of several lines about a call one has to fit.
static const struct {
    uint32_t call;
    uint32_t argument, value, mask;
} checked[] = {
    // No file is made set-id.
    {SYS_openat, 3, 0, 06000},
    // No F_NOTIFY, which is a watch on a directory; no locks, no signals to others.
    {SYS_fcntl, 1, F_DUPFD_CLOEXEC, 0},
    {SYS_fcntl, 1, F_GETFD, 0},
    {SYS_fcntl, 1, F_GETFL, 0},
    {SYS_mmap, 2, 0, PROT_EXEC},
    {SYS_mprotect, 2, 0, PROT_EXEC},
    {SYS_ioctl, 1, SIOCOUTQ, 0},
    {SYS_socket, 0, AF_UNIX, 0},
};

int ck_seccomp_restrict(void) {
#ifndef ARCHITECTURE
    return -ENOSYS;
#else
    enum { checks = sizeof checked / sizeof *checked, calls = sizeof permitted / sizeof *permitted };
    struct sock_filter program[3 + 5 * checks + 1 + 2 * calls + 1];
    const struct sock_filter number = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    size_t length = 0;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_filter deny = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program[length++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    program[length++] = deny;
    // The kernel runs the program only for calls with checks, as it remembers which calls pass in any case.
    for (size_t i = 0; i < checks; i++) {
        // The low half: the arguments that are looked at are of 32 bits to the kernel.
        uint32_t offset = offsetof(struct seccomp_data, args) + checked[i].argument * sizeof(uint64_t);
        program[length++] = number;
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, checked[i].call, 0, 3);
        program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
        program[length++] = checked[i].mask
                                ? (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, checked[i].mask, 1, 0)
                                : (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, checked[i].value, 0, 1);
        program[length++] = allow;
    }
    program[length++] = number;
    for (size_t i = 0; i < calls; i++) {
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, permitted[i], 0, 1);
        program[length++] = allow;
    }
    program[length++] = deny;
    struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
    return outcome(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0));
#endif
}

// ---- capabilities ---------------------------------------------------------------------------

int ck_keep_capabilities(uint64_t capabilities) {
    // What a service manager made ambient would be had by a program that is executed.
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
    // A service manager's filter may not let the call pass. Where there is nothing to give up but what could be
    // inherited by a program, of which there is none, that is as good.
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
    // It never outlives the one it works for, whatever becomes of that one.
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != parent) _exit(0);
    // Nothing is open in it but its end of the pair, as descriptor 3, and nothing to print to: also after an
    // execution.
    int null = open("/dev/null", O_RDWR);
    for (int stream = 0; stream < 3 && null >= 0; stream++) dup2(null, stream);
    if (dup2(pair[1], 3) < 0 || fcntl(3, F_SETFD, 0) < 0) _exit(1);
    if (syscall(SYS_close_range, 4, ~0U, 0) < 0) {
        // Before Linux 5.9.
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0) _exit(1);
        for (rlim_t descriptor = 4; descriptor < limit.rlim_cur; descriptor++) close((int)descriptor);
    }
    *sockets = 3;
    return 0;
}

int ck_execute_again(const char *argument) {
    char *const arguments[] = {(char *)"keybrokerd", (char *)argument, NULL}, *const environment[] = {NULL};
    return outcome(execve("/proc/self/exe", arguments, environment));
}

int ck_name_process(const char *name) { return outcome(prctl(PR_SET_NAME, name, 0, 0, 0)); }
