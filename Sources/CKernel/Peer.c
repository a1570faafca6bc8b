// Who is at the other end of a connection, and operations on processes through a pidfd.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

// The headers of Debian 12 do not have this yet.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

_Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "ids are 32 bits");

int ck_peer_credentials(int socket, struct ck_credentials *credentials) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -errno;
    if (size != sizeof peer) return -EPROTO;
    *credentials = (struct ck_credentials){.pid = peer.pid, .uid = peer.uid, .gid = peer.gid};
    return 0;
}

int ck_peer_groups(int socket, uint32_t *groups, uint32_t *count) {
    socklen_t size = *count * sizeof(uint32_t);
    int result = getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups, &size);
    *count = size / sizeof(uint32_t);
    return result < 0 ? -errno : (int)*count;
}

int ck_peer_pidfd(int socket) {
    int pidfd = -1;
    socklen_t size = sizeof pidfd;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) return -errno;
    return pidfd < 0 ? -ESRCH : pidfd;
}

int ck_open_process(int32_t pid) { return outcome(syscall(SYS_pidfd_open, pid, 0)); }

int ck_signal_process(int pidfd, int signal) {
    return outcome(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int ck_name_of_process(int32_t pid, char *name, size_t room) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int file = outcome(open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (file < 0) return file;
    int count = outcome(pread(file, name, room, 0));
    close(file);
    return count;
}

// struct pidfd_info as it was at first. A newer kernel fills as much as it is told that there is room for.
struct process_info {
    uint64_t mask, cgroup;
    uint32_t ids[11];
    int32_t exit_code;
};
_Static_assert(sizeof(struct process_info) == 64, "pidfd_info");
_Static_assert(_IOWR(0xFF, 11, struct process_info) == ck_process_info, "PIDFD_GET_INFO");

int ck_cgroup_of_process(int pidfd, uint64_t *cgroup) {
    enum { has_cgroup = 1 << 2 };
    struct process_info info = {.mask = has_cgroup};
    int result = outcome(ioctl(pidfd, ck_process_info, &info));
    if (result < 0) return result;
    if (!(info.mask & has_cgroup)) return -ENODATA;
    *cgroup = info.cgroup;
    return 0;
}

int ck_is_running(int pidfd) {
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    int result;
    do result = poll(&wait, 1, 0);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result == 0;
}
