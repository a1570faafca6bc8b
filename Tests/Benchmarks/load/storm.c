// The storm: as many processes as a large machine starts at a boot, which all ask for their key at the same moment.
//
// storm -k PROTOCOL -a ADDRESS [-p PID] [-c PROCESSES] [-u UID] [-U UIDS] [-K KEYS]
//
// The processes are made first, with UIDS different uids from UID on. Then a pipe closes, and each of them connects and
// asks until it has its key, as long as it is told to wait in between. Its time is that from the closing of the pipe.
// Must never let a process ask before all of them are there.

#include "target.h"
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

struct shared {
    atomic_uint ready, busy, done;
    uint64_t began;
    uint64_t latency[];
};

static void be_one(struct target *target, struct shared *shared, unsigned index, uid_t uid, unsigned keys, int start) {
    become(uid);
    shared->ready++;
    char byte;
    if (read(start, &byte, 1) != 0) fail("the start");
    for (unsigned attempt = 0; attempt < 10000; attempt++) {
        int fd = dial(target);
        if (fd < 0) {
            if (errno != EAGAIN && errno != ECONNRESET && errno != ETIMEDOUT) fail("connect");
            usleep(5000);
            continue;
        }
        (void)ask(fd, target, 'G', index % keys);
        enum outcome outcome = take(fd, target, 0);
        close(fd);
        if (outcome == GRANTED) {
            shared->latency[index] = now() - shared->began;
            shared->done++;
            _exit(0);
        }
        if (outcome == BUSY) {
            shared->busy++;
            usleep(target->pause * 1000);
        }
    }
    fail("process %u never had its key", index);
}

int main(int count, char **arguments) {
    const char *protocol = "kb", *address = "";
    pid_t server = 0;
    unsigned processes = 10000, uids = 1, keys = 1;
    uid_t uid = 0;
    for (int option; (option = getopt(count, arguments, "k:a:p:c:u:U:K:")) != -1;) switch (option) {
        case 'k': protocol = optarg; break;
        case 'a': address = optarg; break;
        case 'p': server = atoi(optarg); break;
        case 'c': processes = (unsigned)atoi(optarg); break;
        case 'u': uid = (uid_t)atoi(optarg); break;
        case 'U': uids = (unsigned)atoi(optarg); break;
        case 'K': keys = (unsigned)atoi(optarg); break;
        default: return 64;
    }
    struct target target = target_named(protocol, address);
    size_t size = sizeof(struct shared) + processes * sizeof(uint64_t);
    struct shared *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int start[2];
    if (shared == MAP_FAILED || pipe(start) < 0) fail("no memory");
    for (unsigned index = 0; index < processes; index++) {
        pid_t child = fork();
        if (child < 0) {
            // Those that are there read the end of the pipe, have their key, and end.
            fail("only %u processes can be made", index);
        }
        if (child == 0) {
            close(start[1]);
            be_one(&target, shared, index, uid + index % uids, keys, start[0]);
        }
    }
    while (shared->ready < processes) usleep(1000);
    usleep(200000);
    uint64_t used = processor_time(server);
    shared->began = now();
    close(start[1]);
    for (unsigned left = processes; left > 0; left--) {
        int status;
        if (wait(&status) < 0 || status != 0) fail("a process ended with status %d", status);
    }
    used = processor_time(server) - used;
    struct samples all = {0};
    for (unsigned index = 0; index < processes; index++) note(&all, shared->latency[index]);
    uint64_t last = 0;
    for (unsigned index = 0; index < processes; index++) if (shared->latency[index] > last) last = shared->latency[index];
    report(&all, (double)last / 1e9, used, 0, shared->busy);
}
