// OpenSSL for the demo server. Only the target TLS imports this.
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/ssl.h>
#include <openssl/store.h>
#include <openssl/x509.h>

// Macros, which Swift cannot import, as functions of the same meaning.
static inline int kb_set_protocols(SSL_CTX *context, int lowest) {
    return (int)SSL_CTX_set_min_proto_version(context, lowest);
}
static inline void kb_set_mode(SSL_CTX *context) {
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}
static inline void kb_set_options(SSL_CTX *context) {
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
}
// The next error of this thread's queue with its text, or 0. `*text` is NULL if it has none.
static inline unsigned long kb_next_error(const char **text) {
    const char *data = NULL;
    int flags = 0;
    unsigned long code = ERR_get_error_all(NULL, NULL, NULL, &data, &flags);
    *text = flags & ERR_TXT_STRING ? data : NULL;
    return code;
}
// Adds a certificate to the chain; takes it over on success.
static inline int kb_add_to_chain(SSL_CTX *context, X509 *certificate) {
    return (int)SSL_CTX_add0_chain_cert(context, certificate);
}
