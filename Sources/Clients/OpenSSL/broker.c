// Asks the broker for a channel: verb C of keybroker-protocol(7).
//
// Must never wait longer than it is told, nor keep a descriptor that it did not ask for.

#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int64_t kb_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int kb_wait(int descriptor, int64_t deadline) {
    for (;;) {
        int64_t left = deadline - kb_now();
        struct pollfd one = {.fd = descriptor, .events = POLLIN};
        int ready = poll(&one, descriptor < 0 ? 0 : 1, left < 0 ? 0 : (int)left);
        if (ready > 0) return 1;
        if (ready < 0 && errno != EINTR) return 0;
        if (ready == 0 && left <= 0) return 0;
    }
}

// Anybody can listen in a directory that everybody may write to, and would see what is to be signed. The kernel shows each
// account that it cannot express here as its overflow uid.
static int is_broker(int descriptor, const char *path) {
    enum { overflow_uid = 65534 };
    struct ucred listener;
    socklen_t size = sizeof listener;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &listener, &size) == 0
        && (listener.uid == 0 || (listener.uid == geteuid() && listener.uid != overflow_uid)))
        return 1;
    kb_error("%s is not to be trusted: neither root nor this account listens there", path);
    return 0;
}

static int connected(const char *path, int64_t deadline) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        kb_error("the path of the broker's socket is too long: %s", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) {
        kb_error("socket: %s", strerror(errno));
        return -1;
    }
    // EAGAIN: the broker's queue is full. A broker that is being restarted is there again in a moment, too.
    while (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0) {
        int isBusy = errno == EAGAIN || errno == ECONNREFUSED || errno == ENOENT;
        if (errno == EINTR) continue;
        if (!isBusy || kb_now() >= deadline) {
            kb_error("no key broker at %s: %s; start keybrokerd, or name its socket with KEYBROKER_SOCKET", path,
                     strerror(errno));
            close(descriptor);
            return -1;
        }
        int64_t again = kb_now() + 20;
        kb_wait(-1, again < deadline ? again : deadline);
    }
    if (is_broker(descriptor, path)) return descriptor;
    close(descriptor);
    return -1;
}

// One packet with its descriptors, of which the first is kept. Returns its length; 0 at the end; -1 with errno.
static ssize_t receive(int connection, char *packet, size_t room, int *first) {
    struct iovec part = {.iov_base = packet, .iov_len = room};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(4 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length;
    do length = recvmsg(connection, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (length < 0 && errno == EINTR);
    *first = -1;
    if (length < 0) return length;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
            // The second one is the certificate, which the program has by itself.
            if (*first < 0) *first = descriptor;
            else close(descriptor);
        }
    }
    return length;
}

// The end of a text for the error queue: what the broker said after the decision number.
static void refused(const char *name, const char *reply, int verb) {
    const char *rest = strchr(reply, ' ');
    switch (verb) {
    case 'D':
        kb_error("the key broker does not permit signatures of '%s' to this program; decision %.*s; whoever may read "
                 "the audit log finds the reason", name, (int)strcspn(reply, " "), reply);
        break;
    case 'U': kb_error("the key '%s' cannot be used now:%s", name, rest ? rest : ""); break;
    default: kb_error("the key broker does not serve '%s' (%c%s)", name, verb, reply);
    }
}

int kb_ask_broker(const char *name, int64_t deadline) {
    const char *path = secure_getenv("KEYBROKER_SOCKET");
    if (path == NULL || *path == 0) path = "/run/keybroker/broker.sock";
    for (;;) {
        int connection = connected(path, deadline);
        if (connection < 0) return -1;
        char packet[4097];
        int length = snprintf(packet, sizeof packet, "1C%s", name), channel = -1;
        ssize_t received = -1;
        if (send(connection, packet, (size_t)length, MSG_NOSIGNAL) == length && kb_wait(connection, deadline))
            received = receive(connection, packet, sizeof packet - 1, &channel);
        close(connection);
        if (received < 2 || packet[0] != '1') {
            if (channel >= 0) close(channel);
            // It may have been stopped just now.
            if (kb_now() < deadline) {
                int64_t again = kb_now() + 20;
                kb_wait(-1, again < deadline ? again : deadline);
                continue;
            }
            kb_error("the key broker at %s did not answer in time", path);
            return -1;
        }
        packet[received] = 0;
        if (packet[1] == 'K' && channel >= 0) return channel;
        if (channel >= 0) close(channel);
        const char *rest = strchr(packet, ' ');
        if (packet[1] == 'B' && rest != NULL) {
            int64_t again = kb_now() + strtol(rest, NULL, 10);
            if (again < deadline) {
                kb_wait(-1, again);
                continue;
            }
        }
        refused(name, packet + 2, packet[1]);
        return -1;
    }
}
