// What keybroker-signer needs of the kernel: its own table of system calls, locked memory, and a child process of its own.
//
// The caller decides what is done. Only the table of system calls is decided here.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

// The system calls that the signer needs while it serves, the most frequent first. All others fail with EPERM. It can open,
// create and execute nothing, make no socket, process or thread, and send no signal to others. Descriptors come to it only
// as messages.
static const uint32_t signing[] = {
    SYS_recvmsg, SYS_sendmsg,
#ifdef SYS_epoll_wait
    SYS_epoll_wait,
#endif
    SYS_epoll_pwait, SYS_epoll_ctl, SYS_close,
    // The thread that closes what clients sent (Closer). A client whose end is closed has to notice before.
    SYS_read, SYS_write, SYS_shutdown, SYS_setsockopt, SYS_recvfrom, SYS_timer_settime,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_ppoll,
    // Is what a client sent an end of a pair? And the file of a key.
    SYS_getsockopt, SYS_fstat, SYS_newfstatat, SYS_pread64,
    // Memory, the C library, and libcrypto's random numbers.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_mlock, SYS_futex, SYS_getrandom, SYS_clock_gettime, SYS_getpid,
    // A lock of Swift has the number of the thread that holds it.
    SYS_gettid,
    SYS_restart_syscall, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    // The end of the process.
    SYS_exit_group,
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    // `make sanitize` alone.
    SYS_sigaltstack, SYS_sched_yield, SYS_tgkill, SYS_rt_sigaction, SYS_nanosleep, SYS_clock_nanosleep,
#endif
#endif
};

int ck_seccomp_signing(void) {
#ifndef ARCHITECTURE
    return -ENOSYS;
#else
    enum { calls = sizeof signing / sizeof *signing };
    struct sock_filter program[4 + 2 * calls + 6];
    size_t length = 0;
    const struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_filter deny = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0);
    program[length++] = deny;
    program[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < calls; i++) {
        program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, signing[i], 0, 1);
        program[length++] = allow;
    }
    // Memory may be mapped and changed, but never to be executed. Both calls have the protection as the third argument.
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 1, 0);
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3);
    program[length++] = (struct sock_filter)BPF_STMT(
        BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 2 * sizeof(uint64_t));
    program[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 1, 0);
    program[length++] = allow;
    program[length++] = deny;
    struct sock_fprog filter = {.len = (unsigned short)length, .filter = program};
    // For all threads. A number above zero is that of a thread that has another filter: then none has this one.
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter);
    return result > 0 ? -EPERM : outcome((int)result);
#endif
}

_Noreturn void ck_wait_unconfined(void) {
    sem_t never;
    sem_init(&never, 0, 0);
    for (;;) sem_wait(&never);
}

int ck_raise_lock_limit(void) {
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    return outcome(setrlimit(RLIMIT_MEMLOCK, &all));
}

int ck_lock_all_memory(void) { return outcome(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)); }

int ck_forbid_making(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_NPROC, &none) < 0) return -errno;
    return outcome(setrlimit(RLIMIT_FSIZE, &none));
}

int ck_fork(void) { return outcome(fork()); }

int ck_wait(int child) {
    int status;
    pid_t ended;
    do ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    if (ended < 0) return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int ck_execute_program(const char *path, const char *first, const char *second) {
    char *const arguments[] = {(char *)path, *first ? (char *)first : NULL, *second ? (char *)second : NULL, NULL};
    char *const environment[] = {NULL};
    // What a service manager gave the parent for all that it executes. A filter of system calls may forbid the program to
    // give it up itself.
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return outcome(execve(path, arguments, environment));
}

int ck_socket_pair(int pair[2]) {
    return outcome(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
}

static int option(int socket, int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(socket, SOL_SOCKET, name, &value, &size) < 0 ? -1 : value;
}

int ck_is_seqpacket_end(int descriptor) {
    return option(descriptor, SO_DOMAIN) == AF_UNIX && option(descriptor, SO_TYPE) == SOCK_SEQPACKET
           && option(descriptor, SO_ACCEPTCONN) == 0;
}
