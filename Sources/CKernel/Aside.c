// A process beside the one that becomes another program.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int ck_fork_aside(void) {
    sigset_t child, pending;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigpending(&pending);
    pid_t first = fork();
    if (first < 0) return -errno;
    if (first == 0) {
        pid_t second = fork();
        if (second != 0) _exit(second < 0 ? errno : 0);
        setsid();
        return 1;
    }
    int status = 0;
    // ECHILD: this process ignores SIGCHLD, and waitpid(2) returned when the child had ended.
    while (waitpid(first, &status, 0) < 0 && errno == EINTR) {}
    // If SIGCHLD is blocked, the end of the child has made it pending.
    if (!sigismember(&pending, SIGCHLD)) sigtimedwait(&child, NULL, &(struct timespec){0, 0});
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}

int ck_leave_streams(void) {
    int null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (null < 0) return -errno;
    // One that was closed is open here, close-on-exec: a command's next file would become its standard error.
    int result = dup2(null, 0) < 0 || dup2(2, 1) < 0 || fcntl(2, F_SETFD, 0) < 0 ? -errno : 0;
    if (null > 2) close(null);
    return result;
}

int ck_start_shell(const char *command, const sigset_t *mask) {
    posix_spawnattr_t attributes;
    int error = posix_spawnattr_init(&attributes);
    if (error != 0) return -error;
    posix_spawnattr_setsigmask(&attributes, mask);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)command, NULL};
    pid_t child;
    error = posix_spawn(&child, "/bin/sh", NULL, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    return error != 0 ? -error : child;
}

int ck_signal_number(const char *name) {
    if (strncmp(name, "SIG", 3) == 0) name += 3;
    for (int number = 1; number < NSIG; number++) {
        const char *known = sigabbrev_np(number);
        if (known != NULL && strcmp(known, name) == 0) return number;
    }
    return 0;
}

const char *ck_signal_name(int number) { return sigabbrev_np(number); }

int ck_open_again(int descriptor) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return outcome(open(path, O_RDONLY | O_CLOEXEC));
}

int ck_forbid_seals(int file) { return outcome(fcntl(file, F_ADD_SEALS, F_SEAL_SEAL)); }
