// Waiting for events: epoll and eventfd. And a thread that does not wait: its timer interrupts it.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// ck_event must have the kernel's layout, which is packed on x86-64 only.
_Static_assert(sizeof(struct ck_event) == sizeof(struct epoll_event), "ck_event");
_Static_assert(offsetof(struct ck_event, token) == offsetof(struct epoll_event, data), "ck_event");
_Static_assert(ck_readable == EPOLLIN && ck_writable == EPOLLOUT && ck_broken == EPOLLERR, "events");
_Static_assert(ck_hung_up == EPOLLHUP && ck_peer_done == EPOLLRDHUP, "events");

int ck_epoll(void) { return outcome(epoll_create1(EPOLL_CLOEXEC)); }

int ck_epoll_set(int epoll, int is_known, int descriptor, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return outcome(epoll_ctl(epoll, is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event));
}

int ck_epoll_remove(int epoll, int descriptor) { return outcome(epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, NULL)); }

int ck_epoll_wait(int epoll, struct ck_event *events, int room, int milliseconds) {
    return outcome(epoll_wait(epoll, (struct epoll_event *)events, room, milliseconds));
}

int ck_eventfd(void) { return outcome(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

// ---- a thread that is interrupted -----------------------------------------------------------

static void do_nothing(int signal) { (void)signal; }

int ck_interrupting_timer(void) {
    // Without SA_RESTART.
    struct sigaction action = {.sa_handler = do_nothing};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    if (sigaction(SIGUSR2, &action, NULL) < 0) return -errno;
    int error = pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    if (error != 0) return -error;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    event._sigev_un._tid = gettid();
    // The kernel's own numbers of timers begin with 0.
    int timer;
    int result = outcome(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer));
    return result < 0 ? result : timer;
}

void ck_close_interrupted(int timer, int descriptor, int is_connection) {
    // Again and again: the first signal may come before the thread waits.
    const struct timespec millisecond = {.tv_nsec = 1000000};
    const struct itimerspec each = {.it_interval = millisecond, .it_value = millisecond}, never = {.it_value = {0}};
    if (timer >= 0) syscall(SYS_timer_settime, timer, 0, &each, NULL);
    // A packet that brings descriptors takes the whole millisecond if they linger. All of a queue take one together, as the
    // signal stays pending while the kernel closes them.
    struct ck_received received;
    for (int left = is_connection ? 8 : 0; left > 0; left--)
        if (ck_look(descriptor, NULL, 0, &received) <= 0 || ck_drop_packet(descriptor) < 0) break;
    close(descriptor);
    if (timer >= 0) syscall(SYS_timer_settime, timer, 0, &never, NULL);
}
