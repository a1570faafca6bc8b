// A packet of the signer on a signing channel.
//
// Must never tell anything of the private key but its signatures.

/// A packet of the signer.
package enum ChannelReply: Equatable, Sendable {
    /// The first packet on each end of a channel: the numbers of the schemes, and the public key as
    /// SubjectPublicKeyInfo in DER (RFC 5280).
    case hello(schemes: [UInt16], publicKey: [UInt8])
    /// The signature, in the form that it has in TLS.
    case signature(sequence: UInt32, [UInt8])
    /// The message is not of the permitted use.
    case denied(sequence: UInt32, reason: String)
    /// The packet was not a request, or cannot be served as it is.
    case malformed(sequence: UInt32, reason: String)
    /// Too many signatures in too short a time.
    case busy(sequence: UInt32, milliseconds: UInt32, reason: String)

    /// The longest packet, in bytes. An RSA key has a public half of 550 bytes at most.
    package static let longest = 4096

    /// The sequence of the request that it answers. Nil for the first packet.
    package var sequence: UInt32? {
        switch self {
        case .hello: nil
        case .signature(let sequence, _), .denied(let sequence, _), .malformed(let sequence, _),
            .busy(let sequence, _, _):
            sequence
        }
    }

    /// The encoded packet.
    package var packet: [UInt8] {
        switch self {
        case .hello(let schemes, let publicKey):
            var packet = [ChannelRequest.protocolVersion, UInt8(ascii: "H")]
            packet.append(bigEndian: UInt16(truncatingIfNeeded: schemes.count))
            for scheme in schemes { packet.append(bigEndian: scheme) }
            return packet + publicKey
        case .signature(let sequence, let signature): return ChannelRequest.header("K", sequence) + signature
        case .denied(let sequence, let reason): return ChannelRequest.header("D", sequence) + reason.utf8
        case .malformed(let sequence, let reason): return ChannelRequest.header("E", sequence) + reason.utf8
        case .busy(let sequence, let milliseconds, let reason):
            var packet = ChannelRequest.header("B", sequence)
            packet.append(bigEndian: milliseconds)
            return packet + reason.utf8
        }
    }

    /// The packet is not one of a signer.
    package enum Malformed: Error, Equatable, Sendable { case malformed }

    /// Decodes a packet as strictly as the signer decodes requests. Texts must be printable ASCII, because they can reach
    /// a terminal.
    package init(_ packet: [UInt8]) throws(Malformed) {
        guard packet.count <= Self.longest else { throw .malformed }
        var rest = packet[...]
        guard rest.popFirst() == ChannelRequest.protocolVersion, let kind = rest.popFirst() else { throw .malformed }
        if kind == UInt8(ascii: "H") {
            self = try Self.hello(rest)
            return
        }
        guard let sequence = rest.takeBigEndian(UInt32.self) else { throw .malformed }
        switch kind {
        case UInt8(ascii: "K"):
            guard !rest.isEmpty else { throw .malformed }
            self = .signature(sequence: sequence, Array(rest))
        case UInt8(ascii: "D"): self = .denied(sequence: sequence, reason: try Self.text(rest))
        case UInt8(ascii: "E"): self = .malformed(sequence: sequence, reason: try Self.text(rest))
        case UInt8(ascii: "B"):
            guard let milliseconds = rest.takeBigEndian(UInt32.self) else { throw .malformed }
            self = .busy(sequence: sequence, milliseconds: milliseconds, reason: try Self.text(rest))
        default: throw .malformed
        }
    }

    private static func hello(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> ChannelReply {
        var rest = bytes
        guard let count = rest.takeBigEndian(UInt16.self) else { throw .malformed }
        var schemes: [UInt16] = []
        for _ in 0..<count {
            guard let scheme = rest.takeBigEndian(UInt16.self) else { throw .malformed }
            schemes.append(scheme)
        }
        guard !rest.isEmpty else { throw .malformed }
        return .hello(schemes: schemes, publicKey: Array(rest))
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> String {
        guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { throw .malformed }
        return String(decoding: bytes, as: UTF8.self)
    }
}
