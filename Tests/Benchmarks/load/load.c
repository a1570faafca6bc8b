// The load generator: one program for all servers, so that the client costs the same for each.
//
// load -k PROTOCOL -a ADDRESS [-p PID] [-u UID] [-c CLIENTS] [-t THREADS] [-o] [-s SECONDS | -n COUNT] [-r RATE]
//      [-K KEYS] [-b] [-U UIDS]
// load -k PROTOCOL -a ADDRESS -H 0|G|W [-u UID] [-c CLIENTS]
//
// -o  each client keeps its connection; else each request is socket, connect, request, reply, close
// -r  requests arrive at random at this rate, whatever the server does (open loop), and a request waits from the moment
//     when it was due. Without it each client asks again as soon as it has its reply (closed loop).
// -K  the numbers of the keys k0, k1, ... that are asked for at random
// -U  the clients have so many different uids, from UID on: each changes its uid before it connects
// -b  the client reads the key that it was given
// -p  the server, whose processor time is read
// -H  opens the connections, makes the request on each (0 is none), prints "ready", and ends with its standard input
//
// It warms up for a tenth of the time, at most half a second. Must never measure a time in which not all clients ran.

#include "target.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static struct target target;
static pid_t server;
static unsigned client_count = 1, thread_count = 1, key_count = 1;
static bool keeps_open;
static double duration = 1, rate;
static uint64_t wanted;
static uid_t first_uid, uid_count = 1;

static atomic_bool is_measuring, is_over;
static atomic_ulong completed;
static atomic_uint running;

struct slot {
    int fd;
    uint64_t since, resume;  // resume: when to ask again after a busy reply, or 0
};

struct worker {
    pthread_t thread;
    unsigned clients;
    struct samples samples;
    uint64_t busy, random;
};

static unsigned some_key(struct worker *worker) { return (unsigned)(next_random(&worker->random) % key_count); }

static int connected(unsigned index) {
    // The calls of the kernel itself, which change the uid of this thread alone.
    if (uid_count > 1 && (syscall(SYS_setresuid, -1, 0, -1) < 0
                          || syscall(SYS_setresuid, -1, first_uid + index % uid_count, -1) < 0)) fail("setresuid");
    for (;;) {
        int fd = dial(&target);
        if (fd >= 0) return fd;
        if (errno != EAGAIN && errno != ECONNRESET) fail("connect");
        usleep(1000);
    }
}

static void finished(struct worker *worker, uint64_t since) {
    if (!atomic_load_explicit(&is_measuring, memory_order_relaxed)) return;
    note(&worker->samples, now() - since);
    if (wanted && atomic_fetch_add_explicit(&completed, 1, memory_order_relaxed) + 1 >= wanted) is_over = true;
}

// One client with blocking calls: nothing but the exchange itself.
static void run_one(struct worker *worker) {
    int fd = -1;
    running++;
    while (!is_over) {
        uint64_t since = now();
        if (fd < 0) fd = connected(0);
        // If sending fails, the server has said why, and has closed.
        bool sent = ask(fd, &target, 'G', some_key(worker));
        enum outcome outcome = take(fd, &target, 0);
        if (outcome == GRANTED && !sent) fail("a grant without a request");
        if (outcome != GRANTED || !keeps_open) {
            close(fd);
            fd = -1;
        }
        if (outcome == GRANTED) finished(worker, since);
        else worker->busy++;
        if (outcome == BUSY) usleep(target.pause * 1000);
    }
    if (fd >= 0) close(fd);
}

static void begin(struct worker *worker, int poller, struct slot *slots, unsigned index, uint64_t since) {
    struct slot *slot = &slots[index];
    slot->since = since;
    slot->resume = 0;
    if (slot->fd < 0) {
        slot->fd = connected(index);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, slot->fd, &event) < 0) fail("epoll_ctl");
    }
    (void)ask(slot->fd, &target, 'G', some_key(worker));
}

// The time to the next arrival: requests of many independent clients come as a Poisson process.
static uint64_t gap(struct worker *worker) {
    double share = (double)(next_random(&worker->random) >> 11) / 9007199254740992.0;
    return (uint64_t)(-log(1 - share) * 1e9 * thread_count / rate);
}

// Many clients in one thread: each has at most one request under way.
static void run_many(struct worker *worker) {
    int poller = epoll_create1(EPOLL_CLOEXEC);
    unsigned count = worker->clients, free_count = 0;
    struct slot *slots = calloc(count, sizeof *slots);
    unsigned *free_slots = calloc(count, sizeof *free_slots);
    if (poller < 0 || !slots || !free_slots) fail("no memory for %u clients", count);
    for (unsigned i = 0; i < count; i++) {
        slots[i].fd = -1;
        if (rate > 0) free_slots[free_count++] = i;
        else begin(worker, poller, slots, i, now());
    }
    running++;
    uint64_t due = now() + (rate > 0 ? gap(worker) : 0);
    uint64_t next_resume = UINT64_MAX;
    struct epoll_event events[64];
    while (!is_over) {
        struct timespec timeout = {.tv_nsec = next_resume == UINT64_MAX ? 200000000 : 1000000};
        if (next_resume != UINT64_MAX && now() >= next_resume) {
            next_resume = UINT64_MAX;
            for (unsigned i = 0; i < count; i++) {
                uint64_t resume = slots[i].resume;
                if (resume && resume <= now()) begin(worker, poller, slots, i, slots[i].since);
                else if (resume && resume < next_resume) next_resume = resume;
            }
        }
        for (uint64_t time = now(); rate > 0 && free_count > 0;) {
            if (due > time) {
                if (due - time < (uint64_t)timeout.tv_nsec) timeout.tv_nsec = (long)(due - time);
                break;
            }
            begin(worker, poller, slots, free_slots[--free_count], due);
            due += gap(worker);
        }
        int ready = epoll_pwait2(poller, events, 64, &timeout, NULL);
        for (int i = 0; i < ready; i++) {
            unsigned index = events[i].data.u32;
            struct slot *slot = &slots[index];
            enum outcome outcome = take(slot->fd, &target, MSG_DONTWAIT);
            if (outcome == NOTHING) continue;
            uint64_t since = slot->since;
            if (outcome == GRANTED) finished(worker, since);
            else worker->busy++;
            if (outcome != GRANTED || !keeps_open) {
                close(slot->fd);
                slot->fd = -1;
            }
            // A request that was not granted is made again, and has waited all the time.
            if (outcome == BUSY) {
                slot->resume = now() + (uint64_t)target.pause * 1000000;
                if (slot->resume < next_resume) next_resume = slot->resume;
            } else if (outcome != GRANTED) begin(worker, poller, slots, index, since);
            else if (rate > 0) {
                slot->since = 0;
                free_slots[free_count++] = index;
            } else begin(worker, poller, slots, index, now());
        }
    }
    // In an open loop, what still waits has waited so long at least.
    uint64_t end = now();
    for (unsigned i = 0; i < count; i++) {
        if (rate > 0 && slots[i].since) note(&worker->samples, end - slots[i].since);
        if (slots[i].fd >= 0) close(slots[i].fd);
    }
    if (rate > 0 && due < end) note(&worker->samples, end - due);
    close(poller);
    free(slots);
    free(free_slots);
}

static void *run(void *argument) {
    struct worker *worker = argument;
    prctl(PR_SET_TIMERSLACK, 1);
    if (worker->clients == 1 && rate == 0) run_one(worker);
    else run_many(worker);
    return NULL;
}

static void hold(char request) {
    int *fds = calloc(client_count, sizeof *fds);
    if (!fds) fail("no memory");
    // A server that takes no more connections does not say so.
    alarm(120);
    for (unsigned i = 0; i < client_count;) {
        fds[i] = connected(i);
        enum outcome outcome = GRANTED;
        // Many replies in a short time can be too many: the broker does not know yet that they were read.
        while (request != '0' && ask(fds[i], &target, request, 0) && (outcome = take(fds[i], &target, 0)) == BUSY)
            usleep(target.pause * 1000);
        if (outcome == GRANTED) i++;
        else close(fds[i]);
    }
    usleep(100000);
    for (unsigned i = 0; i < client_count; i++) {
        char byte;
        if (recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0) fail("connection %u was refused", i + 1);
    }
    alarm(0);
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {}
    free(fds);
}

static void wait_for_end(uint64_t end) {
    while (!is_over) {
        uint64_t time = now();
        if (!wanted && time >= end) return;
        usleep(wanted || end - time > 10000000 ? 10000 : (useconds_t)((end - time) / 1000 + 1));
    }
}

int main(int count, char **arguments) {
    const char *protocol = "kb", *address = "";
    char held = 0;
    uid_t uid = 0;
    bool reads_key = false;
    for (int option; (option = getopt(count, arguments, "k:a:p:u:U:c:t:os:n:r:K:bH:")) != -1;) switch (option) {
        case 'k': protocol = optarg; break;
        case 'a': address = optarg; break;
        case 'p': server = atoi(optarg); break;
        case 'u': uid = (uid_t)atoi(optarg); break;
        case 'U': uid_count = (uid_t)atoi(optarg); break;
        case 'c': client_count = (unsigned)atoi(optarg); break;
        case 't': thread_count = (unsigned)atoi(optarg); break;
        case 'o': keeps_open = true; break;
        case 's': duration = atof(optarg); break;
        case 'n': wanted = (uint64_t)atoll(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 'K': key_count = (unsigned)atoi(optarg); break;
        case 'b': reads_key = true; break;
        case 'H': held = *optarg; break;
        default: return 64;
    }
    target = target_named(protocol, address);
    target.reads_key = reads_key;
    if (thread_count > client_count) thread_count = client_count;
    allow_descriptors(client_count + 100);
    first_uid = uid;
    if (uid_count <= 1) become(uid);
    if (held) {
        hold(held);
        return 0;
    }
    struct worker *workers = calloc(thread_count, sizeof *workers);
    if (!workers) fail("no memory");
    for (unsigned i = 0; i < thread_count; i++) {
        workers[i].clients = client_count / thread_count + (i < client_count % thread_count);
        workers[i].random = 0x9E3779B97F4A7C15u * (i + 1);
        if (pthread_create(&workers[i].thread, NULL, run, &workers[i]) != 0) fail("pthread_create");
    }
    for (uint64_t end = now() + 60000000000u; running < thread_count; usleep(1000))
        if (now() > end) fail("not all clients could connect");
    usleep((useconds_t)(duration < 5 ? duration * 1e5 : 5e5));
    uint64_t used = processor_time(server), own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID), began = now();
    is_measuring = true;
    wait_for_end(began + (uint64_t)(duration * 1e9));
    is_measuring = false;
    uint64_t ended = now();
    used = processor_time(server) - used;
    own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own;
    is_over = true;
    struct samples all = {0};
    uint64_t busy = 0;
    for (unsigned i = 0; i < thread_count; i++) {
        pthread_join(workers[i].thread, NULL);
        for (size_t s = 0; s < workers[i].samples.count; s++) note(&all, (uint64_t)workers[i].samples.values[s] * 8);
        busy += workers[i].busy;
    }
    if (all.count == 0) fail("not one request was granted, %llu were refused", (unsigned long long)busy);
    report(&all, (double)(ended - began) / 1e9, used, own, busy);
}
