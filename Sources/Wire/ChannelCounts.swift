// What a signing channel was used for, as the signer counts it and the log states it.
//
// Must never tell anything of a message.

/// What a channel was used for.
package struct ChannelCounts: Equatable, Sendable {
    package var signatures: UInt64 = 0
    /// Requests that got no signature.
    package var refused: UInt64 = 0
    /// Further ends that were made.
    package var clones: UInt64 = 0

    package init(signatures: UInt64 = 0, refused: UInt64 = 0, clones: UInt64 = 0) {
        (self.signatures, self.refused, self.clones) = (signatures, refused, clones)
    }
}
