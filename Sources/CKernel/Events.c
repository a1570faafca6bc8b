// Waiting for events: epoll and eventfd.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

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
