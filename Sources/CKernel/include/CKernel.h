// Linux system calls that Swift cannot import from Glibc: ancillary data, peer credentials, socket addresses, epoll,
// signalfd, inotify, variadic functions and capabilities.
//
// Each function does one step, and its comment names the system call. Must never decide anything, allocate memory or
// keep state; only Arguments.c keeps what the program was started with. A function that can fail returns the negative
// errno and does not set errno, so that no other call can change it first. Zero or more is success.

#ifndef CKERNEL_H
#define CKERNEL_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/types.h>

// ---- errors ---------------------------------------------------------------------------------

// The name and the text of an errno: "EACCES" and "Permission denied". NULL if the C library does not know the number.
// Both are static strings (strerrorname_np(3)), so they need no buffer and do not depend on the locale.
const char *ck_error_name(int error);
const char *ck_error_text(int error);

// ---- Unix sockets ---------------------------------------------------------------------------

// The longest path that fits into a socket address, in bytes without the final NUL.
enum { ck_longest_socket_path = 107 };

// socket(AF_UNIX, SOCK_SEQPACKET), close-on-exec and non-blocking.
int ck_seqpacket_socket(void);
// socket(AF_UNIX, SOCK_STREAM), close-on-exec and non-blocking.
int ck_stream_socket(void);
// bind(2) and connect(2) to a NUL-terminated path. ENAMETOOLONG if it does not fit into the address.
int ck_bind(int socket, const char *path);
int ck_connect(int socket, const char *path);
// connect(2) that waits for room in the listener's queue for at most so long (SO_SNDTIMEO), and then fails with EAGAIN.
// The socket may be non-blocking, and stays so.
int ck_connect_within(int socket, const char *path, int milliseconds);
// accept4(2), close-on-exec and non-blocking. The peer's address is not read, because a client seldom has one.
int ck_accept(int socket);
// accept4(2), the same, with the name of the peer's socket: at most `room` bytes of it, without the address family. An
// abstract name begins with a NUL. *length is 0 if the socket has no name.
int ck_accept_named(int socket, uint8_t *name, size_t room, size_t *length);
// 1 if the descriptor is a listening SOCK_SEQPACKET, or SOCK_STREAM, socket of AF_UNIX, else 0.
int ck_is_seqpacket_listener(int descriptor);
int ck_is_stream_listener(int descriptor);
// SO_PASSRIGHTS = 0: if a peer sends descriptors (SCM_RIGHTS), its call fails. Sockets that are accepted later inherit
// this. ENOPROTOOPT before Linux 6.16. There, ck_receive without room for descriptors drops them.
int ck_refuse_descriptors(int socket);
// SIOCOUTQ: bytes that the peer has not read yet, with the kernel's overhead. 0 if it has read everything.
int ck_unread_by_peer(int socket);

// sendmsg(2) of one packet with 0 to 2 descriptors as SCM_RIGHTS. Uses MSG_NOSIGNAL and never blocks.
int ck_send(int socket, const void *bytes, size_t count, const int *descriptors, size_t descriptor_count);

// sendfile(2): passes at most `count` bytes of a file, from `offset` on, to a socket, without reading them into this
// process. Returns their number, which is 0 at the end of the file. EAGAIN if a non-blocking socket has no room.
// Raises SIGPIPE if the peer has gone, so that signal must be ignored.
int64_t ck_send_file(int socket, int file, int64_t offset, size_t count);

// socket(AF_UNIX, SOCK_DGRAM), close-on-exec.
int ck_datagram_socket(void);
// sendto(2) of one datagram to the socket at a path. Uses MSG_NOSIGNAL and never blocks.
int ck_send_to(int socket, const char *path, const void *bytes, size_t count);

struct ck_credentials {
    int32_t pid;
    uint32_t uid, gid;
};

struct ck_received {
    size_t length;            // of the packet as it was sent, even if the buffer was shorter
    size_t descriptor_count;  // descriptors that were received; at most descriptor_room
    int excess_descriptors;   // further descriptors, which are closed already
    int bytes_cut;            // MSG_TRUNC: the packet was longer than the buffer
    int descriptors_cut;      // MSG_CTRUNC: the kernel dropped at least one descriptor
    int32_t sender;           // SCM_CREDENTIALS: the sender's pid as seen from here; 0 if unknown
};
// recvmsg(2) of one packet. Descriptors are close-on-exec, and at most 253 can be received, which is as many as the kernel
// takes. If descriptor_room is 0, there is no control buffer, and the kernel drops the descriptors that the peer sent.
int ck_receive(int socket, void *bytes, size_t room, int *descriptors, size_t descriptor_room,
               struct ck_received *received);

// SO_PASSCRED: from now on, each packet says which process sent it.
int ck_want_senders(int socket);
// recvmsg(MSG_PEEK) after that: the packet stays in the queue, and descriptors_cut says if it has descriptors. 0: the end.
int ck_look(int socket, void *bytes, size_t room, struct ck_received *received);
// recvfrom(2): takes the next packet away, and closes its descriptors, however long that takes.
int ck_drop_packet(int socket);

// ---- who the peer is ------------------------------------------------------------------------

// SO_PEERCRED: the ids at the time of connect(2). At the client's end: at the time of listen(2).
int ck_peer_credentials(int socket, struct ck_credentials *credentials);
// SO_PEERGROUPS: returns the number of groups. If there is too little room, returns -ERANGE and sets *count to the
// number that is needed.
int ck_peer_groups(int socket, uint32_t *groups, uint32_t *count);
// SO_PEERPIDFD (Linux 6.5): a new descriptor. ENOPROTOOPT on older kernels; EINVAL or ESRCH if the peer was reaped.
int ck_peer_pidfd(int socket);
// pidfd_open(2), pidfd_send_signal(2).
int ck_open_process(int32_t pid);
int ck_signal_process(int pidfd, int signal);
// The process's name, from /proc/PID/comm: returns its length, which includes a line feed at its end.
int ck_name_of_process(int32_t pid, char *name, size_t room);
// PIDFD_GET_INFO (Linux 6.13): the number of the process's control group in the cgroup2 hierarchy. ENOTTY or EINVAL on
// older kernels, ESRCH if the process was reaped.
enum { ck_process_info = 0xC040FF0B };
int ck_cgroup_of_process(int pidfd, uint64_t *cgroup);
// poll(2) of a pidfd: 1 if the process still runs, 0 if it has ended.
int ck_is_running(int pidfd);

// ---- what is ready --------------------------------------------------------------------------

// struct epoll_event without its union: only u64 is used.
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
// EPOLLET: what is ready is reported once.
static const uint32_t ck_once = 1U << 31;

// epoll_create1(2), close-on-exec. epoll_ctl(2): EPOLL_CTL_MOD if `is_known`, else EPOLL_CTL_ADD; EPOLL_CTL_DEL. epoll_wait(2).
int ck_epoll(void);
int ck_epoll_set(int epoll, int is_known, int descriptor, uint32_t events, uint64_t token);
int ck_epoll_remove(int epoll, int descriptor);
int ck_epoll_wait(int epoll, struct ck_event *events, int room, int milliseconds);

// ---- files ----------------------------------------------------------------------------------

// openat(2) with O_PATH|O_NOFOLLOW|O_CLOEXEC: a handle of the file itself, even if it is a symbolic link.
int ck_open_handle(int directory, const char *name);
// statx(2) with AT_STATX_DONT_SYNC: the number of the mount that a handle is on, without asking its file system. If it is
// unique, it is never that of another mount (STATX_MNT_ID_UNIQUE, Linux 6.8); else a later mount may have it too
// (STATX_MNT_ID, Linux 5.8). -ENODATA if the kernel does not tell.
int ck_mount_number(int handle, int is_unique, uint64_t *number);
// open(2) with O_PATH|O_CLOEXEC: a handle of what the path leads to.
int ck_open_target(const char *path);
// openat(2) with O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC: never blocks, even on a FIFO.
int ck_open_for_reading(int directory, const char *name);
// openat(2) with O_RDWR|O_APPEND|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_NOCTTY|O_CLOEXEC. With O_TMPFILE: a new file without a name.
int ck_open_for_appending(const char *path, uint32_t mode);
int ck_open_unnamed(const char *directory, uint32_t mode);
// openat(2) with O_RDONLY|O_DIRECTORY|O_CLOEXEC.
int ck_open_directory(int directory, const char *name);
// Copies the first bytes of a file into a file in memory (memfd_create(2), sendfile(2)), and returns that. -ENODATA if the
// file is shorter.
int ck_copy_in_memory(int file, size_t size);
// Opens what a descriptor is open on again, as a new file description: O_WRONLY, non-blocking, close-on-exec. -EINVAL
// if it is neither a terminal nor a pipe.
int ck_open_stream_again(int descriptor);

// Opens /dev/null for each of the descriptors 0 to 2 that is closed. An executed program has them closed again.
int ck_open_closed_streams(void);

// Writes if that is possible at once; EAGAIN if it is not. Other programs may share `descriptor`, so its flags are not
// changed. Uses sendmsg(MSG_DONTWAIT) on a socket; write(2) on a regular file, which never waits for a reader; and
// pwritev2(RWF_NOWAIT) on anything else. If the kernel cannot do that (before Linux 6.4, and on terminals), it uses
// poll(2) and write(2). `count` must be at most PIPE_BUF: a pipe takes that many bytes whole or not at all.
int ck_write_at_once(int descriptor, const void *bytes, size_t count);

// ---- sandbox --------------------------------------------------------------------------------

// landlock_create_ruleset(2): the kernel's version of Landlock, from 1. ENOSYS or EOPNOTSUPP if it has none.
int ck_landlock_version(void);
enum { ck_keeps_abstract_sockets = 1, ck_keeps_signals = 2 };
// A new rule set that denies all that this version of Landlock can deny. With `reads_anything`, reading stays
// permitted. `keeps` says whether connecting to abstract Unix sockets and sending signals stay so too.
int ck_landlock_ruleset(int version, int reads_anything, int keeps);
enum { ck_may_read = 1, ck_may_list = 2, ck_may_write = 4, ck_may_remove = 8 };
// landlock_add_rule(2): what is permitted on the file that `handle` is open on, or below that directory.
int ck_landlock_allow(int ruleset, int version, int handle, int may);
// landlock_restrict_self(2). It cannot be undone.
int ck_landlock_restrict(int ruleset);
// Installs a seccomp filter that permits only the calls that the daemon needs while it serves. All others fail with
// EPERM. For the process that opens keys, inotify_add_watch(2) and memfd_create(2) are permitted as well. It counts for
// the calling thread, and cannot be undone.
int ck_seccomp_restrict(int is_opener);
// Installs that filter for the calling thread, and has it wait for ever (poll(2)). It ends with its process.
_Noreturn void ck_wait_for_ever(int is_opener);
// Has the calling thread wait for ever, in a call that the filter of the process that signs permits (futex(2)).
_Noreturn void ck_wait_unconfined(void);
// Gives up all capabilities that are not in the bit set, and all that an executed program could inherit.
int ck_keep_capabilities(uint64_t capabilities);
// fork(2): returns the child's pid in the parent and 0 in the child, which is killed when its parent ends. `socket`
// becomes the caller's end of a SOCK_SEQPACKET pair. In the child that is descriptor 3; the only other open descriptors
// are 0 to 2, which are /dev/null.
int ck_child(int *socket);
// execve(2) of the running program, with one argument and an empty environment. Without /proc it executes what is now at
// the path that the program was started by. It returns only if that fails.
int ck_execute_again(const char *argument);
// prctl(PR_SET_NAME): the process's name in ps(1), at most 15 bytes.
int ck_name_process(const char *name);

// ---- the process ----------------------------------------------------------------------------

enum { ck_cap_dac_read_search = 2 };

// The effective capabilities as a bit set (capget(2)).
int ck_effective_capabilities(uint64_t *set);
// Changes from root to uid and gid, without supplementary groups. `capabilities` (a bit set) become the permitted,
// effective and bounding sets. The inheritable and ambient sets become empty.
int ck_become(uint32_t uid, uint32_t gid, uint64_t capabilities);
// Sets no_new_privs, not dumpable, and RLIMIT_CORE 0 (prctl(2), setrlimit(2)).
int ck_harden(void);
// RLIMIT_NOFILE: raises the soft limit to the hard limit and returns it (at most INT_MAX).
int ck_raise_descriptor_limit(void);
// Sets FD_CLOEXEC and O_NONBLOCK with fcntl(2) on an inherited descriptor.
int ck_adopt(int descriptor);
// eventfd(2), close-on-exec and non-blocking.
int ck_eventfd(void);
// timer_create(2): a timer that interrupts the calling thread with SIGUSR2.
int ck_interrupting_timer(void);
// close(2), of a connection after its packets were dropped; interrupted after each millisecond, unless `timer` is negative.
void ck_close_interrupted(int timer, int descriptor, int is_connection);
// A socket for messages to the service manager, connected to its socket if that is there.
int ck_notify_socket(const char *address);
// Sends a datagram to the service manager's socket. `@` at the start means an abstract address (sd_notify(3)).
// Waits for room there if `waits` is not 0.
int ck_notify(int socket, const char *address, const void *bytes, size_t count, int waits);
// An argument of the program; 0 is its name. NULL if there are not that many. The string lives as long as the process.
const char *ck_argument(int number);
// secure_getenv(3).
const char *ck_environment(const char *name);
// madvise(2): keeps the pages out of core dumps, and makes them zero in a child process.
int ck_keep_private(void *bytes, size_t count);

// ---- another program ------------------------------------------------------------------------

// memfd_create(2): an empty file in memory with mode 0400, close-on-exec. It takes seals, and from Linux 6.3 on it can
// never be executed.
int ck_memory_file(const char *name);
// pwrite(2). Beyond the limit of file sizes (RLIMIT_FSIZE) it only fails with EFBIG: there is no SIGXFSZ.
long ck_write_unsignalled(int file, const void *bytes, size_t count, long offset);
// fcntl(F_ADD_SEALS): the content and the size can never change again.
int ck_seal(int file);
// 1 if the descriptor is open and an executed program would have it too, else 0.
int ck_survives_execution(int descriptor);
// dup2(2), fcntl(2): gives each descriptor its number, under which an executed program has it. What is open under such a
// number is closed. The old numbers stay open and close-on-exec, unless a new one is the same.
int ck_pass_on(int descriptors[], const int numbers[], size_t count);
// execvp(3) with the environment as it is. It returns only if that fails.
int ck_execute(char *const arguments[]);
// prctl(PR_SET_DUMPABLE): until the next execve(2), other processes of the same account can neither trace this one nor
// read its memory, and it leaves no core dump.
int ck_forbid_tracing(void);

// ---- a process beside it --------------------------------------------------------------------

// fork(2), twice: 1 in a new process, which is no child of this one and has a session of its own, and 0 in this one.
// Nothing of it is left here: no child, and no SIGCHLD.
int ck_fork_aside(void);
// Standard input becomes /dev/null, and standard output the same as standard error. An executed program has all three,
// even if /dev/null stands for a standard error that was closed.
int ck_leave_streams(void);
// posix_spawn(3): runs /bin/sh -c with this signal mask, the environment as it is, and a process group of its own. Returns
// the pid of the child.
int ck_start_shell(const char *command, const sigset_t *mask);
// Shows the process in ps(1) with this command line, as far as there is room in the old one.
void ck_show_as(const char *title);
// open(2) of what the descriptor is open on, as a new file description: O_RDONLY, close-on-exec.
int ck_open_again(int descriptor);
// fcntl(F_ADD_SEALS): the file takes no more seals.
int ck_forbid_seals(int file);
// The number of a signal by its name, "HUP" or "SIGHUP"; 0 if there is none of that name. And its name, without "SIG", or
// NULL.
int ck_signal_number(const char *name);
const char *ck_signal_name(int number);

// ---- programs and files that people work with -------------------------------------------------

// posix_spawn(3) of `/bin/sh -c SCRIPT sh ARGUMENT`, with the terminal, and with SIGINT, SIGQUIT and SIGPIPE as they are by
// default. `argument` may be NULL. If `input` is not negative, it becomes the standard input. Returns the pid.
int ck_start_in_foreground(const char *script, const char *argument, int input);
// open(2) with O_RDWR|O_CREAT|O_EXCL|O_NOFOLLOW|O_NOCTTY|O_CLOEXEC: EEXIST if something of that name is there.
int ck_create_file(const char *path, uint32_t mode);
// rename(2).
int ck_rename(const char *from, const char *to);

// ---- the signer -------------------------------------------------------------------------------

// Installs a seccomp filter that permits only the calls that the signer needs while it serves. All others fail with EPERM.
// It cannot be undone.
int ck_seccomp_signing(void);
// setrlimit(RLIMIT_MEMLOCK): no limit. EPERM for anyone but root.
int ck_raise_lock_limit(void);
// mlockall(2) of all pages, now and later. They get memory only when they are used, but count against the limit as soon as
// they are mapped. ENOMEM if that is too low.
int ck_lock_all_memory(void);
// setrlimit(2): no more processes or threads (RLIMIT_NPROC), and no bytes in files (RLIMIT_FSIZE).
int ck_forbid_making(void);
// fork(2): 0 in the child, which has all descriptors of its parent.
int ck_fork(void);
// waitpid(2): the exit status of the child, or 128 and the number of the signal that ended it.
int ck_wait(int child);
// execve(2) with at most two arguments, of which an empty one is none, and an empty environment. Returns only if that fails.
int ck_execute_program(const char *path, const char *first, const char *second);
// socketpair(AF_UNIX, SOCK_SEQPACKET), close-on-exec and non-blocking.
int ck_socket_pair(int pair[2]);
// 1 if the descriptor is a SOCK_SEQPACKET socket of AF_UNIX that does not listen, else 0.
int ck_is_seqpacket_end(int descriptor);

#endif
