// A client that does what it can to take the service away from others.
//
// hostile -a SOCKET -m TRICK -u UID [-t THREADS] [-K NUMBER] [-s SECONDS]
//
// connections   connects and leaves, as fast as the queue takes it, and holds some
// requests      many requests on many connections, without waiting for replies
// unread        asks, and reads no reply
// descriptors   packets with as many descriptors as the kernel lets it send
// malformed     packets that are no requests: short, long, empty
// half-closed   says that it sends no more, and stays
// watches       watches the key, leaves, and watches again
// spin          nothing to the server: what the machine itself is slower by
//
// Prints how often it did it. K is the key that it asks for. It must never wait for the server: everything is non-blocking.

#include "target.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { HELD = 80 };
static struct target target;
static const char *trick;
static char request[80];
static unsigned key = 1;
static atomic_ulong acts;
static atomic_bool is_over;

struct ring {
    int fds[HELD];
    unsigned next;
};

static int dial_at_once(void) {
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    if (connect(fd, (struct sockaddr *)&target.path, sizeof target.path) == 0) return fd;
    close(fd);
    return -1;
}

// Holds a connection in the place of the one that it has held longest. Returns it, or -1.
static int hold_another(struct ring *ring) {
    int fd = dial_at_once();
    if (fd < 0) return -1;
    int *place = &ring->fds[ring->next++ % HELD];
    if (*place >= 0) close(*place);
    *place = fd;
    return fd;
}

static void close_all(struct ring *ring) {
    for (unsigned i = 0; i < HELD; i++) if (ring->fds[i] >= 0) close(ring->fds[i]);
}

// Reads all replies that are there. False at the end of the connection.
static bool drain(int fd) {
    for (;;) {
        char text[256];
        union { struct cmsghdr header; char room[CMSG_SPACE(4 * sizeof(int))]; } control;
        struct iovec part = {text, sizeof text};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t length = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length < 0) return errno == EAGAIN;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (header && header->cmsg_type == SCM_RIGHTS)
            for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                int came;
                memcpy(&came, CMSG_DATA(header) + i * sizeof came, sizeof came);
                close(came);
            }
        if (length == 0) return false;
    }
}

static ssize_t send_descriptors(int fd) {
    enum { MOST = 253 };
    static _Thread_local int any = -1;
    if (any < 0) any = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int fds[MOST];
    for (int i = 0; i < MOST; i++) fds[i] = any;
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof fds)]; } control = {.header = {
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fds)}};
    memcpy(CMSG_DATA(&control.header), fds, sizeof fds);
    struct iovec part = {request, strlen(request)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    // Linux 6.16 and later refuse it for a server that takes none. Then the packet goes without.
    return sent < 0 && errno == EPERM ? send(fd, "2G", 2, MSG_DONTWAIT | MSG_NOSIGNAL) : sent;
}

static void send_malformed(int fd, unsigned turn) {
    static const char junk[6000] = "1Zjunk";
    static const size_t lengths[] = {1, 64, 4096, 4097, 6000, 0};
    (void)send(fd, junk, lengths[turn % 6], MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void *attack(void *unused) {
    (void)unused;
    struct ring ring;
    for (unsigned i = 0; i < HELD; i++) ring.fds[i] = -1;
    ring.next = 0;
    for (unsigned turn = 0; !is_over; turn++) {
        if (!strcmp(trick, "spin")) {
            acts++;
            (void)getppid();
            continue;
        }
        // These keep their connections, as far as they are let, and use each of them again and again.
        if (!strcmp(trick, "requests") || !strcmp(trick, "malformed") || !strcmp(trick, "descriptors")) {
            int *place = &ring.fds[turn % HELD];
            if (*place < 0 && (*place = dial_at_once()) < 0) continue;
            bool failed = false;
            if (*trick == 'm') send_malformed(*place, turn / HELD + turn);
            else if (*trick == 'd') failed = send_descriptors(*place) < 0 && errno != EAGAIN;
            else for (int i = 0; i < 8; i++)
                failed |= send(*place, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN;
            if (!drain(*place) || failed) {
                close(*place);
                *place = -1;
            }
            acts++;
            continue;
        }
        int fd = hold_another(&ring);
        if (fd < 0) continue;
        acts++;
        if (!strcmp(trick, "half-closed")) shutdown(fd, SHUT_WR);
        else if (!strcmp(trick, "unread") || !strcmp(trick, "watches"))
            (void)send(fd, request, strlen(request), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    close_all(&ring);
    return NULL;
}

int main(int count, char **arguments) {
    const char *address = "";
    unsigned threads = 1;
    uid_t uid = 0;
    double duration = 1;
    for (int option; (option = getopt(count, arguments, "a:m:u:t:K:s:")) != -1;) switch (option) {
        case 'a': address = optarg; break;
        case 'm': trick = optarg; break;
        case 'u': uid = (uid_t)atoi(optarg); break;
        case 't': threads = (unsigned)atoi(optarg); break;
        case 'K': key = (unsigned)atoi(optarg); break;
        case 's': duration = atof(optarg); break;
        default: return 64;
    }
    static const char *tricks[] = {
        "connections", "requests", "unread", "descriptors", "malformed", "half-closed", "watches", "spin"};
    bool is_known = false;
    for (size_t i = 0; i < sizeof tricks / sizeof *tricks; i++) is_known |= trick && !strcmp(trick, tricks[i]);
    if (!is_known) fail("no such trick");
    target = target_named("kb", address);
    snprintf(request, sizeof request, "1%ck%u", *trick == 'w' ? 'W' : 'G', key);
    become(uid);
    pthread_t all[16];
    if (threads > 16) threads = 16;
    for (unsigned i = 0; i < threads; i++) if (pthread_create(&all[i], NULL, attack, NULL) != 0) fail("pthread_create");
    usleep((useconds_t)(duration * 1e6));
    is_over = true;
    for (unsigned i = 0; i < threads; i++) pthread_join(all[i], NULL);
    printf("{\"acts\": %lu, \"rate\": %.0f}\n", acts, (double)acts / duration);
}
