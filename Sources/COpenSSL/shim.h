// OpenSSL for the demo server. Only the target TLS imports this.
#include <openssl/ssl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

// Macros that Swift cannot import.
static inline long kb_set_min_version(SSL_CTX *context, int version) {
    return SSL_CTX_set_min_proto_version(context, version);
}
static inline long kb_set_mode(SSL_CTX *context, long mode) { return SSL_CTX_set_mode(context, mode); }
static inline long kb_bio_pending_memory(BIO *bio, char **bytes) { return BIO_get_mem_data(bio, bytes); }
