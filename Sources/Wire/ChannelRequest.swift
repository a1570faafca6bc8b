// A request on a signing channel: one packet from a client to the signer.
//
// Must never accept what the protocol does not define: an unknown version or kind, a missing byte, or one too many.

/// A request on a signing channel.
package enum ChannelRequest: Equatable, Sendable {
    /// Asks for a signature. The number of the scheme may be one that nobody knows.
    case sign(sequence: UInt32, scheme: UInt16, message: ArraySlice<UInt8>)
    /// Makes the descriptor that comes with it another end of this channel.
    case clone(sequence: UInt32)

    /// The packet is not a request.
    package struct Malformed: Error, Equatable, Sendable {
        package enum Fault: String, Sendable {
            case tooShort = "the packet is too short"
            case tooLong = "the message is longer than 16384 bytes"
            case unknownVersion = "the protocol version is unknown; this is version 1"
            case unknownKind = "the kind of the packet is unknown; there are S and C"
            case unexpectedRest = "nothing may follow the sequence number of C"
        }

        package let fault: Fault
        /// 0 if the packet is too short to have one.
        package let sequence: UInt32
    }

    static let protocolVersion = UInt8(ascii: "1")
    /// The bytes of a request for a signature before its message.
    private static let headerBytes = 8
    /// The longest packet, in bytes.
    package static let longest = headerBytes + Limits.channelMessageBytes

    /// - Parameter length: of the packet as it was sent; it may have been cut.
    package init(_ packet: ArraySlice<UInt8>, length: Int) throws(Malformed) {
        var rest = packet
        let version = rest.popFirst()
        let kind = rest.popFirst()
        let sequence = rest.takeBigEndian(UInt32.self)
        func malformed(_ fault: Malformed.Fault) -> Malformed { Malformed(fault: fault, sequence: sequence ?? 0) }
        guard let version, let kind else { throw malformed(.tooShort) }
        guard version == Self.protocolVersion else { throw malformed(.unknownVersion) }
        guard let sequence else { throw malformed(.tooShort) }
        switch kind {
        case UInt8(ascii: "S"):
            guard let scheme = rest.takeBigEndian(UInt16.self) else { throw malformed(.tooShort) }
            guard length <= Self.longest, length == packet.count else { throw malformed(.tooLong) }
            self = .sign(sequence: sequence, scheme: scheme, message: rest)
        case UInt8(ascii: "C"):
            guard rest.isEmpty else { throw malformed(.unexpectedRest) }
            self = .clone(sequence: sequence)
        default: throw malformed(.unknownKind)
        }
    }

    package init(_ packet: [UInt8]) throws(Malformed) { try self.init(packet[...], length: packet.count) }

    /// The encoded packet.
    package var packet: [UInt8] {
        switch self {
        case .sign(let sequence, let scheme, let message):
            var packet = Self.header("S", sequence)
            packet.append(bigEndian: scheme)
            return packet + message
        case .clone(let sequence): return Self.header("C", sequence)
        }
    }

    static func header(_ kind: Unicode.Scalar, _ sequence: UInt32) -> [UInt8] {
        var packet = [protocolVersion, UInt8(ascii: kind)]
        packet.append(bigEndian: sequence)
        return packet
    }
}
