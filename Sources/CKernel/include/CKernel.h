// The calls of Linux that Swift cannot import from Glibc: ancillary data, peer credentials, sockets'
// addresses, epoll, signalfd, inotify, variadic calls and capabilities.
//
// Each function is one step and says which. Nothing in here decides, allocates or keeps state.
// Every function that can fail returns the negative errno instead of setting it, so that no other
// call can come between a failure and its reason; zero or more is success.

#ifndef CKERNEL_H
#define CKERNEL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/types.h>

// ---- errors ---------------------------------------------------------------------------------

// "EACCES" and "Permission denied"; NULL where the C library knows no such number. Both are static
// strings of the C library (strerrorname_np(3)), so they need no buffer and no locale.
const char *ck_error_name(int error);
const char *ck_error_text(int error);

// ---- Unix sockets ---------------------------------------------------------------------------

// The longest path that fits a socket's address, without its final NUL.
enum { ck_longest_socket_path = 107 };

// socket(AF_UNIX, SOCK_SEQPACKET), close-on-exec and non-blocking.
int ck_seqpacket_socket(void);
// bind(2), connect(2) to a path that is NUL-terminated; ENAMETOOLONG where it does not fit.
int ck_bind(int socket, const char *path);
int ck_connect(int socket, const char *path);
// accept4(2), close-on-exec and non-blocking, without the peer's address (a client seldom has one).
int ck_accept(int socket);
// 1 where the descriptor is a listening SOCK_SEQPACKET socket of AF_UNIX, 0 where it is anything else.
int ck_is_seqpacket_listener(int descriptor);
// SO_PASSRIGHTS = 0: a peer's SCM_RIGHTS fails at the peer. Sockets accepted later inherit it.
// ENOPROTOOPT before Linux 6.16, where ck_receive with no room for descriptors drops them instead.
int ck_refuse_descriptors(int socket);
// SIOCOUTQ: bytes that the peer has not read yet (with the kernel's own overhead); 0 if it read all.
int ck_unread_by_peer(int socket);

// sendmsg(2) of one packet, with 0 to 2 descriptors as SCM_RIGHTS. MSG_NOSIGNAL, never blocks.
int ck_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count);

// socket(AF_UNIX, SOCK_DGRAM), close-on-exec.
int ck_datagram_socket(void);
// sendto(2) of one datagram to the socket at a path. MSG_NOSIGNAL, never blocks.
int ck_send_to(int socket, const char *path, const void *bytes, size_t count);

struct ck_credentials {
    int32_t pid;
    uint32_t uid, gid;
};

struct ck_received {
    size_t length;            // of the packet as it was sent, even where the buffer was shorter
    size_t descriptor_count;  // how many came, at the most the room that was given
    int excess_descriptors;   // how many more came: they are closed already
    int bytes_cut;            // MSG_TRUNC: the packet was longer than the buffer
    int descriptors_cut;      // MSG_CTRUNC: the kernel withheld at least one descriptor
    int32_t sender;           // SCM_CREDENTIALS: the pid of the sender as seen from here; 0 where unknown
};
// recvmsg(2) of one packet; descriptors come close-on-exec. With descriptor_room 0 there is no
// control buffer, so the kernel drops what descriptors the peer sent. At most 4 can be asked for.
int ck_receive(int socket, void *bytes, size_t room, int *descriptors, size_t descriptor_room,
               struct ck_received *received);

// SO_PASSCRED: from now on each packet says which process sent it.
int ck_want_senders(int socket);

// ---- who the peer is ------------------------------------------------------------------------

// SO_PEERCRED: as it was at connect(2) or, asked at the client's end, at listen(2).
int ck_peer_credentials(int socket, struct ck_credentials *credentials);
// SO_PEERGROUPS: the number of groups, or -ERANGE with *count set to the room that is needed.
int ck_peer_groups(int socket, uint32_t *groups, uint32_t *count);
// SO_PEERPIDFD (Linux 6.5): a new descriptor. Before that ENOPROTOOPT; of a reaped peer EINVAL or ESRCH.
int ck_peer_pidfd(int socket);
// pidfd_open(2), pidfd_send_signal(2).
int ck_open_process(int32_t pid);
int ck_signal_process(int pidfd, int signal);
// poll(2) of a pidfd: 1 where that process still runs, 0 where it has ended.
int ck_is_running(int pidfd);

// ---- what is ready --------------------------------------------------------------------------

// struct epoll_event without its union, of which only u64 is ever used.
#ifdef __x86_64__
#define ck_as_the_kernel __attribute__((packed))
#else
#define ck_as_the_kernel
#endif
struct ck_event {
    uint32_t events;
    uint64_t token;
} ck_as_the_kernel;
enum { ck_readable = 0x1, ck_writable = 0x4, ck_broken = 0x8, ck_hung_up = 0x10, ck_peer_done = 0x2000 };

// epoll_create1(2), close-on-exec.
int ck_epoll(void);
// epoll_ctl(2): EPOLL_CTL_ADD, or EPOLL_CTL_MOD where `is_known`.
int ck_epoll_set(int epoll, int is_known, int descriptor, uint32_t events, uint64_t token);
// epoll_ctl(2): EPOLL_CTL_DEL.
int ck_epoll_remove(int epoll, int descriptor);
// epoll_wait(2).
int ck_epoll_wait(int epoll, struct ck_event *events, int room, int milliseconds);

// ---- files ----------------------------------------------------------------------------------

// openat(2) with O_PATH|O_NOFOLLOW|O_CLOEXEC: a handle of the thing itself, a symbolic link included.
int ck_open_handle(int directory, const char *name);
// open(2) with O_PATH|O_CLOEXEC: a handle of what the path leads to.
int ck_open_target(const char *path);
// openat(2) with O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC: never blocks, even on a FIFO.
int ck_open_for_reading(int directory, const char *name);
// openat(2) with O_RDWR|O_APPEND|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC.
int ck_open_for_appending(const char *path, uint32_t mode);
// openat(2) with O_RDONLY|O_DIRECTORY|O_CLOEXEC.
int ck_open_directory(const char *path);
// A description of one's own of what a descriptor is open on, if that is a terminal or a pipe: O_WRONLY, non-blocking,
// close-on-exec. -EINVAL if it is anything else.
int ck_open_stream_again(int descriptor);

// Opens /dev/null for each of the descriptors 0 to 2 that is closed.
int ck_open_closed_streams(void);

// Writes if that can be done at once: EAGAIN if it cannot. `descriptor` may be shared with other programs, so its
// flags stay as they are: sendmsg(MSG_DONTWAIT) on a socket, write(2) on a regular file, which never waits for a
// reader, pwritev2(RWF_NOWAIT) on anything else, or poll(2) and write(2) where the kernel cannot do that (before
// Linux 6.4, and on terminals). `count` is at most PIPE_BUF: a pipe takes that whole or not at all.
int ck_write_at_once(int descriptor, const void *bytes, size_t count);

// ---- walls around the process ---------------------------------------------------------------

// landlock_create_ruleset(2): the version of Landlock that the kernel has, from 1; ENOSYS or EOPNOTSUPP
// where it has none.
int ck_landlock_version(void);
// A new rule set, in which all that a kernel of that version knows is denied: with `reads_anything` all but
// reading. Connecting to abstract sockets can be kept.
int ck_landlock_ruleset(int version, int reads_anything, int keeps_abstract_sockets);
enum { ck_may_read = 1, ck_may_list = 2, ck_may_write = 4, ck_may_remove = 8 };
// landlock_add_rule(2): what may be done below the directory, of which `handle` is one, or to the file itself.
int ck_landlock_allow(int ruleset, int version, int handle, int may);
// landlock_restrict_self(2): for good.
int ck_landlock_restrict(int ruleset);
// A seccomp filter for good: the calls that a broker needs once it serves, EPERM for all others.
int ck_seccomp_restrict(void);
// Keeps no capabilities but those of the bit set, and none that a program could inherit.
int ck_keep_capabilities(uint64_t capabilities);
// fork(2): the child's pid in the parent, 0 in the child, which ends when its parent does. `socket` is
// its end of a pair of SOCK_SEQPACKET in each: descriptor 3 in the child, where nothing else is open but
// /dev/null as 0 to 2.
int ck_child(int *socket);
// execve(2) of this very program, with one argument and no environment. It returns only where that failed.
int ck_execute_again(const char *argument);
// prctl(PR_SET_NAME): what ps(1) calls the process, at most 15 bytes.
int ck_name_process(const char *name);

// ---- the process ----------------------------------------------------------------------------

enum { ck_cap_dac_read_search = 2 };

// The effective capabilities as a bit set (capget(2)).
int ck_effective_capabilities(uint64_t *set);
// From root to uid and gid, without supplementary groups, with `capabilities` (a bit set) as all that
// is permitted, effective and in the bounding set; nothing is inheritable or ambient.
int ck_become(uint32_t uid, uint32_t gid, uint64_t capabilities);
// no_new_privs, not dumpable, RLIMIT_CORE 0 (prctl(2), setrlimit(2)).
int ck_harden(void);
// RLIMIT_NOFILE: raises the soft limit to the hard one and returns it (at most INT_MAX).
int ck_raise_descriptor_limit(void);
// fcntl(F_SETFD, FD_CLOEXEC) and O_NONBLOCK, for a descriptor that was inherited.
int ck_adopt(int descriptor);
// eventfd(2), close-on-exec and non-blocking.
int ck_eventfd(void);
// A datagram to the service manager's socket, `@` in front meaning an abstract address (sd_notify(3)).
int ck_notify(const char *address, const void *bytes, size_t count);
// secure_getenv(3).
const char *ck_environment(const char *name);
// madvise(2): the pages stay out of core dumps and are zero in a child.
int ck_keep_private(void *bytes, size_t count);

#endif
