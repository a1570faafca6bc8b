// Opening files, and a write that does not block.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int ck_open_handle(int directory, const char *name) {
    return outcome(openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000U
#endif

int ck_mount_number(int handle, int is_unique, uint64_t *number) {
    struct statx status;
    unsigned mask = is_unique ? STATX_MNT_ID_UNIQUE : STATX_MNT_ID;
    if (statx(handle, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, &status) < 0) return -errno;
    *number = status.stx_mnt_id;
    return status.stx_mask & mask ? 0 : -ENODATA;
}

int ck_open_target(const char *path) { return outcome(open(path, O_PATH | O_CLOEXEC)); }

int ck_open_for_reading(int directory, const char *name) {
    return outcome(openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

int ck_open_for_appending(const char *path, uint32_t mode) {
    int flags = O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int result = outcome(open(path, flags));
    // With O_CREAT most kernels lock the directory, for which others can make this wait, though the file is there.
    return result == -ENOENT ? outcome(open(path, flags | O_CREAT, mode)) : result;
}

int ck_open_unnamed(const char *directory, uint32_t mode) {
    return outcome(open(directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, mode));
}

int ck_open_directory(int directory, const char *name) {
    return outcome(openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

int ck_open_stream_again(int descriptor) {
    struct stat status;
    if (fstat(descriptor, &status) < 0) return -errno;
    if (!S_ISFIFO(status.st_mode) && !isatty(descriptor)) return -EINVAL;
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    return outcome(open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

int ck_open_closed_streams(void) {
    for (int stream = 0; stream < 3; stream++) {
        if (fcntl(stream, F_GETFD) >= 0 || errno != EBADF) continue;
        // open(2) returns the lowest free number, which is this stream.
        if (open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC) < 0) return -errno;
    }
    return 0;
}

int ck_write_at_once(int descriptor, const void *bytes, size_t count) {
    struct stat status;
    if (fstat(descriptor, &status) < 0) return -errno;
    if (S_ISSOCK(status.st_mode)) return ck_send(descriptor, bytes, count, NULL, 0);
    if (S_ISREG(status.st_mode)) return outcome(write(descriptor, bytes, count));
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    long written = pwritev2(descriptor, &part, 1, -1, RWF_NOWAIT);
    if (written >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) return outcome(written);
    struct pollfd room = {.fd = descriptor, .events = POLLOUT};
    int ready = poll(&room, 1, 0);
    if (ready < 0) return -errno;
    if (!(room.revents & POLLOUT)) return -EAGAIN;
    return outcome(write(descriptor, bytes, count));
}

int ck_copy_in_memory(int file, size_t size) {
    int copy = memfd_create("keybrokerd", MFD_CLOEXEC);
    if (copy < 0) return -errno;
    off_t from = 0;
    while ((size_t)from < size) {
        ssize_t count = sendfile(copy, file, &from, size - (size_t)from);
        if (count < 0 && errno == EINTR) continue;
        if (count > 0) continue;
        // The file has become shorter if there is nothing more.
        int error = count < 0 ? errno : ENODATA;
        close(copy);
        return -error;
    }
    return copy;
}
