#define _GNU_SOURCE
#include "CKernel.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

// Younger than Debian 12's headers.
#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

_Static_assert(CAP_DAC_READ_SEARCH == ck_cap_dac_read_search, "the header names the capability by number");
_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == ck_longest_socket_path + 1, "sun_path");
_Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "ids are 32 bits");

static int outcome(long result) { return result < 0 ? -errno : (int)result; }

// ---- errors ---------------------------------------------------------------------------------

const char *ck_error_name(int error) { return strerrorname_np(error); }
const char *ck_error_text(int error) { return strerrordesc_np(error); }

// ---- Unix sockets ---------------------------------------------------------------------------

int ck_seqpacket_socket(void) {
    return outcome(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static int address_of(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    if (length == 0) return -EINVAL;
    if (length > ck_longest_socket_path) return -ENAMETOOLONG;
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return 0;
}

int ck_bind(int socket, const char *path) {
    struct sockaddr_un address;
    int result = address_of(path, &address);
    return result < 0 ? result : outcome(bind(socket, (struct sockaddr *)&address, sizeof address));
}

int ck_connect(int socket, const char *path) {
    struct sockaddr_un address;
    int result = address_of(path, &address);
    return result < 0 ? result : outcome(connect(socket, (struct sockaddr *)&address, sizeof address));
}

int ck_accept(int socket) {
    return outcome(accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int ck_is_seqpacket_listener(int descriptor) {
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &value, &size) < 0 || value != AF_UNIX) return 0;
    size = sizeof value;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &value, &size) < 0 || value != SOCK_SEQPACKET) return 0;
    size = sizeof value;
    return getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value == 1;
}

int ck_refuse_descriptors(int socket) {
    int off = 0;
    return outcome(setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off));
}

int ck_unread_by_peer(int socket) {
    int unread = 0;
    return ioctl(socket, SIOCOUTQ, &unread) < 0 ? -errno : unread;
}

enum { most_sent = 2, most_received = 4 };

int ck_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count) {
    if (descriptor_count > most_sent) return -EINVAL;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(most_sent * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    if (descriptor_count > 0) {
        message.msg_control = control.room;
        message.msg_controllen = CMSG_SPACE(descriptor_count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptor_count * sizeof(int));
        memcpy(CMSG_DATA(header), descriptors, descriptor_count * sizeof(int));
    }
    long result;
    do result = sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (result < 0 && errno == EINTR);
    return outcome(result);
}

int ck_datagram_socket(void) { return outcome(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)); }

int ck_send_to(int socket, const char *path, const void *bytes, size_t count) {
    struct sockaddr_un address;
    int result = address_of(path, &address);
    if (result < 0) return result;
    long sent;
    do sent = sendto(socket, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address, sizeof address);
    while (sent < 0 && errno == EINTR);
    return outcome(sent);
}

int ck_receive(int socket, void *bytes, size_t room, int *descriptors, size_t descriptor_room,
               struct ck_received *received) {
    memset(received, 0, sizeof *received);
    if (descriptor_room > most_received) return -EINVAL;
    struct iovec part = {.iov_base = bytes, .iov_len = room};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(most_received * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } control;
    memset(&control, 0, sizeof control);
    if (descriptor_room > 0) {
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
    }
    long result;
    // MSG_TRUNC makes the result the length that was sent, so that a cut packet shows.
    do result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;

    // Room for one int holds two descriptors on 64-bit machines, and a peer may send several
    // headers: whatever came is ours to keep or to close, or it would stay open for good.
    if (descriptor_room > 0) {
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
            if (header->cmsg_level != SOL_SOCKET) continue;
            if (header->cmsg_type == SCM_CREDENTIALS) {
                struct ucred sender;
                memcpy(&sender, CMSG_DATA(header), sizeof sender);
                received->sender = sender.pid;
            }
            if (header->cmsg_type != SCM_RIGHTS) continue;
            size_t came = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < came; i++) {
                int descriptor;
                memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
                if (received->descriptor_count < descriptor_room) {
                    descriptors[received->descriptor_count++] = descriptor;
                } else {
                    close(descriptor);
                    received->excess_descriptors++;
                }
            }
        }
    }
    received->length = (size_t)result;
    received->bytes_cut = (message.msg_flags & MSG_TRUNC) != 0;
    received->descriptors_cut = (message.msg_flags & MSG_CTRUNC) != 0;
    return 0;
}

int ck_want_senders(int socket) {
    int on = 1;
    return outcome(setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
}

// ---- who the peer is ------------------------------------------------------------------------

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

// ---- what is ready --------------------------------------------------------------------------

// The mirror is the kernel's own layout, which is packed on x86-64 and not elsewhere.
_Static_assert(sizeof(struct ck_event) == sizeof(struct epoll_event), "ck_event");
_Static_assert(offsetof(struct ck_event, token) == offsetof(struct epoll_event, data), "ck_event");
_Static_assert(ck_readable == EPOLLIN && ck_writable == EPOLLOUT && ck_broken == EPOLLERR, "events");
_Static_assert(ck_hung_up == EPOLLHUP && ck_peer_done == EPOLLRDHUP, "events");

int ck_epoll(void) { return outcome(epoll_create1(EPOLL_CLOEXEC)); }

int ck_epoll_set(int epoll, int is_known, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return outcome(epoll_ctl(epoll, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event));
}

int ck_epoll_remove(int epoll, int descriptor) { return outcome(epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, NULL)); }

int ck_epoll_wait(int epoll, struct ck_event *events, int room, int milliseconds) {
    return outcome(epoll_wait(epoll, (struct epoll_event *)events, room, milliseconds));
}

// ---- files ----------------------------------------------------------------------------------

int ck_open_handle(int directory, const char *name) {
    return outcome(openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
}

int ck_open_target(const char *path) { return outcome(open(path, O_PATH | O_CLOEXEC)); }

int ck_open_for_reading(int directory, const char *name) {
    return outcome(openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

int ck_open_for_appending(const char *path, uint32_t mode) {
    return outcome(open(path, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode));
}

int ck_open_directory(const char *path) {
    return outcome(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
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

// ---- the process ----------------------------------------------------------------------------

static int capability_call(long call, struct __user_cap_data_struct data[2]) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    return outcome(syscall(call, &header, data));
}

int ck_effective_capabilities(uint64_t *set) {
    struct __user_cap_data_struct data[2];
    int result = capability_call(SYS_capget, data);
    if (result < 0) return result;
    *set = (uint64_t)data[1].effective << 32 | data[0].effective;
    return 0;
}

int ck_become(uint32_t uid, uint32_t gid, uint64_t capabilities) {
    // The bounding set first, while CAP_SETPCAP is still there. EINVAL ends the list that this kernel knows.
    for (unsigned long capability = 0; capability < 64; capability++) {
        if (capabilities >> capability & 1) continue;
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) {
            if (errno == EINVAL) break;
            return -errno;
        }
    }
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -errno;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return -errno;
    if (setgroups(0, NULL) < 0) return -errno;
    if (setresgid(gid, gid, gid) < 0) return -errno;
    if (setresuid(uid, uid, uid) < 0) return -errno;
    if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0) return -errno;
    struct __user_cap_data_struct data[2] = {
        {.effective = (uint32_t)capabilities, .permitted = (uint32_t)capabilities, .inheritable = 0},
        {.effective = capabilities >> 32, .permitted = capabilities >> 32, .inheritable = 0},
    };
    return capability_call(SYS_capset, data);
}

int ck_harden(void) {
    struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) < 0) return -errno;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) return -errno;
    return outcome(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

int ck_raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    if (limit.rlim_cur != limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
    }
    return limit.rlim_cur > INT_MAX ? INT_MAX : (int)limit.rlim_cur;
}

int ck_adopt(int descriptor) {
    if (fcntl(descriptor, F_SETFD, FD_CLOEXEC) < 0) return -errno;
    int flags = fcntl(descriptor, F_GETFL);
    if (flags < 0) return -errno;
    return outcome(fcntl(descriptor, F_SETFL, flags | O_NONBLOCK));
}

int ck_eventfd(void) { return outcome(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int ck_notify(const char *address, const void *bytes, size_t count) {
    struct sockaddr_un manager;
    int result = address_of(address, &manager);
    if (result < 0) return result;
    if (address[0] == '@') manager.sun_path[0] = 0;
    socklen_t size = offsetof(struct sockaddr_un, sun_path) + strlen(address);
    int socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return -errno;
    long sent = sendto(socket_, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&manager, size);
    result = outcome(sent);
    close(socket_);
    return result;
}

const char *ck_environment(const char *name) { return secure_getenv(name); }

int ck_keep_private(void *bytes, size_t count) {
    if (madvise(bytes, count, MADV_DONTDUMP) < 0) return -errno;
    return outcome(madvise(bytes, count, MADV_WIPEONFORK));
}
