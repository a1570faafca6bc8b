// A server as its clients see it: how to connect, how to ask for a key, and what a reply must be.
//
// kb   the protocol of keybroker-protocol(7) over SOCK_SEQPACKET: keybrokerd and the floor
// s6   the protocol of s6-fdholderd, byte for byte what libs6 2.11 sends for s6_fdholder_retrieve
// tcp  the packets of kb with a newline at the end, and the bytes of the key instead of a descriptor
//
// Must never count a reply that is no grant, or one whose descriptor did not come.

#pragma once
#include "measuring.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum protocol { KB, S6, TCP };
enum { KEY_ROOM = 8192 };
enum outcome { GRANTED, NOTHING, BUSY, ENDED };

struct target {
    enum protocol protocol;
    struct sockaddr_un path;
    struct sockaddr_in port;
    bool reads_key;  // the client also reads the key, as a client of TCP must
    unsigned pause;  // what the last busy reply named, in milliseconds
};

static inline struct target target_named(const char *protocol, const char *address) {
    struct target target = {.path = {.sun_family = AF_UNIX}, .port = {.sin_family = AF_INET}};
    if (!strcmp(protocol, "kb")) target.protocol = KB;
    else if (!strcmp(protocol, "s6")) target.protocol = S6;
    else if (!strcmp(protocol, "tcp")) target.protocol = TCP;
    else fail("no such protocol: %s", protocol);
    if (target.protocol == TCP) {
        target.port.sin_port = htons((uint16_t)atoi(address));
        target.port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    } else {
        if (strlen(address) >= sizeof target.path.sun_path) fail("too long: %s", address);
        strcpy(target.path.sun_path, address);
    }
    return target;
}

// Connects, and waits for it. Returns a socket, or -1 with errno.
static inline int dial(const struct target *target) {
    int type = (target->protocol == KB ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, result;
    if (target->protocol == TCP) {
        int one = 1;
        struct linger reset = {.l_onoff = 1};
        int fd = socket(AF_INET, type, 0);
        if (fd < 0) return -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        // Without it the ports of closed connections are used up within seconds, and the search for a free one is what
        // would be measured. It is cheaper than an ordinary close.
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        do result = connect(fd, (const struct sockaddr *)&target->port, sizeof target->port);
        while (result < 0 && errno == EINTR);
        if (result == 0) return fd;
        close(fd);
        return -1;
    }
    int fd = socket(AF_UNIX, type, 0);
    if (fd < 0) return -1;
    do result = connect(fd, (const struct sockaddr *)&target->path, sizeof target->path);
    while (result < 0 && errno == EINTR);
    if (result == 0) return fd;
    int code = errno;
    close(fd);
    errno = code;
    return -1;
}

// Asks for the key of that number, with this verb of the broker's (G or W). False with errno if it cannot be sent.
static inline bool ask(int fd, const struct target *target, char verb, unsigned key) {
    char packet[80];
    int length;
    if (target->protocol == S6) {
        int name = snprintf(packet + 9, sizeof packet - 9, "k%u", key);
        memcpy(packet, "\0\0\0\0\0\0R\0", 8);
        packet[3] = (char)(name + 4);
        packet[8] = (char)name;
        length = 9 + name + 1;
    } else {
        length = snprintf(packet, sizeof packet, target->protocol == TCP ? "1%ck%u\n" : "1%ck%u", verb, key);
    }
    return send(fd, packet, (size_t)length, MSG_NOSIGNAL) == length;
}

// Takes the reply of a TCP server: "1K NUMBER LENGTH\n" and the key.
static inline enum outcome take_stream(int fd, int flags) {
    char room[KEY_ROOM + 64], *end = NULL;
    size_t length = 0, whole = 0;
    while (length == 0 || length < whole || !end) {
        ssize_t more = recv(fd, room + length, sizeof room - length, length ? 0 : flags);
        if (more < 0 && length == 0 && errno == EAGAIN) return NOTHING;
        if (more <= 0) return ENDED;
        length += (size_t)more;
        if (!end && (end = memchr(room, '\n', length))) {
            unsigned long number, size;
            if (sscanf(room, "1K%lu %lu", &number, &size) != 2 || size == 0 || size > KEY_ROOM) fail("no grant over TCP");
            whole = (size_t)(end - room) + 1 + size;
        }
    }
    return GRANTED;
}

// Takes a reply. The flags are those of recvmsg: MSG_DONTWAIT or 0.
static inline enum outcome take(int fd, struct target *target, int flags) {
    if (target->protocol == TCP) return take_stream(fd, flags);
    char text[256];
    union { struct cmsghdr header; char room[CMSG_SPACE(4 * sizeof(int))]; } control;
    struct iovec part = {text, sizeof text - 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t length;
    do length = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    while (length < 0 && errno == EINTR);
    if (length < 0 && errno == EAGAIN) return NOTHING;
    if (length <= 0) return ENDED;
    int key = -1;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) {
        if (header->cmsg_len != CMSG_LEN(sizeof key)) fail("more than one descriptor came");
        memcpy(&key, CMSG_DATA(header), sizeof key);
    }
    text[length] = 0;
    if (target->protocol == KB && text[1] == 'B') {
        if (sscanf(text, "1B%*u %u", &target->pause) != 1) target->pause = 250;
        return BUSY;
    }
    bool granted = target->protocol == S6 ? length == 7 && text[6] == 0 : text[0] == '1' && text[1] == 'K';
    if (!granted || key < 0) fail("no grant: %.60s, descriptor %d", text, key);
    if (target->reads_key) {
        char bytes[KEY_ROOM];
        if (pread(key, bytes, sizeof bytes, 0) <= 0) fail("the key cannot be read");
    }
    close(key);
    return GRANTED;
}
