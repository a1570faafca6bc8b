// Prepares libcrypto for a process that holds private keys for others.
//
// Must never read a configuration: it could load other people's code into this process.

internal import CCrypto
internal import PEM

package enum Libcrypto {
    /// The memory for the secret numbers of keys, in bytes. An RSA key of 4096 bits takes about 2 KiB of it.
    private static let secretBytes = 4 << 20

    /// Makes libcrypto keep the secret numbers of keys in memory of their own, which is locked and in no core dump, and
    /// overwrite everything that it gives back. Must be called before anything else of libcrypto. Returns false if any of
    /// that is not possible.
    package static func prepare() -> Bool {
        guard wipeWhatOpenSSLFrees() else { return false }
        guard OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_LOAD_CONFIG), nil) == 1 else { return false }
        // 2 means that the memory could not be locked. The caller locks all memory, or has no right to lock that much.
        return CRYPTO_secure_malloc_init(secretBytes, 32) != 0
    }

    /// Overwrites what libcrypto left on the stack. Must be called by a function that is not deeper than those that signed.
    package static func forgetStack() { kb_wipe_stack() }
}
