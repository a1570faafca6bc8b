// libcrypto: digests, for the audit chain, and keys and certificates in PEM, for those who use them or sign with them. The
// daemon uses the digests alone.

// SHA256_* are marked as deprecated since OpenSSL 3.0, in favour of calls that load providers first. They are part of
// its ABI all the same, and all that is wanted here.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

// Memory of libcrypto that is overwritten before it is given back: it forgets to do so with parts of private keys.
static inline void kb_free(void *block, const char *file, int line) {
    (void)file, (void)line;
    if (block == NULL) return;
    explicit_bzero(block, malloc_usable_size(block));
    free(block);
}
static inline void *kb_allocate(size_t count, const char *file, int line) {
    (void)file, (void)line;
    return count == 0 ? NULL : malloc(count);
}
static inline void *kb_reallocate(void *block, size_t count, const char *file, int line) {
    if (block == NULL) return kb_allocate(count, file, line);
    void *larger = kb_allocate(count, file, line);
    if (larger != NULL || count == 0) {
        size_t old = malloc_usable_size(block);
        if (larger != NULL) memcpy(larger, block, old < count ? old : count);
        kb_free(block, file, line);
    }
    return larger;
}
// CRYPTO_set_mem_functions(3): 1 if libcrypto uses these from now on, 0 if it has memory already.
static inline int kb_wipe_what_is_freed(void) { return CRYPTO_set_mem_functions(kb_allocate, kb_reallocate, kb_free); }

// Overwrites the part of the stack below the caller that libcrypto has used: it leaves parts of private keys there.
__attribute__((noinline)) static void kb_wipe_stack(void) {
    char below[65536];
    explicit_bzero(below, sizeof below);
}
