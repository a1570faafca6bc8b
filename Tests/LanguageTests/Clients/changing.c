/* Reads FILE with the C client as the key k, and writes to it meanwhile: changing FILE. Prints the error. */
#define KEYBROKER_IMPLEMENTATION
#include "keybroker.h"

#include <sys/syscall.h>

static const char *path;

/* In the place of libc's. */
ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset) {
    ssize_t result = syscall(SYS_pread64, descriptor, bytes, count, offset);
    int other;
    if (offset > 0) return result;
    other = open(path, O_WRONLY | O_TRUNC);
    if (write(other, "ANOTHER KEY..", 13) != 13) return -1;
    close(other);
    return result;
}

int main(int count, char **arguments) {
    struct keybroker_key key = {-1, -1, 0, 0, "k"};
    struct keybroker_secret secret;
    struct keybroker_error error;
    if (count != 2) return 64;
    path = arguments[1];
    key.key = open(path, O_RDONLY);
    printf("%s\n", keybroker_read_key(&key, &secret, &error) ? error.text : "it was read");
    return 0;
}
