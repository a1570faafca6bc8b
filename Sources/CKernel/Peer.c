// Who is at the other end of a connection, and operations on processes through a pidfd.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <poll.h>
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

int ck_is_running(int pidfd) {
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    int result;
    do result = poll(&wait, 1, 0);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : result == 0;
}
