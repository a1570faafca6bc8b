/* Prints how many bytes of its stack a thread uses for all that the C client can do: stack SOCKET... */
#define KEYBROKER_IMPLEMENTATION
#include "keybroker.h"

#include <pthread.h>

enum { room = 1 << 20, paint = 0xA5 };

static void *nothing(void *sockets) { return sockets; }

static void *all(void *sockets) {
    static struct keybroker_error error;
    static struct keybroker_key key;
    static struct keybroker_secret secret;
    static struct keybroker_names names;
    static struct keybroker_watch watch;
    static const char *const keys[] = {"k", "gone", "other", "No Name"};
    char **next;
    size_t i;
    for (next = (char **)sockets; *next; next++) {
        for (i = 0; i < sizeof keys / sizeof *keys; i++) {
            if (!keybroker_get(*next, keys[i], 0, &key, &error)) {
                if (!keybroker_read_key(&key, &secret, &error)) keybroker_wipe(&secret);
                keybroker_close(&key);
            }
        }
        if (!keybroker_list(*next, 0, &names, &error)) keybroker_free_names(&names);
        if (!keybroker_watch_open(*next, "k", 0, &watch, &key, &error)) {
            keybroker_close(&key);
            (void)keybroker_watch_next(&watch, 0, &key, &error);
            keybroker_watch_close(&watch);
        }
    }
    return NULL;
}

static size_t used(void *(*body)(void *), void *sockets) {
    unsigned char *stack = (unsigned char *)malloc(room);
    pthread_attr_t attributes;
    pthread_t thread;
    size_t untouched = 0;
    memset(stack, paint, room);
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, stack, room);
    if (pthread_create(&thread, &attributes, body, sockets)) exit(71);
    pthread_join(thread, NULL);
    while (untouched < room && stack[untouched] == paint) untouched++;
    free(stack);
    return room - untouched;
}

int main(int count, char **arguments) {
    if (count < 2) return 64;
    printf("%lu\n", (unsigned long)(used(all, arguments + 1) - used(nothing, arguments + 1)));
    return 0;
}
