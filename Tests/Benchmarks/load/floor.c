// The floor: the least C program that does for a request what keybrokerd does, without a policy and without a chain.
//
// floor -s SOCKET | -T PORT  -k KEYS -l LOG [-f] [-i] [-d]
//
// -f  fdatasync before the replies (group commit: one for all that was ready)
// -i  PIDFD_GET_INFO names the cgroup (Linux 6.13), instead of /proc/PID/cgroup
// -T  the same exchange over TCP loopback: request and reply have the same bytes, followed by the key, which the server
//     reads. Nothing is encrypted, as a real server would have to, so this favours TCP.
// -d  over TCP, the kernel is asked whose socket is at the other end (NETLINK_SOCK_DIAG). It knows the uid, and no more:
//     no groups, no process and no unit. Without it nothing is asked at all, and the server serves anybody.
//
// It works in turns like the daemon: decide on all that is ready, one write of 560 bytes for each request, at most one
// fdatasync, then the replies. Must never leave out a check of a result that the daemon makes, nor do anything that it
// could do without.

#include "target.h"
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
enum { RECORD = 560, EVENTS = 256, DESCRIPTORS = 70000 };

// struct pidfd_info of <linux/pidfd.h>, as Linux 6.13 had it first.
struct process_info {
    uint64_t mask, cgroup;
    uint32_t pid, tgid, ppid, ids[8];
    int32_t exit_code;
};
_Static_assert(sizeof(struct process_info) == 64, "PIDFD_GET_INFO");
#define ASK_PROCESS _IOWR(0xFF, 11, struct process_info)

struct client {
    struct ucred who;
    unsigned groups;
    bool is_known;
    uint64_t cgroup;
    char comm[20], unit[64];
};

static struct client clients[DESCRIPTORS];
static struct { int client, key; off_t size; uint64_t number; } pending[EVENTS];
static char records[EVENTS * RECORD];
static unsigned staged;
static uint64_t number;
static bool over_tcp, asks_pidfd, syncs;
static int keys, log_file, poller, diagnosis = -1;

static void contents(const char *path, char *room, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t length = fd < 0 ? -1 : read(fd, room, size - 1);
    if (fd >= 0) close(fd);
    room[length < 0 ? 0 : length] = 0;
    room[strcspn(room, "\n")] = 0;
}

// Who connected: groups, process name, cgroup. False if that cannot be said for certain.
static bool identify(int fd, struct client *client) {
    gid_t groups[32];
    socklen_t size = sizeof groups;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) return false;
    client->groups = size / sizeof *groups;
    int pidfd = -1;
    size = sizeof pidfd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) return false;
    char path[40], cgroup[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", client->who.pid);
    contents(path, client->comm, sizeof client->comm);
    bool lives;
    if (asks_pidfd) {
        // It fails if the process was reaped. Else nobody else has its pid, and comm is its own.
        struct process_info info = {.mask = 4};
        lives = ioctl(pidfd, ASK_PROCESS, &info) == 0;
        client->cgroup = info.cgroup;
        snprintf(client->unit, sizeof client->unit, "%llu", (unsigned long long)info.cgroup);
    } else {
        snprintf(path, sizeof path, "/proc/%d/cgroup", client->who.pid);
        contents(path, cgroup, sizeof cgroup);
        const char *last = strrchr(cgroup, '/');
        snprintf(client->unit, sizeof client->unit, "%.60s", last ? last + 1 : "");
        struct pollfd ended = {.fd = pidfd, .events = POLLIN};
        lives = poll(&ended, 1, 0) == 0;
    }
    close(pidfd);
    return lives;
}

// Over TCP: whose socket is at the other end.
static bool identify_over_tcp(int fd, struct client *client) {
    struct sockaddr_in peer, own;
    socklen_t size = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &size) < 0) return false;
    if (getsockname(fd, (struct sockaddr *)&own, &size) < 0) return false;
    struct { struct nlmsghdr head; struct inet_diag_req_v2 body; } request = {
        .head = {.nlmsg_len = sizeof request, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0u, .id = {
            .idiag_sport = peer.sin_port, .idiag_dport = own.sin_port, .idiag_src = {peer.sin_addr.s_addr},
            .idiag_dst = {own.sin_addr.s_addr}, .idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}}};
    struct { struct nlmsghdr head; struct inet_diag_msg body; char rest[1024]; } found;
    if (send(diagnosis, &request, sizeof request, 0) < 0) return false;
    if (recv(diagnosis, &found, sizeof found, 0) < (ssize_t)(sizeof found - sizeof found.rest)) return false;
    client->who.uid = found.body.idiag_uid;
    return found.head.nlmsg_type == SOCK_DIAG_BY_FAMILY;
}

static void leave(int fd) { close(fd); }

static bool is_name(const char *name, size_t length) {
    if (length == 0 || length > 63) return false;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (i == 0 || (c != '.' && c != '_' && c != '-'))) return false;
    }
    return true;
}

static void stage(const struct client *client, const char *name, const struct stat *status) {
    static time_t second;
    static char clock_text[24];
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    if (time.tv_sec != second) {
        second = time.tv_sec;
        struct tm parts;
        strftime(clock_text, sizeof clock_text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&second, &parts));
    }
    char *record = records + staged * RECORD;
    int length = snprintf(
        record, RECORD,
        "{\"seq\":%llu,\"time\":\"%s.%06ldZ\",\"event\":\"request\",\"verb\":\"get\",\"decision\":\"granted\","
        "\"reason\":\"permitted\",\"key\":\"%s\",\"uid\":%u,\"gid\":%u,\"other-groups\":%u,\"pid\":%d,\"comm\":\"%s\","
        "\"unit\":\"%s\",\"file\":{\"dev\":%lu,\"ino\":%lu,\"size\":%ld,\"mtime\":%ld},\"chain\":\"",
        (unsigned long long)++number, clock_text, time.tv_nsec / 1000, name, client->who.uid, client->who.gid,
        client->groups, client->who.pid, client->comm, client->unit, status->st_dev, status->st_ino, status->st_size,
        status->st_mtim.tv_sec);
    memset(record + length, '0', (size_t)(RECORD - 3 - length));
    memcpy(record + RECORD - 3, "\"}\n", 3);
}

// Reads a request, opens the key, checks it, and stages the record. False if the connection is to end.
static bool answer(int fd) {
    struct client *client = &clients[fd];
    char packet[4097];
    ssize_t length = recv(fd, packet, sizeof packet - 1, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN) return true;
    if (length <= 0) return false;
    if (packet[length - 1] == '\n') length--;
    packet[length] = 0;
    if (length < 3 || packet[0] != '1' || packet[1] != 'G' || !is_name(packet + 2, (size_t)length - 2)) return false;
    if (!client->is_known) {
        client->is_known = !over_tcp ? identify(fd, client) : diagnosis < 0 || identify_over_tcp(fd, client);
        if (!client->is_known) return false;
    }
    int key = openat(keys, packet + 2, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW);
    struct stat status;
    if (key < 0) return false;
    if (fstat(key, &status) < 0 || !S_ISREG(status.st_mode) || status.st_uid != 0 || status.st_mode & 022) {
        close(key);
        return false;
    }
    stage(client, packet + 2, &status);
    pending[staged].client = fd;
    pending[staged].key = key;
    pending[staged].size = status.st_size;
    pending[staged++].number = number;
    return true;
}

static void reply(int fd, int key, uint64_t grant, off_t size) {
    char text[KEY_ROOM + 64];
    union { struct cmsghdr header; char room[CMSG_SPACE(sizeof key)]; } control = {.header = {0}};
    struct iovec part = {text, 0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (over_tcp) {
        int head = snprintf(text, 64, "1K%llu %ld\n", (unsigned long long)grant, size);
        ssize_t length = pread(key, text + head, KEY_ROOM, 0);
        part.iov_len = (size_t)(head + (length > 0 ? length : 0));
    } else {
        part.iov_len = (size_t)snprintf(text, 64, "1K%llu", (unsigned long long)grant);
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof key);
        memcpy(CMSG_DATA(&control.header), &key, sizeof key);
    }
    ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(key);
    if (sent != (ssize_t)part.iov_len) leave(fd);
}

// One write, one fdatasync if asked for, and then the replies of this turn.
static void deliver(void) {
    if (staged == 0) return;
    size_t length = staged * RECORD;
    if (write(log_file, records, length) != (ssize_t)length) fail("the log");
    if (syncs && fdatasync(log_file) < 0) fail("fdatasync");
    for (unsigned i = 0; i < staged; i++) reply(pending[i].client, pending[i].key, pending[i].number, pending[i].size);
    staged = 0;
}

static void accept_all(int listener) {
    for (int i = 0; i < EVENTS; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), one = 1;
        if (fd < 0 && errno == EAGAIN) return;
        if (fd < 0 || fd >= DESCRIPTORS) fail("accept4");
        struct client *client = &clients[fd];
        *client = (struct client){0};
        socklen_t size = sizeof client->who;
        if (over_tcp) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &client->who, &size) < 0) fail("SO_PEERCRED");
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    }
}

static int listen_on(const char *path, int port) {
    struct target target = target_named(over_tcp ? "tcp" : "kb", path);
    int fd = socket(over_tcp ? AF_INET : AF_UNIX, (over_tcp ? SOCK_STREAM : SOCK_SEQPACKET) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, bound;
    target.port.sin_port = htons((uint16_t)port);
    if (over_tcp) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        bound = bind(fd, (struct sockaddr *)&target.port, sizeof target.port);
    } else {
        umask(0);
        bound = bind(fd, (struct sockaddr *)&target.path, sizeof target.path);
        umask(022);
    }
    // A TCP client that finds no room in the queue asks again after a whole second, so TCP has more room.
    if (bound < 0 || listen(fd, over_tcp ? 4096 : 512) < 0) fail("cannot listen on %s", path);
    return fd;
}

int main(int count, char **arguments) {
    const char *path = "", *log_path = "", *keys_path = "";
    int port = 0;
    for (int option; (option = getopt(count, arguments, "s:T:k:l:fid")) != -1;) switch (option) {
        case 's': path = optarg; break;
        case 'T': path = optarg; port = atoi(optarg); over_tcp = true; break;
        case 'k': keys_path = optarg; break;
        case 'l': log_path = optarg; break;
        case 'f': syncs = true; break;
        case 'i': asks_pidfd = true; break;
        case 'd':
            diagnosis = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
            if (diagnosis < 0) fail("NETLINK_SOCK_DIAG");
            break;
        default: return 64;
    }
    allow_descriptors(1024);
    keys = open(keys_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    log_file = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(path, port);
    if (keys < 0 || log_file < 0 || poller < 0) fail("%s, %s", keys_path, log_path);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    if (epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll_ctl");
    for (;;) {
        int ready = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) accept_all(listener);
            else if (!answer(events[i].data.fd)) leave(events[i].data.fd);
        }
        deliver();
    }
}
