// What the programs of this benchmark share: clocks, samples, and the line of JSON that each of them prints at its end.
//
// Must never print a figure without the number of samples behind it.

#pragma once
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2))) static inline void fail(const char *format, ...) {
    int code = errno;
    va_list rest;
    va_start(rest, format);
    vfprintf(stderr, format, rest);
    va_end(rest);
    fprintf(stderr, " (errno: %s)\n", strerror(code));
    exit(1);
}

static inline uint64_t nanoseconds(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) < 0) fail("clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static inline uint64_t now(void) { return nanoseconds(CLOCK_MONOTONIC); }

// The processor time of a process, all its threads, user and system, in nanoseconds: what utime and stime of
// /proc/PID/stat add up to, without their steps of 10 ms.
static inline uint64_t processor_time(pid_t pid) {
    clockid_t clock;
    if (pid == 0) return 0;
    if (clock_getcpuclockid(pid, &clock) != 0) fail("the server, process %d, has ended", pid);
    return nanoseconds(clock);
}

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

// Latencies in steps of 8 ns, so that 34 s fit into 32 bits.
struct samples {
    uint32_t *values;
    size_t count, room;
};

static inline void note(struct samples *samples, uint64_t latency) {
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 1 << 16;
        samples->values = realloc(samples->values, samples->room * sizeof *samples->values);
        if (!samples->values) fail("no memory for samples");
    }
    uint64_t steps = latency / 8;
    samples->values[samples->count++] = steps > UINT32_MAX ? UINT32_MAX : (uint32_t)steps;
}

static inline int compare_samples(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

// The value in microseconds that this share of the sorted samples does not exceed.
static inline double quantile(const struct samples *samples, double share) {
    if (!samples->count) return 0;
    size_t index = (size_t)(share * (double)samples->count);
    if (index >= samples->count) index = samples->count - 1;
    return (double)samples->values[index] * 8 / 1000;
}

// Sorts the samples, and prints a line. Times are in microseconds; `cpu` is the server's for each request, and
// `both_cpu` that of client and server.
static inline void report(struct samples *all, double seconds, uint64_t server, uint64_t client, uint64_t busy) {
    double asked = all->count ? (double)all->count : 1;
    qsort(all->values, all->count, sizeof *all->values, compare_samples);
    printf("{\"count\": %zu, \"seconds\": %.4f, \"rate\": %.1f, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, "
           "\"p999\": %.2f, \"max\": %.2f, \"cpu\": %.3f, \"both_cpu\": %.3f, \"busy\": %llu}\n",
           all->count, seconds, (double)all->count / seconds, quantile(all, 0.5), quantile(all, 0.9), quantile(all, 0.99),
           quantile(all, 0.999), quantile(all, 1), (double)server / 1000 / asked,
           (double)(server + client) / 1000 / asked,
           (unsigned long long)busy);
    fflush(stdout);
}

// Raises the limit on descriptors to what is permitted, which must be this number at least.
static inline void allow_descriptors(rlim_t number) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_max < number)
        fail("%lu descriptors are needed, and %lu permitted", (unsigned long)number, (unsigned long)limit.rlim_max);
}

// Becomes the uid for good, without supplementary groups. 0 stays what it is.
static inline void become(uid_t uid) {
    if (uid == 0) return;
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        fail("cannot become uid %u", uid);
}
