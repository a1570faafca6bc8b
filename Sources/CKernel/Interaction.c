// Programs that a person uses for a while, such as an editor or a pager, and files that take the place of others.

#define _GNU_SOURCE
#include "CKernel.h"
#include "Outcome.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>

extern char **environ;

int ck_start_in_foreground(const char *script, const char *argument, int input) {
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    int error = posix_spawnattr_init(&attributes);
    if (error != 0) return -error;
    error = posix_spawn_file_actions_init(&actions);
    if (error != 0) {
        posix_spawnattr_destroy(&attributes);
        return -error;
    }
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGQUIT);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    if (input >= 0) error = posix_spawn_file_actions_adddup2(&actions, input, 0);
    char *const arguments[] = {(char *)"sh", (char *)"-c", (char *)script, (char *)"sh", (char *)argument, NULL};
    pid_t child = 0;
    if (error == 0) error = posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error != 0 ? -error : child;
}

int ck_create_file(const char *path, uint32_t mode) {
    return outcome(open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, mode));
}

int ck_rename(const char *from, const char *to) { return outcome(rename(from, to)); }
