// The client of s6-fdholderd as its own library makes it, libs6 and skalibs.
//
// s6-client -a SOCKET -S FOLDER -K KEYS     stores the files k0, k1, ... of the folder
// s6-client -a SOCKET [-p PID] [-u UID] [-o] [-s SECONDS] [-K KEYS]    asks as `load` with one client does

#include "measuring.h"
#include <fcntl.h>
#include <s6/fdholder.h>
#include <skalibs/tai.h>
#include <stdbool.h>

static tain deadline;

static void start(s6_fdholder_t *holder, const char *path) {
    *holder = (s6_fdholder_t)S6_FDHOLDER_ZERO;
    if (!s6_fdholder_start_g(holder, path, &deadline)) fail("cannot connect to %s", path);
}

static void store_all(s6_fdholder_t *holder, const char *folder, unsigned keys) {
    tain forever = TAIN_INFINITE;
    for (unsigned key = 0; key < keys; key++) {
        char name[16], path[4096];
        snprintf(name, sizeof name, "k%u", key);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || !s6_fdholder_store_g(holder, fd, name, &forever, &deadline)) fail("cannot store %s", path);
        close(fd);
    }
}

int main(int count, char **arguments) {
    const char *path = "", *folder = NULL;
    pid_t server = 0;
    uid_t uid = 0;
    bool keeps_open = false;
    double duration = 1;
    unsigned keys = 1;
    for (int option; (option = getopt(count, arguments, "a:p:u:os:K:S:")) != -1;) switch (option) {
        case 'a': path = optarg; break;
        case 'p': server = atoi(optarg); break;
        case 'u': uid = (uid_t)atoi(optarg); break;
        case 'o': keeps_open = true; break;
        case 's': duration = atof(optarg); break;
        case 'K': keys = (unsigned)atoi(optarg); break;
        case 'S': folder = optarg; break;
        default: return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    become(uid);
    tain_now_set_stopwatch_g();
    tain_addsec_g(&deadline, 3600);
    static s6_fdholder_t holder;
    start(&holder, path);
    if (folder) {
        store_all(&holder, folder, keys);
        return 0;
    }
    struct samples samples = {0};
    uint64_t random = 0x9E3779B97F4A7C15u, used = 0, own = 0, began = 0, warm = now() + (uint64_t)(duration * 1e8), end = 0;
    if (!keeps_open) s6_fdholder_end(&holder);
    for (;;) {
        uint64_t since = now();
        if (!end && since >= warm) {
            used = processor_time(server);
            own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
            began = since = now();
            end = began + (uint64_t)(duration * 1e9);
        }
        if (end && since >= end) break;
        char name[16];
        snprintf(name, sizeof name, "k%u", (unsigned)(next_random(&random) % keys));
        if (!keeps_open) start(&holder, path);
        int fd = s6_fdholder_retrieve_g(&holder, name, &deadline);
        if (fd < 0) fail("no grant of %s", name);
        close(fd);
        if (!keeps_open) s6_fdholder_end(&holder);
        if (end) note(&samples, now() - since);
    }
    own = nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - own;
    report(&samples, (double)(now() - began) / 1e9, processor_time(server) - used, own, 0);
}
