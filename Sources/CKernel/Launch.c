// Another program in the place of this one: its files in memory, its descriptors and its arguments.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

// Linux 6.3; absent from the headers of Debian 12.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int ck_memory_file(const char *name) {
    int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (file < 0 && errno == EINVAL) file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return -errno;
    if (fchmod(file, S_IRUSR) < 0) {
        int error = errno;
        close(file);
        return -error;
    }
    return file;
}

long ck_write_unsignalled(int file, const void *bytes, size_t count, long offset) {
    sigset_t excess, pending, before;
    sigemptyset(&excess);
    sigaddset(&excess, SIGXFSZ);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &excess, &before);
    long result = pwrite(file, bytes, count, offset);
    int error = errno;
    // One that was pending before is not from here.
    if (result < 0 && error == EFBIG && !sigismember(&pending, SIGXFSZ)) {
        while (sigtimedwait(&excess, NULL, &(struct timespec){0, 0}) < 0 && errno == EINTR) {}
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result < 0 ? -error : result;
}

int ck_seal(int file) {
    return outcome(fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
}

int ck_survives_execution(int descriptor) {
    int flags = fcntl(descriptor, F_GETFD);
    if (flags < 0) return errno == EBADF ? 0 : -errno;
    return !(flags & FD_CLOEXEC);
}

int ck_pass_on(int descriptors[], const int numbers[], size_t count) {
    for (size_t next = 0; next < count; next++) {
        int number = numbers[next];
        // One that still waits for its turn may have this number now: it moves to another.
        for (size_t later = next + 1; later < count; later++) {
            if (descriptors[later] != number) continue;
            int moved = fcntl(number, F_DUPFD_CLOEXEC, 3);
            if (moved < 0) return -errno;
            descriptors[later] = moved;
        }
        int result = descriptors[next] == number ? fcntl(number, F_SETFD, 0) : dup2(descriptors[next], number);
        if (result < 0) return -errno;
    }
    return 0;
}

int ck_execute(char *const arguments[]) {
    execvp(arguments[0], arguments);
    return -errno;
}

int ck_forbid_tracing(void) { return outcome(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)); }
