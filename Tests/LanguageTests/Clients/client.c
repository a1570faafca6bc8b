/* The C client, led by arguments: client get NAME WAIT, client list WAIT, client watch NAME WAIT TIMES. It is C and
 * C++.
 *
 * It prints what client.py prints, and ends with the status that the error has. KEYBROKER_SOCKET names the socket. */
#ifndef HEADER
#define HEADER "keybroker.h"
#endif
#define KEYBROKER_IMPLEMENTATION
#include HEADER

#include <dirent.h>

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    if (!folder) return -1;
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static int failed(const struct keybroker_error *error) {
    printf("%s\n", error->text);
    return keybroker_exit_status(error);
}

static int show(const struct keybroker_key *key, struct keybroker_error *error) {
    struct keybroker_secret secret;
    if (keybroker_read_key(key, &secret, error)) return failed(error);
    printf("%s %lu %lu: %.*s\n", key->name, (unsigned long)(key->decision != 0), (unsigned long)key->generation,
           (int)secret.count, (const char *)secret.bytes);
    keybroker_wipe(&secret);
    if (keybroker_read_certificate(key, &secret, error)) return failed(error);
    if (secret.bytes) printf("%.*s\n", (int)secret.count, (const char *)secret.bytes);
    else printf("no certificate\n");
    keybroker_wipe(&secret);
    return 0;
}

static int get(const char *name, long wait) {
    struct keybroker_error error;
    struct keybroker_key key;
    int status;
    if (keybroker_get(NULL, name, wait, &key, &error)) return failed(&error);
    status = show(&key, &error);
    keybroker_close(&key);
    return status;
}

static int list(long wait) {
    struct keybroker_error error;
    struct keybroker_names names;
    size_t i;
    if (keybroker_list(NULL, wait, &names, &error)) return failed(&error);
    for (i = 0; i < names.count; i++) printf("%s\n", names.names[i]);
    keybroker_free_names(&names);
    return 0;
}

/* As keybroker(3) has it: what passes is waited for. */
static int passes(enum keybroker_result result) {
    return result == KEYBROKER_NOT_RUNNING || result == KEYBROKER_UNAVAILABLE || result == KEYBROKER_NO_ANSWER
           || result == KEYBROKER_SHORTAGE || result == KEYBROKER_MAY_NOT_CONNECT || result == KEYBROKER_UNTRUSTED;
}

static int watch(const char *name, long wait, int times) {
    struct keybroker_error error;
    struct keybroker_watch watch;
    struct keybroker_key key;
    enum keybroker_result result = keybroker_watch_open(NULL, name, wait, &watch, &key, &error);
    while (!result) {
        (void)show(&key, &error);
        fflush(stdout);
        keybroker_close(&key);
        if (--times == 0) break;
        while ((result = keybroker_watch_next(&watch, 50, &key, &error)) == KEYBROKER_NOTHING_NEW) {}
        if (result == KEYBROKER_NOT_RUNNING) {
            printf("again\n");
            fflush(stdout);
        }
        while (passes(result)) {
            poll(NULL, 0, 20);
            result = keybroker_watch_open(NULL, name, wait, &watch, &key, &error);
        }
    }
    keybroker_watch_close(&watch);
    return result ? failed(&error) : 0;
}

int main(int count, char **arguments) {
    int before = open_descriptors(), status = 64;
    if (count == 4 && strcmp(arguments[1], "get") == 0) status = get(arguments[2], atol(arguments[3]));
    if (count == 3 && strcmp(arguments[1], "list") == 0) status = list(atol(arguments[2]));
    if (count == 5 && strcmp(arguments[1], "watch") == 0) {
        status = watch(arguments[2], atol(arguments[3]), atoi(arguments[4]));
    }
    if (open_descriptors() != before) printf("%d descriptors more are open\n", open_descriptors() - before);
    return status;
}
