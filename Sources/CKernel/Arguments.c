// The program's arguments, as the C library has them at the start.
//
// The Swift runtime reads them from /proc/self/cmdline, and finds none where /proc is not mounted. Must never be read
// under another C library than glibc: only glibc passes the arguments to constructors.

#include "CKernel.h"

#include <features.h>
#include <string.h>

#ifndef __GLIBC__
#error "Only glibc passes argc and argv to constructors. With another C library, take them from main()."
#endif

// Set once, before main(). The strings are only read after that, but for ck_show_as.
static struct {
    int count;
    char **arguments;
} at_start;

__attribute__((constructor)) static void keep(int count, char **arguments, char **environment) {
    (void)environment;
    at_start.count = count;
    at_start.arguments = arguments;
}

const char *ck_argument(int number) {
    return number >= 0 && number < at_start.count ? at_start.arguments[number] : NULL;
}

void ck_show_as(const char *title) {
    if (at_start.count < 1) return;
    // The kernel puts the strings one behind the other.
    char *first = at_start.arguments[0], *end = first;
    for (int next = 0; next < at_start.count && at_start.arguments[next] == end; next++) end += strlen(end) + 1;
    size_t room = (size_t)(end - first);
    memset(first, 0, room);
    strncpy(first, title, room - 1);
}
