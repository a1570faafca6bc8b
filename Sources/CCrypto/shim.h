// libcrypto's digests, for the audit chain: the daemon links no more of OpenSSL than this.

// SHA256_* are marked as deprecated since OpenSSL 3.0, in favour of calls that load providers first. They are part of
// its ABI all the same, and all that is wanted here.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
