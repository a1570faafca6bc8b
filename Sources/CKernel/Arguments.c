// The program's arguments, as the C library has them at the start.
//
// The Swift runtime reads them from /proc/self/cmdline, and finds none where /proc is not mounted. Must never be read
// under another C library than glibc: only glibc passes the arguments to constructors.

#include "CKernel.h"

#include <features.h>

#ifndef __GLIBC__
#error "Only glibc passes argc and argv to constructors. With another C library, take them from main()."
#endif

// Set once, before main(), and only read after that.
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
