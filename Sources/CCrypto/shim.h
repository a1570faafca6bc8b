// libcrypto's digests, for the audit chain: the daemon links no more of OpenSSL than this.
#include <openssl/evp.h>
