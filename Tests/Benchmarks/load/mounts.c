// What an account can do that may mount file systems of its own, as with fusermount3: it has many with long paths, and
// mounts and unmounts another one without end. Root does it here, with empty file systems, in the server's namespace.
//
// mounts -p PID -d FOLDER [-n NUMBER]
//
// PID is the server's, which has a mount namespace of its own: all mounts end with it. It runs until it is killed.

#define _GNU_SOURCE
#include "measuring.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

// fusermount3 alone, with a helper that does nothing, needs about this long, in microseconds.
enum { PAUSE = 2000, NAME = 250, NAMES = 14 };

static void mount_at(const char *name) {
    if (mount("x", name, "tmpfs", 0, "size=4k") < 0) fail("mount");
}

int main(int count, char **arguments) {
    const char *folder = "", *pid = "";
    int number = 1000;
    for (int option; (option = getopt(count, arguments, "p:d:n:")) != -1;) switch (option) {
        case 'p': pid = optarg; break;
        case 'd': folder = optarg; break;
        case 'n': number = atoi(optarg); break;
        default: return 64;
    }
    char path[64], name[NAME + 1] = "";
    snprintf(path, sizeof path, "/proc/%s/ns/mnt", pid);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNS) < 0) fail("setns");
    // Those of an earlier run.
    umount2(folder, MNT_DETACH);
    mount_at(folder);
    if (chdir(folder) < 0) fail("chdir");
    memset(name, 'a', NAME);
    for (int i = 0; i < NAMES; i++) if (mkdir(name, 0755) < 0 || chdir(name) < 0) fail("mkdir");
    for (int i = 0; i <= number; i++) {
        snprintf(name, sizeof name, "%d", i);
        if (mkdir(name, 0755) < 0) fail("mkdir");
        if (i < number) mount_at(name);
    }
    puts("mounted");
    fflush(stdout);
    for (;;) {
        mount_at(name);
        if (umount2(name, 0) < 0) fail("umount2");
        usleep(PAUSE);
    }
}
