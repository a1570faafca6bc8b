// Channels to the signer. A thread that signs takes one that nobody uses, or makes another end of one, so that no two
// threads wait for each other.
//
// Must never take one request's reply for another's, use a channel that another process uses too, or hold the lock while
// it waits.

#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    most_idle = 32,
    // More packets than the kernel keeps for one end.
    most_unread = 1024,
};

struct channel {
    int descriptor;
    // Which file it was: a daemon closes descriptors that it does not know, and others then get their numbers.
    dev_t device;
    ino_t inode;
    uint32_t sequence;
    // The process that made it. A child has it too, and must not read from it.
    pid_t owner;
};

struct kb_channels {
    char name[kb_longest_name + 1];
    struct kb_hello hello;
    // Nothing is signed on this one: further ends are made with it, in child processes too. So nobody waits for what is said
    // on it, and whoever uses it may take that. Its descriptor is -1 if it has ended.
    struct channel base;
    size_t idle_count;
    struct channel idle[most_idle];
};

// One lock for all: it is held for a few instructions. So it can be taken over a fork(2).
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

int kb_channels_prepare(void) {
    static int isPrepared;
    pthread_mutex_lock(&lock);
    int failed = isPrepared ? 0 : pthread_atfork(before_fork, after_fork, after_fork);
    isPrepared = !failed;
    pthread_mutex_unlock(&lock);
    return !failed;
}

static int is_same_file(const struct channel *channel) {
    struct stat status;
    return fstat(channel->descriptor, &status) == 0 && status.st_dev == channel->device
           && status.st_ino == channel->inode;
}

static void drop(const struct channel *channel) {
    if (is_same_file(channel)) close(channel->descriptor);
}

static int adopt(int descriptor, struct channel *channel) {
    struct stat status;
    if (fstat(descriptor, &status) < 0) {
        close(descriptor);
        return 0;
    }
    *channel = (struct channel){
        .descriptor = descriptor, .device = status.st_dev, .inode = status.st_ino, .owner = getpid()};
    return 1;
}

static uint32_t number(const unsigned char *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static ssize_t receive(const struct channel *channel, unsigned char *packet, size_t room, int64_t deadline) {
    for (;;) {
        ssize_t length = recv(channel->descriptor, packet, room, MSG_DONTWAIT);
        if (length >= 0) return length;
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return 0;
        if (!kb_wait(channel->descriptor, deadline)) return -1;
    }
}

// The first packet on a channel.
static int greet(const struct channel *channel, struct kb_hello *hello, int64_t deadline) {
    unsigned char packet[kb_longest_reply];
    ssize_t length = receive(channel, packet, sizeof packet, deadline);
    if (length < 4 || packet[0] != '1' || packet[1] != 'H') return 0;
    size_t count = (size_t)packet[2] << 8 | packet[3], before = 4 + 2 * count;
    if (count > kb_most_schemes || (size_t)length <= before) return 0;
    hello->scheme_count = count;
    for (size_t i = 0; i < count; i++)
        hello->schemes[i] = (uint16_t)(packet[4 + 2 * i] << 8 | packet[5 + 2 * i]);
    hello->length = (size_t)length - before;
    memcpy(hello->public_key, packet + before, hello->length);
    return 1;
}

static int is_same_key(const struct kb_hello *one, const struct kb_hello *other) {
    return one->length == other->length && memcmp(one->public_key, other->public_key, one->length) == 0;
}

// Takes what was said on the base: refusals of further ends. Unread, they would fill its queue. recv(2) closes a descriptor
// that comes along. Returns 0 if the channel has ended.
static int drain(int base) {
    char scrap;
    for (int taken = 0; taken < most_unread; taken++) {
        ssize_t length = recv(base, &scrap, sizeof scrap, MSG_DONTWAIT);
        if (length == 0) return 0;
        if (length < 0 && errno != EINTR) return errno == EAGAIN;
    }
    return 1;
}

// Makes another end of the channel. Returns 0 if the channel has ended, has no room for one, or does not answer in half of
// the time: the other half is for asking anew.
static int clone_base(struct kb_channels *channels, struct channel *made, int64_t deadline) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) return 0;
    unsigned char packet[6] = {'1', 'C'};
    struct iovec part = {.iov_base = packet, .iov_len = sizeof packet};
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &pair[1], sizeof(int));
    // It does not wait, and nobody can replace the base meanwhile.
    pthread_mutex_lock(&lock);
    int descriptor = channels->base.descriptor;
    ssize_t sent = -1;
    if (descriptor >= 0 && is_same_file(&channels->base) && drain(descriptor))
        sent = sendmsg(descriptor, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    pthread_mutex_unlock(&lock);
    close(pair[1]);
    if (!adopt(pair[0], made)) return 0;
    struct kb_hello hello;
    int64_t now = kb_now();
    if (sent == sizeof packet && greet(made, &hello, now + (deadline - now) / 2)) return 1;
    drop(made);
    return 0;
}

static int ask_anew(struct kb_channels *channels, struct channel *channel, struct kb_hello *hello, int64_t deadline) {
    int descriptor = kb_ask_broker(channels->name, deadline);
    if (descriptor < 0 || !adopt(descriptor, channel)) return 0;
    if (greet(channel, hello, deadline)) return 1;
    drop(channel);
    return kb_error("the signer of '%s' did not answer in time", channels->name);
}

static void give_back(struct kb_channels *channels, const struct channel *channel) {
    pthread_mutex_lock(&lock);
    int hasRoom = channels->idle_count < most_idle && channel->owner == getpid();
    if (hasRoom) channels->idle[channels->idle_count++] = *channel;
    pthread_mutex_unlock(&lock);
    if (!hasRoom) drop(channel);
}

// A channel for this thread alone.
static int take(struct kb_channels *channels, struct channel *channel, int64_t deadline) {
    for (;;) {
        pthread_mutex_lock(&lock);
        int found = channels->idle_count > 0;
        if (found) *channel = channels->idle[--channels->idle_count];
        pthread_mutex_unlock(&lock);
        if (!found) break;
        if (channel->owner == getpid() && is_same_file(channel)) return 1;
        drop(channel);
    }
    // What a broker grants that is about to end, ends at once: then the next one is asked.
    for (int asked = 0; !clone_base(channels, channel, deadline); asked++) {
        struct channel fresh;
        struct kb_hello hello;
        if (asked > 0) kb_wait(-1, kb_now() + 20);
        if (kb_now() >= deadline) return kb_error("no other end of the channel to '%s'", channels->name);
        if (!ask_anew(channels, &fresh, &hello, deadline)) return 0;
        if (!is_same_key(&hello, &channels->hello)) {
            drop(&fresh);
            return kb_error("the key '%s' is another one by now; load it again, with its certificate", channels->name);
        }
        pthread_mutex_lock(&lock);
        struct channel old = channels->base;
        channels->base = fresh;
        pthread_mutex_unlock(&lock);
        if (old.descriptor >= 0) drop(&old);
    }
    return 1;
}

struct kb_channels *kb_channels_open(const char *name, struct kb_hello *hello) {
    struct kb_channels *channels = OPENSSL_zalloc(sizeof *channels);
    if (channels == NULL) return NULL;
    strncpy(channels->name, name, kb_longest_name);
    if (!ask_anew(channels, &channels->base, &channels->hello, kb_now() + kb_patience)) {
        OPENSSL_free(channels);
        return NULL;
    }
    *hello = channels->hello;
    return channels;
}

void kb_channels_close(struct kb_channels *channels) {
    if (channels == NULL) return;
    for (size_t i = 0; i < channels->idle_count; i++) drop(&channels->idle[i]);
    if (channels->base.descriptor >= 0) drop(&channels->base);
    OPENSSL_free(channels);
}

enum outcome { signed_, refused, ended, late };

static enum outcome request(const struct kb_channels *channels, struct channel *channel, uint16_t scheme,
                            const unsigned char *message, size_t length, unsigned char *signature, size_t *room,
                            int64_t deadline) {
    for (;;) {
        uint32_t sequence = ++channel->sequence;
        unsigned char header[8] = {'1', 'S', (unsigned char)(sequence >> 24), (unsigned char)(sequence >> 16),
                                   (unsigned char)(sequence >> 8), (unsigned char)sequence,
                                   (unsigned char)(scheme >> 8), (unsigned char)scheme};
        struct iovec parts[] = {{.iov_base = header, .iov_len = sizeof header},
                                {.iov_base = (void *)message, .iov_len = length}};
        struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent;
        do sent = sendmsg(channel->descriptor, &packet, MSG_NOSIGNAL);
        while (sent < 0 && errno == EINTR);
        if (sent < 0) return ended;
        unsigned char reply[kb_longest_reply + 1];
        ssize_t received;
        // Replies to earlier requests, which came too late for them, are passed over.
        do {
            received = receive(channel, reply, kb_longest_reply, deadline);
            if (received == 0) return ended;
            if (received < 0) return late;
            if (received < 6 || reply[0] != '1') return ended;
        } while (number(reply + 2) != sequence);
        reply[received] = 0;
        size_t rest = (size_t)received - 6;
        if (reply[1] == 'K' && rest > 0 && rest <= *room) {
            memcpy(signature, reply + 6, rest);
            *room = rest;
            return signed_;
        }
        if (reply[1] == 'B' && rest >= 4) {
            int64_t again = kb_now() + number(reply + 6);
            if (again < deadline) {
                kb_wait(-1, again);
                continue;
            }
            kb_error("too many signatures of '%s' a second for this program; see 'limit' in keybroker.policy(5)",
                     channels->name);
            return refused;
        }
        kb_error("the key broker does not sign this with '%s': %s", channels->name, (char *)reply + 6);
        return refused;
    }
}

size_t kb_channels_sign(struct kb_channels *channels, uint16_t scheme, const unsigned char *message, size_t length,
                        unsigned char *signature, size_t room) {
    if (length > kb_longest_message)
        return (size_t)kb_error("a message has at most %d bytes, this one %zu", kb_longest_message, length);
    int64_t deadline = kb_now() + kb_patience;
    struct channel channel;
    while (take(channels, &channel, deadline)) {
        size_t made = room;
        switch (request(channels, &channel, scheme, message, length, signature, &made, deadline)) {
        case signed_: give_back(channels, &channel); return made;
        case refused: give_back(channels, &channel); return 0;
        case late: give_back(channels, &channel); return (size_t)kb_error("no signature of '%s' in time", channels->name);
        case ended: drop(&channel);
        }
    }
    return 0;
}
