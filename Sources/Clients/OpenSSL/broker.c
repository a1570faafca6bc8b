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

// A text for the error queue: there was no descriptor, or no memory.
static void short_of(const char *reason) {
    kb_error("%s: this process may have no more open files (raise RLIMIT_NOFILE, ulimit -n), or the system has none left",
             reason);
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
    // An empty path would be an address of the abstract namespace.
    if (*path == 0) {
        kb_error("connect: %s (EINVAL)", strerror(EINVAL));
        return -1;
    }
    if (strlen(path) >= sizeof address.sun_path) {
        kb_error("the path of the broker's socket is too long: %s", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    int descriptor = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) {
        char reason[128];
        int code = errno;
        snprintf(reason, sizeof reason, "socket: %s", strerror(code));
        if (code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM) short_of(reason);
        else kb_error("%s", reason);
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

// One packet with its descriptors, of which the first is kept. Returns its length; 0 at the end; -1 with errno. *flags says
// what was withheld.
static ssize_t receive(int connection, char *packet, size_t room, int *first, int *flags) {
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
    *flags = message.msg_flags;
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

// "5.0 seconds", as the other clients say it.
static void seconds(char *text, size_t room, long milliseconds) {
    long part = milliseconds % 1000;
    int digits = 3;
    for (; digits > 1 && part % 10 == 0; digits--) part /= 10;
    snprintf(text, room, "%ld.%0*ld seconds", milliseconds / 1000, digits, part);
}

// How long the broker says it is busy, in milliseconds: one at least, so that nobody asks without a pause, and an hour at
// most.
static long busy_time(const char *reply) {
    const char *rest = strchr(reply, ' ');
    long told = rest ? strtol(rest, NULL, 10) : 0, most = 3600000;
    return told < 1 ? 1 : told > most ? most : told;
}

// A text for the error queue: what the broker said. `reply` begins with the decision number.
static void refused(const char *name, const char *reply, int verb) {
    const char *rest = strchr(reply, ' ');
    int decision = (int)strcspn(reply, " ");
    char time[64];
    switch (verb) {
    case 'D':
        kb_error("the key broker does not permit signatures of '%s' to this program; decision %.*s; whoever may read "
                 "the audit log finds the reason", name, decision, reply);
        break;
    case 'U': kb_error("the key '%s' cannot be used now:%s", name, rest ? rest : ""); break;
    case 'B':
        seconds(time, sizeof time, busy_time(reply));
        kb_error("the broker is busy (decision %.*s): a limit was reached; ask again in %s", decision, reply, time);
        break;
    default: kb_error("the key broker does not serve '%s' (%c%s)", name, verb, reply);
    }
}

// What is shown to people has nothing in it that moves a cursor, and what was cut is no reply.
static int is_reply(const char *packet, ssize_t length, int flags) {
    for (ssize_t i = 0; i < length; i++)
        if (packet[i] < 0x20 || packet[i] > 0x7E) return 0;
    return length >= 2 && packet[0] == '1' && !(flags & MSG_TRUNC);
}

// Sends the request and receives the reply, as `receive` does. -1 if nothing came in time.
static ssize_t ask(int connection, const char *name, char *packet, size_t room, int *channel, int *flags,
                   int64_t deadline) {
    int length = snprintf(packet, room, "1C%s", name);
    *channel = -1;
    // A busy broker sends its reply and closes, without reading the request: EPIPE. The reply can be read nevertheless.
    if (send(connection, packet, (size_t)length, MSG_NOSIGNAL) < 0 && errno != EPIPE) return -1;
    return kb_wait(connection, deadline) ? receive(connection, packet, room - 1, channel, flags) : -1;
}

int kb_ask_broker(const char *name, int64_t deadline) {
    const char *path = secure_getenv("KEYBROKER_SOCKET");
    if (path == NULL) path = "/run/keybroker/broker.sock";
    for (;;) {
        int connection = connected(path, deadline);
        if (connection < 0) return -1;
        char packet[4097];
        int channel, flags = 0;
        ssize_t received = ask(connection, name, packet, sizeof packet, &channel, &flags, deadline);
        close(connection);
        // The grant is in the log, and the next one would be lost too.
        if (received > 0 && flags & MSG_CTRUNC) {
            if (channel >= 0) close(channel);
            short_of("the kernel withheld a descriptor, as it also does if a security module such as SELinux forbids the "
                     "transfer");
            return -1;
        }
        if (received <= 0) {
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
        int isReply = is_reply(packet, received, flags);
        packet[received] = 0;
        if (isReply && packet[1] == 'K' && channel >= 0) return channel;
        if (channel >= 0) close(channel);
        if (!isReply) {
            kb_error("what answered is not this broker, or of another version: the reply is malformed");
            return -1;
        }
        int64_t again = kb_now() + busy_time(packet + 2);
        if (packet[1] == 'B' && again < deadline) {
            kb_wait(-1, again);
            continue;
        }
        refused(name, packet + 2, packet[1]);
        return -1;
    }
}
