// Pointer files: PEM without a secret, and the DER in it, which says where the key is.
//
// Must never take anything else for a pointer, as what it names is opened.

#include "internal.h"

#include <string.h>

static const char scheme[] = "keybroker:";
enum { scheme_length = sizeof scheme - 1 };

int kb_is_name(const char *name, size_t length) {
    if (length == 0 || length > kb_longest_name) return 0;
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        int isAlphanumeric = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!isAlphanumeric && (i == 0 || (c != '.' && c != '_' && c != '-'))) return 0;
    }
    return 1;
}

int kb_name_in_pointer(const unsigned char *der, size_t length, char name[kb_longest_name + 1]) {
    // Both lengths are below 128, so each takes one byte.
    if (length < 4 + scheme_length || length > 4 + scheme_length + kb_longest_name) return 0;
    if (der[0] != 0x30 || der[1] != length - 2 || der[2] != 0x0C || der[3] != length - 4) return 0;
    if (memcmp(der + 4, scheme, scheme_length) != 0) return 0;
    const char *found = (const char *)der + 4 + scheme_length;
    size_t count = length - 4 - scheme_length;
    if (!kb_is_name(found, count)) return 0;
    memcpy(name, found, count);
    name[count] = 0;
    return 1;
}

size_t kb_pointer_to(const char *name, unsigned char der[128]) {
    size_t length = strlen(name) + scheme_length;
    der[0] = 0x30;
    der[1] = (unsigned char)(length + 2);
    der[2] = 0x0C;
    der[3] = (unsigned char)length;
    memcpy(der + 4, scheme, scheme_length);
    memcpy(der + 4 + scheme_length, name, length - scheme_length);
    return length + 4;
}
