// Another program in the place of this one: its files in memory, its descriptors and its arguments.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
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
