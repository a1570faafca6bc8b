// libcrypto: digests, for the audit chain, and keys and certificates in PEM, for those who use them. The daemon uses the
// digests alone.

// SHA256_* are marked as deprecated since OpenSSL 3.0, in favour of calls that load providers first. They are part of
// its ABI all the same, and all that is wanted here.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
