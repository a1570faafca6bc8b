// Unix sockets: connections, packets with file descriptors, and datagrams.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/un.h>
#include <unistd.h>

// The headers of Debian 12 do not have this yet.
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) == ck_longest_socket_path + 1, "sun_path");

int ck_seqpacket_socket(void) {
    return outcome(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

int ck_stream_socket(void) {
    return outcome(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
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

int ck_connect_within(int socket, const char *path, int milliseconds) {
    struct timeval limit = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
    int flags = fcntl(socket, F_GETFL);
    if (flags < 0) return -errno;
    // The kernel rounds up, so a limit of 0, which would mean none, cannot come of this.
    if (milliseconds <= 0) limit.tv_usec = 1;
    if (setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0) return -errno;
    if (fcntl(socket, F_SETFL, flags & ~O_NONBLOCK) < 0) return -errno;
    int result = ck_connect(socket, path);
    if (fcntl(socket, F_SETFL, flags) < 0 && result >= 0) return -errno;
    return result;
}

int ck_accept(int socket) {
    return outcome(accept4(socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
}

int ck_accept_named(int socket, uint8_t *name, size_t room, size_t *length) {
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    *length = 0;
    int accepted = accept4(socket, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted < 0) return -errno;
    const size_t before = offsetof(struct sockaddr_un, sun_path);
    // The kernel says how long the name was, even if it had to cut it.
    if (size > sizeof address) size = sizeof address;
    if (size > before) {
        *length = size - before < room ? size - before : room;
        memcpy(name, address.sun_path, *length);
    }
    return accepted;
}

static int is_listener(int descriptor, int type) {
    int value = 0;
    socklen_t size = sizeof value;
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &value, &size) < 0 || value != AF_UNIX) return 0;
    size = sizeof value;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &value, &size) < 0 || value != type) return 0;
    size = sizeof value;
    return getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value == 1;
}

int ck_is_seqpacket_listener(int descriptor) { return is_listener(descriptor, SOCK_SEQPACKET); }
int ck_is_stream_listener(int descriptor) { return is_listener(descriptor, SOCK_STREAM); }

int ck_refuse_descriptors(int socket) {
    int off = 0;
    return outcome(setsockopt(socket, SOL_SOCKET, SO_PASSRIGHTS, &off, sizeof off));
}

int ck_unread_by_peer(int socket) {
    int unread = 0;
    return ioctl(socket, SIOCOUTQ, &unread) < 0 ? -errno : unread;
}

enum { most_sent = 2, few_received = 4, most_received = 253 };

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

int64_t ck_send_file(int socket, int file, int64_t offset, size_t count) {
    off_t from = offset;
    ssize_t sent;
    do sent = sendfile(socket, file, &from, count);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
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
    if (descriptor_room > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.room;
        // Who takes few has room for few: the kernel keeps the rest, and says so.
        size_t most = descriptor_room > few_received ? most_received : few_received;
        message.msg_controllen = CMSG_SPACE(most * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred));
    }
    long result;
    // With MSG_TRUNC the result is the length that was sent, which shows that a packet was cut.
    do result = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT | MSG_TRUNC);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;

    // Because of alignment, room for one int holds two descriptors on 64-bit machines, and a peer may send several
    // headers. Every descriptor that arrived must be kept or closed here, or it would stay open for ever.
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

int ck_look(int socket, void *bytes, size_t room, struct ck_received *received) {
    memset(received, 0, sizeof *received);
    struct iovec part = {.iov_base = bytes, .iov_len = room};
    union {
        struct cmsghdr align;
        // Room for the sender, and none for a descriptor.
        char room[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof control.room};
    long result;
    do result = recvmsg(socket, &message, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
    while (result < 0 && errno == EINTR);
    if (result < 0) return -errno;
    received->length = (size_t)result;
    received->bytes_cut = (message.msg_flags & MSG_TRUNC) != 0;
    received->descriptors_cut = (message.msg_flags & MSG_CTRUNC) != 0;
    return CMSG_FIRSTHDR(&message) != NULL;
}

int ck_drop_packet(int socket) {
    long result;
    do result = recv(socket, NULL, 0, MSG_DONTWAIT);
    while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

// Where the service manager listens. Returns the length of the address.
static int address_of_manager(const char *address, struct sockaddr_un *manager) {
    int result = address_of(address, manager);
    if (result < 0) return result;
    if (address[0] == '@') manager->sun_path[0] = 0;
    return (int)(offsetof(struct sockaddr_un, sun_path) + strlen(address));
}

int ck_notify_socket(const char *address) {
    struct sockaddr_un manager;
    int size = address_of_manager(address, &manager);
    if (size < 0) return size;
    int result = ck_datagram_socket();
    // If nobody listens yet, each message is sent to the address.
    if (result >= 0) (void)connect(result, (struct sockaddr *)&manager, (socklen_t)size);
    return result;
}

int ck_notify(int socket, const char *address, const void *bytes, size_t count, int waits) {
    // Who waits in poll(2) is woken each time that there is room. Who waits in sendto(2) is woken in turn, after all others
    // who do, and starts again if the room is taken by then: with thousands of them that takes half a minute.
    for (;;) {
        if (send(socket, bytes, count, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 0;
        if (errno == EINTR) continue;
        if (errno != EAGAIN) break;
        if (!waits) return -EAGAIN;
        struct pollfd room = {.fd = socket, .events = POLLOUT};
        if (poll(&room, 1, -1) < 0 && errno != EINTR) return -errno;
    }
    // It is not connected, or the service manager has a new socket.
    struct sockaddr_un manager;
    int size = address_of_manager(address, &manager);
    if (size < 0) return size;
    int flags = MSG_NOSIGNAL | (waits ? 0 : MSG_DONTWAIT);
    long sent;
    do sent = sendto(socket, bytes, count, flags, (struct sockaddr *)&manager, (socklen_t)size);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : 0;
}
