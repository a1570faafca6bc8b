/* Preloaded into a program: it sends only after the other side had the time to close. */
#include <sys/socket.h>
#include <unistd.h>

ssize_t send(int socket, const void *bytes, size_t count, int flags) {
    usleep(100000);
    return sendto(socket, bytes, count, flags, NULL, 0);
}
