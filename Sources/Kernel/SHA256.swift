// SHA-256 by libcrypto, for the audit chain and the policy's digest.
//
// Must never be written by hand, nor hash a key: the broker reads none.

internal import CCrypto

/// A SHA-256 in progress (FIPS 180-4), by OpenSSL's `EVP_Digest*`.
@safe package struct SHA256: ~Copyable {
    // Safety: the context belongs to this value alone, from its making to its end.
    private let context: OpaquePointer

    /// The length of a digest in hexadecimal digits.
    package static let hexLength = 64

    package init() {
        // Safety: the context is owned by this value alone and freed at its end. OpenSSL answers nil or
        // zero for want of memory only, where there is no way on.
        guard let context = unsafe EVP_MD_CTX_new(), unsafe EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1
        else { fatalError("libcrypto has no SHA-256 (out of memory, or a configuration that forbids it)") }
        unsafe self.context = context
    }

    // Safety: nothing else refers to the context.
    deinit { unsafe EVP_MD_CTX_free(context) }

    package mutating func update(_ bytes: [UInt8]) { update(bytes[...]) }

    package mutating func update(_ bytes: ArraySlice<UInt8>) {
        // Safety: the call reads as many bytes as the slice holds.
        let done = unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        }
        precondition(done == 1, "EVP_DigestUpdate failed")
    }

    /// The digest of all that was fed, as 64 lower-case hexadecimal digits.
    package consuming func finish() -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        // Safety: a SHA-256 is 32 bytes, the room there is.
        let done = unsafe EVP_DigestFinal_ex(context, &digest, nil)
        precondition(done == 1, "EVP_DigestFinal_ex failed")
        var text = [UInt8](repeating: 0, count: Self.hexLength)
        for (index, byte) in digest.enumerated() {
            text[2 * index] = Self.digit(byte >> 4)
            text[2 * index + 1] = Self.digit(byte & 15)
        }
        return text
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }
}
