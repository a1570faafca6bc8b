// SHA-256 from libcrypto, for the audit chain and the digest of the policy.
//
// Must never be implemented by hand. Must never hash a key: the broker reads none.

internal import CCrypto

/// A SHA-256 in progress (FIPS 180-4), by OpenSSL's `SHA256_*`. These functions run the same code as `EVP_Digest*`, but
/// do not load OpenSSL's providers, which would take a fifth of the daemon's memory.
@safe package struct SHA256: ~Copyable {
    private var context = SHA256_CTX()

    /// The length of a digest in hexadecimal digits.
    package static let hexLength = 64

    package init() {
        // Safety: the call fills the one struct it is given. These calls cannot fail, as they take no memory.
        unsafe _ = SHA256_Init(&context)
    }

    package mutating func update(_ bytes: [UInt8]) { update(bytes[...]) }

    package mutating func update(_ bytes: ArraySlice<UInt8>) { update(bytes.span) }

    package mutating func update(_ bytes: Span<UInt8>) {
        // Safety: the call reads as many bytes as the span covers.
        unsafe _ = bytes.withUnsafeBufferPointer { bytes in
            unsafe SHA256_Update(&context, bytes.baseAddress, bytes.count)
        }
    }

    /// The digest of all bytes added, as 64 lower-case hexadecimal digits.
    package consuming func finish() -> [UInt8] {
        let text = finishInPlace()
        return text.indices.map { text[$0] }
    }

    /// The same, without memory of its own.
    package consuming func finishInPlace() -> InlineArray<64, UInt8> {
        var context = context
        var digest = InlineArray<32, UInt8>(repeating: 0)
        var room = digest.mutableSpan
        // Safety: a SHA-256 is 32 bytes, the room there is.
        unsafe room.withUnsafeMutableBufferPointer { room in
            unsafe _ = SHA256_Final(room.baseAddress, &context)
        }
        var text = InlineArray<64, UInt8>(repeating: 0)
        for index in digest.indices {
            text[2 * index] = Self.digit(digest[index] >> 4)
            text[2 * index + 1] = Self.digit(digest[index] & 15)
        }
        return text
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }
}
