/* keybroker.h: the client of the key broker for C and C++, in one file. It needs Linux and libc, and nothing else.
 *
 * Include it wherever you call it. In exactly one file of your program, define KEYBROKER_IMPLEMENTATION before, and let
 * that include be the first one of the file:
 *
 *     #define KEYBROKER_IMPLEMENTATION
 *     #include <keybroker.h>
 *
 * With KEYBROKER_STATIC defined as well, the functions are private to that file. All functions can be called from
 * several threads at a time; none keeps anything between two calls. They need 16 KiB of stack at most, in all that they
 * call. keybroker(3) has an example.
 *
 * Must never trust a socket only because of its path. Must never accept a reply that comes with more or fewer
 * descriptors than it announces. Must never wait without a limit, unless the caller asks for that.
 *
 * SPDX-License-Identifier: Apache-2.0 */

#if defined(KEYBROKER_IMPLEMENTATION) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* O_PATH, struct ucred, secure_getenv(3) */
#endif

#ifndef KEYBROKER_H
#define KEYBROKER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef KEYBROKER_STATIC
#define KEYBROKER_API static __attribute__((__unused__))
#else
#define KEYBROKER_API extern
#endif

#define KEYBROKER_VERSION "0.1.0"
#define KEYBROKER_DEFAULT_SOCKET "/run/keybroker/broker.sock"
/* A name has at most 63 characters. */
#define KEYBROKER_NAME_ROOM 64
/* The largest key or certificate that is read into memory, in bytes. */
#define KEYBROKER_KEY_BYTES 1048576

/* What a function returns. */
enum keybroker_result {
    KEYBROKER_OK = 0,
    /* The policy does not permit the key to the caller, or there is no such key. The broker does not say which. On a
     * watch: not any more. */
    KEYBROKER_DENIED,
    /* The caller may have the key, but the file cannot be handed over now. If the decision is 0, the broker could not
     * write its audit log. */
    KEYBROKER_UNAVAILABLE,
    /* A limit was reached, and nothing was opened. Ask again after retry_after milliseconds. */
    KEYBROKER_BUSY,
    /* Nothing listens at the socket, or the broker has ended. */
    KEYBROKER_NOT_RUNNING,
    /* The caller may not connect to the socket (EACCES). */
    KEYBROKER_MAY_NOT_CONNECT,
    /* Somebody else could have created the socket, or an account other than root and the caller answered. */
    KEYBROKER_UNTRUSTED,
    /* The broker runs, but did not answer in time. */
    KEYBROKER_NO_ANSWER,
    /* The answer does not follow the protocol. */
    KEYBROKER_PROTOCOL_VIOLATION,
    /* The name is not a valid name of a key. No request was sent. */
    KEYBROKER_INVALID_NAME,
    /* The file that was handed over cannot be read as a key or certificate. */
    KEYBROKER_UNUSABLE_FILE,
    /* This process or the system has no free descriptor, or no memory. */
    KEYBROKER_SHORTAGE,
    /* A system call of this process failed. */
    KEYBROKER_SYSTEM,
    /* keybroker_watch_next: no new key came in that time. The watch goes on. */
    KEYBROKER_NOTHING_NEW
};

/* Why a call failed. Wherever one is expected, NULL can be passed instead. */
struct keybroker_error {
    enum keybroker_result result;
    /* The seq of the record in the audit log; 0 if there is none. */
    uint64_t decision;
    /* Milliseconds, for KEYBROKER_BUSY. */
    long retry_after;
    /* What happened, to what, and what to do next. A line without its end. */
    char text[1024];
};

/* A key that was handed over: open descriptors of regular files, read-only and close-on-exec. */
struct keybroker_key {
    int key;
    /* -1 if the policy names no certificate for the key. */
    int certificate;
    /* The seq of the record in the audit log. */
    uint64_t decision;
    /* On a watch: counts the rotations of the key since the broker started. Otherwise 0. */
    uint64_t generation;
    char name[KEYBROKER_NAME_ROOM];
};

/* The content of a file, in memory that is locked, kept out of core dumps and child processes, and wiped at its end. */
struct keybroker_secret {
    unsigned char *bytes;
    size_t count;
    size_t room;
};

/* Names of keys, sorted. */
struct keybroker_names {
    char (*names)[KEYBROKER_NAME_ROOM];
    size_t count;
};

/* A watch on a key. */
struct keybroker_watch {
    /* Readable if keybroker_watch_next would not wait: for poll(2), select(2), epoll(7). -1 if the watch is closed. */
    int descriptor;
    char name[KEYBROKER_NAME_ROOM];
    char socket[108];
};

/* In all functions, `socket` is the path of the broker's socket. NULL stands for the environment variable
 * KEYBROKER_SOCKET (read with secure_getenv), or else KEYBROKER_DEFAULT_SOCKET. `wait` is how long to wait for a broker
 * that is still starting or is busy, in milliseconds; 0 is no wait. */

/* Asks for a key. Close it with keybroker_close. */
KEYBROKER_API enum keybroker_result keybroker_get(const char *socket, const char *name, long wait,
                                                  struct keybroker_key *key, struct keybroker_error *error);

/* Closes the descriptors that are not -1. Set one to -1 to keep its descriptor. */
KEYBROKER_API void keybroker_close(struct keybroker_key *key);

/* Reads the key into memory; wipe it with keybroker_wipe. No file offset moves, so it can be read again. */
KEYBROKER_API enum keybroker_result keybroker_read_key(const struct keybroker_key *key,
                                                       struct keybroker_secret *secret,
                                                       struct keybroker_error *error);

/* The same for the certificate. If there is none, `bytes` is NULL. */
KEYBROKER_API enum keybroker_result keybroker_read_certificate(const struct keybroker_key *key,
                                                               struct keybroker_secret *secret,
                                                               struct keybroker_error *error);

/* Overwrites the memory and gives it back. */
KEYBROKER_API void keybroker_wipe(struct keybroker_secret *secret);

/* The names of the keys that the caller may get. Free them with keybroker_free_names. */
KEYBROKER_API enum keybroker_result keybroker_list(const char *socket, long wait, struct keybroker_names *names,
                                                   struct keybroker_error *error);
KEYBROKER_API void keybroker_free_names(struct keybroker_names *names);

/* Asks for a key, and to be told of each rotation of it. Close the watch with keybroker_watch_close. */
KEYBROKER_API enum keybroker_result keybroker_watch_open(const char *socket, const char *name, long wait,
                                                         struct keybroker_watch *watch, struct keybroker_key *key,
                                                         struct keybroker_error *error);

/* Waits for the next key, at most `timeout` milliseconds; -1 is no limit. After KEYBROKER_NOTHING_NEW the watch goes
 * on. After all other failures it is closed. If that is KEYBROKER_NOT_RUNNING or KEYBROKER_SHORTAGE, pause, and open it
 * again with a wait: the key that this returns is the present one, so that no rotation is lost. Do the same again if that
 * fails with KEYBROKER_UNAVAILABLE, KEYBROKER_NO_ANSWER, KEYBROKER_SHORTAGE, KEYBROKER_MAY_NOT_CONNECT or
 * KEYBROKER_UNTRUSTED: all of them pass, such as while the key is replaced or the socket is made. The pause keeps a broker
 * that ends again and again from being asked without one, and the audit log from a grant for each time. */
KEYBROKER_API enum keybroker_result keybroker_watch_next(struct keybroker_watch *watch, long timeout,
                                                         struct keybroker_key *key, struct keybroker_error *error);
KEYBROKER_API void keybroker_watch_close(struct keybroker_watch *watch);

/* The exit status for a program that ends because of this result (sysexits.h). */
KEYBROKER_API int keybroker_exit_status(const struct keybroker_error *error);

#ifdef __cplusplus
}
#endif

#endif /* KEYBROKER_H */

#if defined(KEYBROKER_IMPLEMENTATION) && !defined(KEYBROKER_IMPLEMENTED)
#define KEYBROKER_IMPLEMENTED

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef O_PATH
#error "keybroker.h: define _GNU_SOURCE before the first header, or include this one first"
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { keybroker__packet = 4096, keybroker__reply_ms = 10000, keybroker__levels = 64, keybroker__names = 1000000 };

/* ---- Errors ---- */

__attribute__((__format__(__printf__, 4, 5))) static enum keybroker_result
keybroker__fail(struct keybroker_error *error, enum keybroker_result result, uint64_t decision, const char *format,
                ...) {
    if (error) {
        va_list arguments;
        memset(error, 0, sizeof *error);
        error->result = result;
        error->decision = decision;
        va_start(arguments, format);
        vsnprintf(error->text, sizeof error->text, format, arguments);
        va_end(arguments);
    }
    return result;
}

/* "connect /run/x: Permission denied (EACCES)" */
static void keybroker__describe(char *text, size_t room, const char *call, const char *subject, int code) {
    char number[32];
    const char *reason, *name = NULL;
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 32)
    reason = strerrordesc_np(code);
    name = strerrorname_np(code);
#else
    reason = strerror(code);
#endif
    snprintf(number, sizeof number, "errno %d", code);
    snprintf(text, room, "%s%s%s: %s (%s)", call, subject ? " " : "", subject ? subject : "",
             reason ? reason : number, name ? name : number);
}

static int keybroker__is_shortage(int code) {
    return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM || code == ETOOMANYREFS;
}

static enum keybroker_result keybroker__short_of(struct keybroker_error *error, const char *reason) {
    return keybroker__fail(error, KEYBROKER_SHORTAGE, 0,
                           "%s: this process may have no more open files (raise RLIMIT_NOFILE, ulimit -n), or the "
                           "system has none left",
                           reason);
}

/* A system call of this process failed. The subject is told only where the fault may be the system's. */
static enum keybroker_result keybroker__system(struct keybroker_error *error, const char *call, const char *subject,
                                               int code) {
    char text[512];
    int is_shortage = keybroker__is_shortage(code);
    keybroker__describe(text, sizeof text, call, is_shortage ? subject : NULL, code);
    return is_shortage ? keybroker__short_of(error, text) : keybroker__fail(error, KEYBROKER_SYSTEM, 0, "%s", text);
}

static enum keybroker_result keybroker__violation(struct keybroker_error *error, const char *what) {
    return keybroker__fail(error, KEYBROKER_PROTOCOL_VIOLATION, 0,
                           "what answered is not this broker, or of another version: %s", what);
}

static enum keybroker_result keybroker__not_running(struct keybroker_error *error, const char *path,
                                                    const char *reason) {
    return keybroker__fail(error, KEYBROKER_NOT_RUNNING, 0,
                           "no broker at %s: %s; start keybrokerd, or name its socket with KEYBROKER_SOCKET", path,
                           reason);
}

static enum keybroker_result keybroker__without_answer(struct keybroker_error *error, const char *path) {
    return keybroker__not_running(error, path, "it closed the connection without an answer");
}

static enum keybroker_result keybroker__no_answer(struct keybroker_error *error, const char *path) {
    return keybroker__fail(error, KEYBROKER_NO_ANSWER, 0, "the broker at %s did not answer within 10.0 seconds", path);
}

static enum keybroker_result keybroker__untrusted(struct keybroker_error *error, const char *path,
                                                  const char *reason) {
    return keybroker__fail(error, KEYBROKER_UNTRUSTED, 0, "%s is not to be trusted: %s", path, reason);
}

KEYBROKER_API int keybroker_exit_status(const struct keybroker_error *error) {
    switch (error->result) {
    case KEYBROKER_OK: return 0;
    case KEYBROKER_DENIED:
    case KEYBROKER_MAY_NOT_CONNECT: return 77;
    case KEYBROKER_UNAVAILABLE: return error->decision == 0 ? 74 : 75;
    case KEYBROKER_BUSY:
    case KEYBROKER_NOTHING_NEW: return 75;
    case KEYBROKER_NOT_RUNNING:
    case KEYBROKER_UNTRUSTED:
    case KEYBROKER_NO_ANSWER: return 69;
    case KEYBROKER_INVALID_NAME: return 64;
    case KEYBROKER_PROTOCOL_VIOLATION:
    case KEYBROKER_UNUSABLE_FILE:
    case KEYBROKER_SHORTAGE:
    case KEYBROKER_SYSTEM: return 71;
    }
    return 71;
}

/* ---- Time ---- */

static int64_t keybroker__now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until the descriptor is readable (-1: for nothing) or `end`; -1 is no end. Returns 1 if it is readable, 0 at the
 * end, -1 with errno. */
static int keybroker__poll(int descriptor, int64_t end) {
    for (;;) {
        struct pollfd polled;
        int64_t rest = end < 0 ? -1 : end - keybroker__now();
        int ready;
        polled.fd = descriptor;
        polled.events = POLLIN;
        polled.revents = 0;
        if (end >= 0 && rest < 0) rest = 0;
        if (rest > INT_MAX) rest = INT_MAX;
        ready = poll(&polled, descriptor < 0 ? 0 : 1, (int)rest);
        if (ready < 0 && errno != EINTR) return -1;
        if (ready > 0) return 1;
        if (ready == 0 && end >= 0 && keybroker__now() >= end) return 0;
    }
}

/* Pauses for so many milliseconds, unless that would end after `deadline`: then it returns 0 at once. */
static int keybroker__pause(int64_t milliseconds, int64_t deadline) {
    int64_t end = keybroker__now() + milliseconds;
    if (end > deadline) return 0;
    (void)keybroker__poll(-1, end);
    return 1;
}

static int64_t keybroker__deadline(long wait) {
    /* As good as no limit, and cannot overflow. */
    const int64_t longest = INT64_C(1000000000000);
    return keybroker__now() + (wait < 0 ? 0 : (int64_t)wait > longest ? longest : (int64_t)wait);
}

static int64_t keybroker__answer_end(int64_t deadline) {
    int64_t now = keybroker__now();
    return (now < deadline ? now : deadline) + keybroker__reply_ms;
}

/* ---- Names and numbers ---- */

static int keybroker__is_name(const char *bytes, size_t count) {
    size_t i;
    if (count == 0 || count >= KEYBROKER_NAME_ROOM) return 0;
    for (i = 0; i < count; i++) {
        char c = bytes[i];
        int is_first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!is_first && (i == 0 || (c != '.' && c != '_' && c != '-'))) return 0;
    }
    return 1;
}

/* Printable ASCII as it is, all else as \u{...}. */
static void keybroker__printable(char *text, size_t room, const char *from) {
    const unsigned char *next = (const unsigned char *)from;
    size_t used = 0;
    text[0] = 0;
    while (*next && used + 16 < room) {
        unsigned long scalar = *next++;
        int more = scalar >= 0xF0 ? 3 : scalar >= 0xE0 ? 2 : scalar >= 0xC0 ? 1 : 0;
        if (scalar >= 0x80) {
            scalar = more == 0 || scalar >= 0xF8 ? 0xFFFD : scalar & (0x3FUL >> more);
            for (; more > 0 && scalar != 0xFFFD; more--) {
                scalar = (*next & 0xC0) == 0x80 ? scalar << 6 | (*next++ & 0x3FUL) : 0xFFFD;
            }
        }
        used += (size_t)(scalar >= 0x20 && scalar <= 0x7E ? snprintf(text + used, room - used, "%c", (int)scalar)
                                                          : snprintf(text + used, room - used, "\\u{%lx}", scalar));
    }
}

static enum keybroker_result keybroker__check_name(const char *name, struct keybroker_error *error) {
    char text[512], reason[128];
    size_t count = strlen(name);
    if (keybroker__is_name(name, count)) return KEYBROKER_OK;
    if (count == 0) {
        snprintf(reason, sizeof reason, "a key name is missing");
    } else if (count >= KEYBROKER_NAME_ROOM) {
        snprintf(reason, sizeof reason, "a key name has at most %d characters, this one %lu", KEYBROKER_NAME_ROOM - 1,
                 (unsigned long)count);
    } else {
        snprintf(reason, sizeof reason,
                 "a key name is made of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit");
    }
    keybroker__printable(text, sizeof text, name);
    return keybroker__fail(error, KEYBROKER_INVALID_NAME, 0, "'%s': %s", text, reason);
}

/* Reads the decimal number at *from, up to `end`, and moves *from after it. 0 if there is none or it is too large. */
static int keybroker__number(const char **from, const char *end, uint64_t *number) {
    const char *next = *from;
    uint64_t value = 0;
    if (next == end) return 0;
    for (; next < end && *next >= '0' && *next <= '9'; next++) {
        uint64_t digit = (uint64_t)(*next - '0');
        if (value > (UINT64_MAX - digit) / 10) return 0;
        value = value * 10 + digit;
    }
    if (next == *from) return 0;
    *from = next;
    *number = value;
    return 1;
}

static int keybroker__is_printable(const char *from, const char *end) {
    for (; from < end; from++) {
        if (*from < 0x20 || *from > 0x7E) return 0;
    }
    return 1;
}

/* ---- The way to the socket ---- */

/* The uid that the kernel shows for every account that this user namespace does not know. It is never trusted. */
static uid_t keybroker__unmapped(void) {
    char text[32];
    const char *next = text;
    uint64_t uid = 0;
    ssize_t count = 0;
    int file = open("/proc/sys/kernel/overflowuid", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        count = read(file, text, sizeof text);
        close(file);
    }
    return count > 0 && keybroker__number(&next, text + count, &uid) && uid <= UINT32_MAX ? (uid_t)uid : 65534;
}

static int keybroker__trusts(uid_t uid, uid_t caller) {
    return uid == 0 || (uid == caller && uid != keybroker__unmapped());
}

/* A walk from the root, a component at a time, on handles. What was checked is then what is used. It is too large for the
 * stack of a small thread. */
struct keybroker__walk {
    int handles[keybroker__levels];
    mode_t modes[keybroker__levels];
    int depth;
    /* Where the walk is, and what is left of it; the target of a symbolic link. */
    char path[PATH_MAX], rest[2 * PATH_MAX], target[PATH_MAX];
    /* The directory that it goes to. */
    char whole[2 * PATH_MAX];
    uid_t caller;
    const char *socket;
    struct keybroker_error *error;
};

static enum keybroker_result keybroker__check_owner(struct keybroker__walk *walk, const struct stat *status) {
    char reason[896], other[32];
    uid_t unmapped;
    if (keybroker__trusts(status->st_uid, walk->caller)) return KEYBROKER_OK;
    unmapped = keybroker__unmapped();
    if (status->st_uid == unmapped) {
        snprintf(reason, sizeof reason,
                 "%.600s belongs to uid %lu, which stands for every account that this user namespace does not know; "
                 "see USER NAMESPACES in keybroker-sockets(7)",
                 walk->path, (unsigned long)unmapped);
        return keybroker__untrusted(walk->error, walk->socket, reason);
    }
    snprintf(other, sizeof other, " or uid %lu", (unsigned long)walk->caller);
    snprintf(reason, sizeof reason, "%.600s belongs to uid %lu, not to root%s", walk->path,
             (unsigned long)status->st_uid, walk->caller == 0 || walk->caller == unmapped ? "" : other);
    return keybroker__untrusted(walk->error, walk->socket, reason);
}

/* In a sticky directory of root, such as /tmp, others can only add entries of their own. */
static enum keybroker_result keybroker__check_directory(struct keybroker__walk *walk, const struct stat *status) {
    char reason[768], group[32];
    enum keybroker_result result = keybroker__check_owner(walk, status);
    if (result || (status->st_mode & 022) == 0 || ((status->st_mode & S_ISVTX) && status->st_uid == 0)) return result;
    snprintf(group, sizeof group, "group %lu", (unsigned long)status->st_gid);
    snprintf(reason, sizeof reason, "%.600s can be written to by %s (mode %04o)", walk->path,
             status->st_mode & 02 ? "everybody" : group, (unsigned)(status->st_mode & 07777));
    return keybroker__untrusted(walk->error, walk->socket, reason);
}

/* The name of the socket's group, or its number if /etc/group does not have it. */
static void keybroker__group_of(const char *socket_path, char *name, size_t room) {
    struct stat status;
    char line[256], *number, *end;
    int begins, is_whole = 1;
    FILE *groups;
    snprintf(name, room, "keyusers");
    if (stat(socket_path, &status) < 0) return;
    snprintf(name, room, "%lu", (unsigned long)status.st_gid);
    groups = fopen("/etc/group", "re");
    if (!groups) return;
    /* NAME:PASSWORD:NUMBER:MEMBERS, where the members may be many. */
    while (fgets(line, sizeof line, groups)) {
        begins = is_whole;
        is_whole = strchr(line, '\n') != NULL;
        number = strchr(line, ':');
        if (!begins || !number) continue;
        *number = '\0';
        number = strchr(number + 1, ':');
        if (!number || number[1] < '0' || number[1] > '9') continue;
        if (strtoul(number + 1, &end, 10) != status.st_gid || *end != ':') continue;
        snprintf(name, room, "%.*s", (int)room - 1, line);
        break;
    }
    fclose(groups);
}

static enum keybroker_result keybroker__may_not_connect(struct keybroker_error *error, const char *socket_path) {
    char group[64];
    keybroker__group_of(socket_path, group, sizeof group);
    return keybroker__fail(error, KEYBROKER_MAY_NOT_CONNECT, 0,
                           "may not connect to %s: this account is not in the socket's group, %s; add the account "
                           "(usermod -aG %s ACCOUNT), or give its unit SupplementaryGroups=%s; either counts from the "
                           "next login or service start",
                           socket_path, group, group, group);
}

static enum keybroker_result keybroker__cannot_walk(struct keybroker__walk *walk, const char *call, int code) {
    char text[768];
    snprintf(text, sizeof text, "%.600s does not exist%s", walk->path,
             code == ENOTDIR ? ": what is above it is not a directory" : "");
    if (code == ENOENT || code == ENOTDIR) return keybroker__not_running(walk->error, walk->socket, text);
    if (code == ELOOP) {
        snprintf(text, sizeof text, "%.600s was replaced by a symbolic link just now", walk->path);
        return keybroker__untrusted(walk->error, walk->socket, text);
    }
    if (keybroker__is_shortage(code)) {
        keybroker__describe(text, sizeof text, call, walk->path, code);
        return keybroker__short_of(walk->error, text);
    }
    return keybroker__may_not_connect(walk->error, walk->socket);
}

/* Opens `name` in the present directory and goes there. If it is a symbolic link, what is left begins with its target.
 * Needs the path of `name` in walk->path, and what is left in walk->rest. */
static enum keybroker_result keybroker__step(struct keybroker__walk *walk, const char *name) {
    char text[768];
    struct stat status;
    enum keybroker_result result;
    const char *rest = walk->rest;
    const mode_t *parent = walk->depth ? &walk->modes[walk->depth - 1] : NULL;
    size_t length, left;
    int handle, code;
    ssize_t count;
    if (walk->depth == keybroker__levels) return keybroker__cannot_walk(walk, "openat", ENAMETOOLONG);
    handle = openat(parent ? walk->handles[walk->depth - 1] : AT_FDCWD, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (handle < 0) return keybroker__cannot_walk(walk, parent ? "openat" : "open", errno);
    if (fstat(handle, &status) < 0) {
        code = errno;
        close(handle);
        return keybroker__cannot_walk(walk, "fstat", code);
    }
    if (S_ISDIR(status.st_mode)) {
        result = keybroker__check_directory(walk, &status);
        if (result) {
            close(handle);
            return result;
        }
        walk->handles[walk->depth] = handle;
        walk->modes[walk->depth++] = status.st_mode;
        return KEYBROKER_OK;
    }
    if (!S_ISLNK(status.st_mode)) {
        close(handle);
        while (*rest == '/') rest++;
        snprintf(text, sizeof text, "%.600s is not a directory", *rest ? walk->path : walk->whole);
        return *rest ? keybroker__not_running(walk->error, walk->socket, text)
                     : keybroker__untrusted(walk->error, walk->socket, text);
    }
    /* If only trusted accounts can write to the directory, the owner of the link does not matter. */
    result = parent && (*parent & 022) ? keybroker__check_owner(walk, &status) : KEYBROKER_OK;
    count = result ? 0 : readlinkat(handle, "", walk->target, sizeof walk->target);
    code = errno;
    close(handle);
    if (result) return result;
    if (count < 0) return keybroker__cannot_walk(walk, "readlinkat", code);
    length = (size_t)count;
    left = strlen(rest);
    if (length == sizeof walk->target || length + 1 + left >= sizeof walk->rest) {
        return keybroker__cannot_walk(walk, "readlinkat", ENAMETOOLONG);
    }
    memmove(walk->rest + length + 1, rest, left + 1);
    memcpy(walk->rest, walk->target, length);
    walk->rest[length] = '/';
    /* The path of the link was no step. */
    *strrchr(walk->path, '/') = 0;
    if (length > 0 && walk->target[0] == '/') {
        while (walk->depth > 1) close(walk->handles[--walk->depth]);
        walk->path[0] = 0;
    }
    return KEYBROKER_OK;
}

static enum keybroker_result keybroker__walk_on(struct keybroker__walk *walk) {
    enum keybroker_result result;
    char reason[768];
    int links = 0;
    strcpy(walk->path, "/");
    result = keybroker__step(walk, "/");
    walk->path[0] = 0;
    while (!result) {
        char name[NAME_MAX + 2], *next = walk->rest;
        size_t length, used = strlen(walk->path);
        int depth = walk->depth;
        while (*next == '/') next++;
        length = strcspn(next, "/");
        if (length == 0) return KEYBROKER_OK;
        if (length > NAME_MAX || used + length + 2 > sizeof walk->path) {
            return keybroker__cannot_walk(walk, "openat", ENAMETOOLONG);
        }
        memcpy(name, next, length);
        name[length] = 0;
        memmove(walk->rest, next + length, strlen(next + length) + 1);
        if (strcmp(name, ".") == 0) continue;
        if (strcmp(name, "..") == 0) {
            if (depth > 1) {
                close(walk->handles[--walk->depth]);
                *strrchr(walk->path, '/') = 0;
            }
            continue;
        }
        snprintf(walk->path + used, sizeof walk->path - used, "/%s", name);
        result = keybroker__step(walk, name);
        if (!result && walk->depth <= depth && ++links > 40) {
            snprintf(reason, sizeof reason, "%.600s leads over more than 40 symbolic links", walk->whole);
            return keybroker__untrusted(walk->error, walk->socket, reason);
        }
    }
    return result;
}

static enum keybroker_result keybroker__walk_to(struct keybroker__walk *walk) {
    const char *next, *path = walk->socket;
    char *last;
    size_t used = 0;
    if (path[0] != '/') {
        if (!getcwd(walk->rest, PATH_MAX)) {
            snprintf(walk->path, sizeof walk->path, "%s", path);
            return keybroker__cannot_walk(walk, "getcwd", errno);
        }
        used = strlen(walk->rest);
    }
    if ((size_t)snprintf(walk->rest + used, sizeof walk->rest - used, "/%s", path) >= sizeof walk->rest - used) {
        return keybroker__cannot_walk(walk, "openat", ENAMETOOLONG);
    }
    /* Without the last component. */
    last = walk->rest + strlen(walk->rest);
    while (last > walk->rest && last[-1] == '/') *--last = 0;
    while (last > walk->rest && last[-1] != '/') *--last = 0;
    /* As a message has it: no slash twice, and none at the end. */
    last = walk->whole;
    for (next = walk->rest; *next; next++) {
        if (*next != '/' || (next[1] != '/' && next[1] != 0)) *last++ = *next;
    }
    if (last == walk->whole) *last++ = '/';
    *last = 0;
    return keybroker__walk_on(walk);
}

/* Checks all directories above the socket: whoever may write to one could put a socket of their own there. */
static enum keybroker_result keybroker__check_way(const char *socket_path, struct keybroker_error *error) {
    struct keybroker__walk *walk = (struct keybroker__walk *)malloc(sizeof *walk);
    enum keybroker_result result;
    if (!walk) return keybroker__system(error, "malloc", NULL, ENOMEM);
    walk->depth = 0;
    walk->caller = geteuid();
    walk->socket = socket_path;
    walk->error = error;
    walk->path[0] = 0;
    result = keybroker__walk_to(walk);
    while (walk->depth > 0) close(walk->handles[--walk->depth]);
    free(walk);
    return result;
}

/* ---- One connection ---- */

/* Connects, and checks who listens. Returns the result; *connected is the socket. */
static enum keybroker_result keybroker__connect(const char *path, int *connected, struct keybroker_error *error) {
    struct sockaddr_un address;
    struct ucred listener;
    socklen_t size = sizeof listener;
    size_t length = strlen(path);
    int64_t end;
    char text[128];
    enum keybroker_result result = keybroker__check_way(path, error);
    int code = 0;
    if (result) return result;
    if (length == 0) return keybroker__system(error, "connect", path, EINVAL);
    if (length >= sizeof address.sun_path) return keybroker__system(error, "connect", path, ENAMETOOLONG);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, length);
    *connected = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*connected < 0) return keybroker__system(error, "socket", NULL, errno);
    end = keybroker__now() + keybroker__reply_ms;
    /* If the listener's backlog is full, there is a broker. A blocking connect waits for room, first come, first served. */
    do {
        int64_t left = end - keybroker__now();
        struct timeval limit;
        limit.tv_sec = (time_t)(left > 0 ? left / 1000 : 0);
        limit.tv_usec = left > 0 ? (suseconds_t)(left % 1000 * 1000) : 0;
        if (limit.tv_sec == 0 && limit.tv_usec == 0) limit.tv_usec = 1;
        code = setsockopt(*connected, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0 ? errno : 0;
        if (code == 0 && connect(*connected, (const struct sockaddr *)&address, sizeof address) < 0) code = errno;
    } while (code == EINTR);
    if (code == 0 && fcntl(*connected, F_SETFL, O_NONBLOCK) < 0) code = errno;
    if (code == 0) {
        if (getsockopt(*connected, SOL_SOCKET, SO_PEERCRED, &listener, &size) < 0) {
            result = keybroker__system(error, "getsockopt SO_PEERCRED", NULL, errno);
        } else if (keybroker__trusts(listener.uid, geteuid())) {
            return KEYBROKER_OK;
        } else {
            /* In a sticky directory such as /tmp, anybody can create the socket. */
            snprintf(text, sizeof text, "uid %lu listens there, neither root nor this account",
                     (unsigned long)listener.uid);
            result = keybroker__untrusted(error, path, text);
        }
    } else if (code == EAGAIN) {
        result = keybroker__no_answer(error, path);
    } else if (code == ENOENT) {
        result = keybroker__not_running(error, path, "No such file or directory");
    } else if (code == ECONNREFUSED) {
        result = keybroker__not_running(error, path, "Connection refused");
    } else if (code == EACCES) {
        result = keybroker__may_not_connect(error, path);
    } else {
        result = keybroker__system(error, "connect", path, code);
    }
    close(*connected);
    *connected = -1;
    return result;
}

static enum keybroker_result keybroker__send(int connected, const char *packet, struct keybroker_error *error) {
    while (send(connected, packet, strlen(packet), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        /* A busy broker sends its reply and closes without reading the request. The reply can still be read. */
        if (errno == EPIPE) return KEYBROKER_OK;
        if (errno != EINTR) return keybroker__system(error, "sendmsg", NULL, errno);
    }
    return KEYBROKER_OK;
}

struct keybroker__reply {
    /* The reply's letter; 'k' is a K with a generation. */
    char verb;
    uint64_t decision, number;
    /* What follows the decision number, or the verb; it ends with NUL. */
    const char *text;
    int descriptors[2];
    char packet[keybroker__packet + 1];
    size_t length;
};

static void keybroker__drop(struct keybroker__reply *reply) {
    int i;
    for (i = 0; i < 2; i++) {
        if (reply->descriptors[i] >= 0) close(reply->descriptors[i]);
        reply->descriptors[i] = -1;
    }
}

/* Whether the packet is a reply. */
static int keybroker__parse(struct keybroker__reply *reply) {
    const char *next = reply->packet + 2, *end = reply->packet + reply->length, *line;
    if (reply->length < 2 || reply->packet[0] != '1') return 0;
    reply->verb = reply->packet[1];
    reply->text = next;
    reply->decision = reply->number = 0;
    switch (reply->verb) {
    case 'V': return keybroker__is_printable(next, end);
    case 'S':
        for (line = next; line < end; line++) {
            if (*line != '\n' && !keybroker__is_printable(line, line + 1)) return 0;
        }
        return 1;
    case 'L':
        while (next < end) {
            for (line = next; next < end && *next != '\n';) next++;
            if (next > line && !keybroker__is_name(line, (size_t)(next - line))) return 0;
            if (next < end) next++;
        }
        return 1;
    case 'K':
        if (!keybroker__number(&next, end, &reply->decision)) return 0;
        if (next == end) return 1;
        reply->verb = 'k';
        return *next++ == ' ' && keybroker__number(&next, end, &reply->number) && next == end;
    case 'D':
    case 'X':
    case 'U':
    case 'E':
    case 'B':
        if (!keybroker__number(&next, end, &reply->decision) || next == end || *next++ != ' ' || next == end) return 0;
        reply->text = next;
        if (reply->verb != 'B') return keybroker__is_printable(next, end);
        if (!keybroker__number(&next, end, &reply->number) || next != end) return 0;
        if (reply->number > 3600000) reply->number = 3600000;
        return 1;
    }
    return 0;
}

/* Takes the descriptors that came, closes those beyond the second, and returns how many came. */
static int keybroker__take_descriptors(struct msghdr *message, int descriptors[2]) {
    struct cmsghdr *header;
    int came = 0;
    for (header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
        size_t i, count;
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof descriptor, sizeof descriptor);
            if (came < 2) descriptors[came] = descriptor;
            else close(descriptor);
            came++;
        }
    }
    return came;
}

/* Receives the next packet, which must arrive before `end` (-1: no end), and checks its form and its descriptors. */
static enum keybroker_result keybroker__receive(int connected, const char *path, int64_t end,
                                                struct keybroker__reply *reply, struct keybroker_error *error) {
    struct iovec part;
    struct msghdr message;
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(12 * sizeof(int))];
    } control;
    ssize_t length;
    int ready, came, i, least, most;
    char text[96];
    reply->descriptors[0] = reply->descriptors[1] = -1;
    do {
        /* Without this check, a broker that sends packets without an end would never be timed out. */
        if (end >= 0 && keybroker__now() >= end) return keybroker__no_answer(error, path);
        ready = keybroker__poll(connected, end);
        if (ready < 0) return keybroker__system(error, "poll", NULL, errno);
        if (ready == 0) return keybroker__no_answer(error, path);
        memset(&message, 0, sizeof message);
        memset(&control, 0, sizeof control);
        part.iov_base = reply->packet;
        part.iov_len = keybroker__packet;
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.room;
        message.msg_controllen = sizeof control.room;
        length = recvmsg(connected, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    } while (length < 0 && (errno == EINTR || errno == EAGAIN));
    if (length < 0) {
        return errno == ECONNRESET ? keybroker__without_answer(error, path)
                                   : keybroker__system(error, "recvmsg", NULL, errno);
    }
    came = keybroker__take_descriptors(&message, reply->descriptors);
    if (length == 0) {
        keybroker__drop(reply);
        return keybroker__without_answer(error, path);
    }
    reply->length = (size_t)length;
    reply->packet[length] = 0;
    if (message.msg_flags & MSG_CTRUNC) {
        keybroker__drop(reply);
        return keybroker__short_of(error, "the kernel withheld a descriptor, as it also does if a security module such "
                                          "as SELinux forbids the transfer");
    }
    if ((message.msg_flags & MSG_TRUNC) || !keybroker__parse(reply)) {
        keybroker__drop(reply);
        return keybroker__violation(error, "the reply is malformed");
    }
    least = reply->verb == 'K' || reply->verb == 'k' ? 1 : 0;
    most = 2 * least;
    if (came < least || came > most) {
        keybroker__drop(reply);
        snprintf(text, sizeof text, "%d descriptors came with the reply", came);
        return keybroker__violation(error, text);
    }
    for (i = 0; i < came; i++) {
        struct stat status;
        if (fstat(reply->descriptors[i], &status) < 0 || !S_ISREG(status.st_mode)) {
            keybroker__drop(reply);
            return keybroker__violation(error, "what was handed over is not a regular file");
        }
    }
    return KEYBROKER_OK;
}

/* The error for a caller that did not get what it asked for. */
static enum keybroker_result keybroker__refused(struct keybroker__reply *reply, const char *name,
                                                struct keybroker_error *error) {
    char text[1024];
    unsigned long part;
    int digits = 3;
    keybroker__drop(reply);
    switch (reply->verb) {
    case 'D':
        if (reply->decision == 0) {
            return keybroker__fail(error, KEYBROKER_DENIED, 0,
                                   "key '%s': not permitted; the broker cannot write its audit log, so no record says "
                                   "why",
                                   name);
        }
        return keybroker__fail(error, KEYBROKER_DENIED, reply->decision,
                               "key '%s': not permitted (decision %" PRIu64 "); the audit log has the reason: keybroker "
                               "audit show --seq %" PRIu64,
                               name, reply->decision, reply->decision);
    case 'U':
        if (reply->decision == 0) {
            return keybroker__fail(error, KEYBROKER_UNAVAILABLE, 0,
                                   "key '%s': the broker cannot write its audit log, and grants nothing until it can; "
                                   "the admin finds the cause in the daemon's own messages",
                                   name);
        }
        if (strcmp(reply->text, "policy-faulty") == 0) {
            return keybroker__fail(error, KEYBROKER_UNAVAILABLE, reply->decision,
                                   "the broker's policy is faulty, so it serves nobody (decision %" PRIu64 "); the "
                                   "admin finds the faults with: keybroker policy check",
                                   reply->decision);
        }
        return keybroker__fail(error, KEYBROKER_UNAVAILABLE, reply->decision,
                               "key '%s': permitted, but it cannot be handed over now: %s (decision %" PRIu64 "); the "
                               "audit log says what is wrong with which file: keybroker audit show --seq %" PRIu64,
                               name, reply->text, reply->decision, reply->decision);
    case 'B':
        part = (unsigned long)(reply->number % 1000);
        for (; digits > 1 && part % 10 == 0; digits--) part /= 10;
        keybroker__fail(error, KEYBROKER_BUSY, reply->decision,
                        "the broker is busy (decision %" PRIu64 "): a limit was reached; ask again in %lu.%0*lu "
                        "seconds",
                        reply->decision, (unsigned long)(reply->number / 1000), digits, part);
        if (error) error->retry_after = (long)reply->number;
        return KEYBROKER_BUSY;
    case 'E':
        snprintf(text, sizeof text, "the broker did not understand the request: %s (decision %" PRIu64 ")",
                 reply->text, reply->decision);
        return keybroker__violation(error, text);
    }
    return keybroker__violation(error, "the reply is to another request");
}

static const char *keybroker__socket(const char *path) {
    const char *named = path ? path : secure_getenv("KEYBROKER_SOCKET");
    return named ? named : KEYBROKER_DEFAULT_SOCKET;
}

/* The first answer to a request. Tries again if the broker is busy, does not run or ends, until `deadline`. */
static enum keybroker_result keybroker__exchange(const char *path, const char *packet, const char *name, long wait,
                                                 int *connected, int64_t *end, struct keybroker__reply *reply,
                                                 struct keybroker_error *error) {
    int64_t deadline = keybroker__deadline(wait), pause = 5;
    for (;;) {
        enum keybroker_result result = keybroker__connect(path, connected, error);
        if (!result) {
            *end = keybroker__answer_end(deadline);
            result = keybroker__send(*connected, packet, error);
            if (!result) result = keybroker__receive(*connected, path, *end, reply, error);
            if (!result && reply->verb != 'B') return KEYBROKER_OK;
            close(*connected);
            *connected = -1;
        }
        if (!result) {
            if (keybroker__pause((int64_t)(reply->number ? reply->number : 1), deadline)) continue;
            return keybroker__refused(reply, name, error);
        }
        if (result != KEYBROKER_NOT_RUNNING || !keybroker__pause(pause, deadline)) return result;
        pause = pause * 2 < 200 ? pause * 2 : 200;
    }
}

/* ---- The requests ---- */

static void keybroker__grant(struct keybroker_key *key, const char *name, const struct keybroker__reply *reply) {
    key->key = reply->descriptors[0];
    key->certificate = reply->descriptors[1];
    key->decision = reply->decision;
    key->generation = reply->number;
    memset(key->name, 0, sizeof key->name);
    memcpy(key->name, name, strlen(name));
}

/* Asks with the verb; *connected stays open if a key came. */
static enum keybroker_result keybroker__ask(char verb, const char *path, const char *name, long wait, int *connected,
                                            struct keybroker_key *key, struct keybroker_error *error) {
    struct keybroker__reply reply;
    char packet[KEYBROKER_NAME_ROOM + 2];
    int64_t end;
    enum keybroker_result result;
    memset(key, 0, sizeof *key);
    key->key = key->certificate = -1;
    result = keybroker__check_name(name, error);
    if (result) return result;
    snprintf(packet, sizeof packet, "1%c%s", verb, name);
    result = keybroker__exchange(path, packet, name, wait, connected, &end, &reply, error);
    if (result) return result;
    if (reply.verb == (verb == 'W' ? 'k' : 'K')) {
        keybroker__grant(key, name, &reply);
        return KEYBROKER_OK;
    }
    close(*connected);
    *connected = -1;
    if (verb == 'W' && reply.verb == 'X') reply.verb = 'D';
    return keybroker__refused(&reply, name, error);
}

KEYBROKER_API enum keybroker_result keybroker_get(const char *socket, const char *name, long wait,
                                                  struct keybroker_key *key, struct keybroker_error *error) {
    int connected = -1;
    enum keybroker_result result = keybroker__ask('G', keybroker__socket(socket), name, wait, &connected, key, error);
    if (!result) close(connected);
    return result;
}

KEYBROKER_API void keybroker_close(struct keybroker_key *key) {
    if (key->key >= 0) close(key->key);
    if (key->certificate >= 0) close(key->certificate);
    key->key = key->certificate = -1;
}

KEYBROKER_API enum keybroker_result keybroker_list(const char *socket, long wait, struct keybroker_names *names,
                                                   struct keybroker_error *error) {
    struct keybroker__reply reply;
    const char *path = keybroker__socket(socket);
    int connected = -1;
    int64_t end;
    size_t room = 0;
    enum keybroker_result result;
    names->names = NULL;
    names->count = 0;
    result = keybroker__exchange(path, "1L", "", wait, &connected, &end, &reply, error);
    while (!result) {
        const char *next, *last;
        size_t before = names->count;
        if (reply.verb != 'L') {
            result = keybroker__refused(&reply, "", error);
            break;
        }
        for (next = reply.packet + 2, last = reply.packet + reply.length; next < last && !result; next++) {
            size_t length = strcspn(next, "\n");
            if (length == 0) continue;
            if (names->count == room) {
                size_t more = room ? room * 2 : 64;
                void *grown = realloc(names->names, more * sizeof *names->names);
                if (!grown) {
                    result = keybroker__system(error, "realloc", NULL, ENOMEM);
                    break;
                }
                names->names = (char (*)[KEYBROKER_NAME_ROOM])grown;
                room = more;
            }
            memset(names->names[names->count], 0, sizeof *names->names);
            memcpy(names->names[names->count], next, length);
            /* If each name must be larger than the last, a lying broker cannot send names for ever. */
            if (names->count && strcmp(names->names[names->count - 1], names->names[names->count]) >= 0) {
                result = keybroker__violation(error, "the names are not in their order");
            }
            names->count++;
            if (!result && names->count > keybroker__names) {
                result = keybroker__violation(error, "there are more than 1000000 names");
            }
            next += length;
        }
        /* A packet without names is the end of the list. */
        if (result || names->count == before) break;
        result = keybroker__receive(connected, path, end, &reply, error);
    }
    if (connected >= 0) close(connected);
    if (result) keybroker_free_names(names);
    return result;
}

KEYBROKER_API void keybroker_free_names(struct keybroker_names *names) {
    free(names->names);
    names->names = NULL;
    names->count = 0;
}

KEYBROKER_API enum keybroker_result keybroker_watch_open(const char *socket, const char *name, long wait,
                                                         struct keybroker_watch *watch, struct keybroker_key *key,
                                                         struct keybroker_error *error) {
    const char *path = keybroker__socket(socket);
    enum keybroker_result result;
    memset(watch, 0, sizeof *watch);
    watch->descriptor = -1;
    result = keybroker__ask('W', path, name, wait, &watch->descriptor, key, error);
    if (result) return result;
    memcpy(watch->name, key->name, sizeof watch->name);
    memcpy(watch->socket, path, strlen(path));
    return KEYBROKER_OK;
}

KEYBROKER_API enum keybroker_result keybroker_watch_next(struct keybroker_watch *watch, long timeout,
                                                         struct keybroker_key *key, struct keybroker_error *error) {
    struct keybroker__reply reply;
    enum keybroker_result result;
    int ready;
    memset(key, 0, sizeof *key);
    key->key = key->certificate = -1;
    if (watch->descriptor < 0) return keybroker__not_running(error, watch->socket, "the watch is closed");
    ready = keybroker__poll(watch->descriptor, timeout < 0 ? -1 : keybroker__deadline(timeout));
    if (ready == 0) return keybroker__fail(error, KEYBROKER_NOTHING_NEW, 0, "key '%s': nothing new", watch->name);
    result = ready < 0 ? keybroker__system(error, "poll", NULL, errno)
                       : keybroker__receive(watch->descriptor, watch->socket, -1, &reply, error);
    if (!result && reply.verb == 'k') {
        keybroker__grant(key, watch->name, &reply);
        return KEYBROKER_OK;
    }
    if (!result && reply.verb == 'X') reply.verb = 'D';
    if (!result) result = keybroker__refused(&reply, watch->name, error);
    keybroker_watch_close(watch);
    return result;
}

KEYBROKER_API void keybroker_watch_close(struct keybroker_watch *watch) {
    if (watch->descriptor >= 0) close(watch->descriptor);
    watch->descriptor = -1;
}

/* ---- Reading ---- */

static enum keybroker_result keybroker__unusable(const struct keybroker_key *key, const char *reason,
                                                 struct keybroker_error *error) {
    return keybroker__fail(error, KEYBROKER_UNUSABLE_FILE, 0,
                           "key '%s': the file that was handed over cannot be read: %s", key->name, reason);
}

static enum keybroker_result keybroker__unreadable(const struct keybroker_key *key, const char *call, int code,
                                                   struct keybroker_error *error) {
    char text[256];
    keybroker__describe(text, sizeof text, call, NULL, code);
    return keybroker__unusable(key, text, error);
}

/* Whether the file may have been written to, or cut, between the two. st_ctim would not do: it also changes if another file
 * takes this one's place. */
static int keybroker__has_changed(const struct stat *before, const struct stat *after) {
    return before->st_size != after->st_size || before->st_mtim.tv_sec != after->st_mtim.tv_sec
           || before->st_mtim.tv_nsec != after->st_mtim.tv_nsec;
}

static enum keybroker_result keybroker__read(const struct keybroker_key *key, int descriptor,
                                             struct keybroker_secret *secret, struct keybroker_error *error) {
    struct stat before, after;
    void *pages;
    memset(secret, 0, sizeof *secret);
    if (fstat(descriptor, &before) < 0) return keybroker__unreadable(key, "fstat", errno, error);
    if (before.st_size > KEYBROKER_KEY_BYTES) return keybroker__unreadable(key, "read", EFBIG, error);
    /* One byte more than the size, to notice a file that grows meanwhile. */
    pages = mmap(NULL, (size_t)before.st_size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return keybroker__unreadable(key, "mmap", errno, error);
    secret->bytes = (unsigned char *)pages;
    secret->room = (size_t)before.st_size + 1;
    /* All may fail: the key is useful even if RLIMIT_MEMLOCK is low. */
    (void)mlock(pages, secret->room);
    (void)madvise(pages, secret->room, MADV_DONTDUMP);
#ifdef MADV_WIPEONFORK
    (void)madvise(pages, secret->room, MADV_WIPEONFORK);
#endif
    while (secret->count < secret->room) {
        ssize_t count = pread(descriptor, secret->bytes + secret->count, secret->room - secret->count,
                              (off_t)secret->count);
        if (count == 0) break;
        if (count < 0 && errno != EINTR) {
            int code = errno;
            keybroker_wipe(secret);
            return keybroker__unreadable(key, "pread", code, error);
        }
        if (count > 0) secret->count += (size_t)count;
    }
    if (fstat(descriptor, &after) < 0) {
        int code = errno;
        keybroker_wipe(secret);
        return keybroker__unreadable(key, "fstat", code, error);
    }
    if (secret->count == (size_t)before.st_size && !keybroker__has_changed(&before, &after)) return KEYBROKER_OK;
    keybroker_wipe(secret);
    return keybroker__unusable(key, "it changed while it was read", error);
}

KEYBROKER_API enum keybroker_result keybroker_read_key(const struct keybroker_key *key,
                                                       struct keybroker_secret *secret,
                                                       struct keybroker_error *error) {
    return keybroker__read(key, key->key, secret, error);
}

KEYBROKER_API enum keybroker_result keybroker_read_certificate(const struct keybroker_key *key,
                                                               struct keybroker_secret *secret,
                                                               struct keybroker_error *error) {
    memset(secret, 0, sizeof *secret);
    return key->certificate < 0 ? KEYBROKER_OK : keybroker__read(key, key->certificate, secret, error);
}

KEYBROKER_API void keybroker_wipe(struct keybroker_secret *secret) {
    if (secret->bytes) {
        explicit_bzero(secret->bytes, secret->room);
        munmap(secret->bytes, secret->room);
    }
    memset(secret, 0, sizeof *secret);
}

#ifdef __cplusplus
}
#endif

#endif /* KEYBROKER_IMPLEMENTATION */
