// A reply: one packet to a client. This file encodes and decodes it.
//
// Must never tell a denied caller more than that it is denied. The reply for an unknown key and for a key of others is
// the same.

/// A reply of the broker.
package enum Reply: Equatable, Sendable {
    /// Granted. One or two descriptors come with the packet.
    case granted(decision: UInt64)
    /// Granted on a connection that watches a key: at first, and at each rotation. One or two descriptors come with the
    /// packet. The generation counts the rotations of the key that the daemon has seen since it started.
    case rotated(decision: UInt64, generation: UInt64)
    /// The watch has ended, because the permission or the key has. The broker then closes the connection.
    case watchEnded(decision: UInt64, reason: String)
    /// There is no such key, or the caller may not have it.
    case denied(decision: UInt64)
    /// The caller may have the key, but the file cannot be handed over now. The reason contains no path.
    case unavailable(decision: UInt64, reason: String)
    /// A limit was reached, and nothing was opened. If it was decoded from a packet, the wait is at most one hour.
    case busy(decision: UInt64, milliseconds: Int)
    /// The packet was not a request. The broker then closes the connection.
    case malformed(decision: UInt64, reason: String)
    /// Names of keys that the caller may get. An empty list is the end of the names.
    case names([KeyName])
    case version(String)
    /// The status of the broker, or a part of it.
    case status(StatusPage)

    private static let protocolVersion = UInt8(ascii: "1")
    /// In milliseconds.
    private static let longestBusy = Int(Limits.longestBusy.components.seconds) * 1000

    /// The encoded packet.
    package var packet: [UInt8] {
        switch self {
        case .granted(let decision): Self.packet(granted: decision)
        case .rotated(let decision, let generation): Array("1K\(decision) \(generation)".utf8)
        case .watchEnded(let decision, let reason): Array("1X\(decision) \(reason)".utf8)
        case .denied(let decision): Array("1D\(decision) not permitted".utf8)
        case .unavailable(let decision, let reason): Array("1U\(decision) \(reason)".utf8)
        case .busy(let decision, let milliseconds): Array("1B\(decision) \(milliseconds)".utf8)
        case .malformed(let decision, let reason): Array("1E\(decision) \(reason)".utf8)
        case .names(let names): Array("1L".utf8) + names.map(\.description).joined(separator: "\n").utf8
        case .version(let text): Array("1V\(text)".utf8)
        case .status(let page): Array("1S".utf8) + page.text.utf8
        }
    }

    /// The packet of most replies, made without a text.
    private static func packet(granted decision: UInt64) -> [UInt8] {
        var packet: [UInt8] = []
        packet.reserveCapacity(22)
        packet.append(protocolVersion)
        packet.append(UInt8(ascii: "K"))
        packet.append(decimal: decision)
        return packet
    }

    /// The decision number, if the reply has one.
    package var decision: UInt64? {
        switch self {
        case .granted(let decision), .rotated(let decision, _), .watchEnded(let decision, _), .denied(let decision),
            .unavailable(let decision, _), .busy(let decision, _), .malformed(let decision, _):
            decision
        case .names, .version, .status: nil
        }
    }

    /// The packet is not a reply.
    package enum Malformed: Error, Equatable, Sendable { case malformed }

    /// Decodes a packet as strictly as the broker decodes requests. Texts must be printable ASCII, because they can
    /// reach a terminal.
    package init(_ packet: [UInt8]) throws(Malformed) {
        guard packet.count >= 2, packet[0] == Self.protocolVersion else { throw .malformed }
        let rest = packet[2...]
        switch packet[1] {
        case UInt8(ascii: "K"):
            if let decision = Self.number(rest) {
                self = .granted(decision: decision)
            } else {
                let (decision, text) = try Self.numbered(rest)
                guard let generation = decimal(text, as: UInt64.self) else { throw .malformed }
                self = .rotated(decision: decision, generation: generation)
            }
        case UInt8(ascii: "X"):
            let (decision, text) = try Self.numbered(rest)
            self = .watchEnded(decision: decision, reason: text)
        case UInt8(ascii: "D"):
            self = .denied(decision: try Self.numbered(rest).0)
        case UInt8(ascii: "U"):
            let (decision, text) = try Self.numbered(rest)
            self = .unavailable(decision: decision, reason: text)
        case UInt8(ascii: "B"):
            let (decision, text) = try Self.numbered(rest)
            guard let milliseconds = decimal(text, as: UInt64.self) else { throw .malformed }
            self = .busy(decision: decision, milliseconds: min(Int(clamping: milliseconds), Self.longestBusy))
        case UInt8(ascii: "E"):
            let (decision, text) = try Self.numbered(rest)
            self = .malformed(decision: decision, reason: text)
        case UInt8(ascii: "L"):
            var names: [KeyName] = []
            for line in rest.split(separator: UInt8(ascii: "\n")) {
                guard let name = KeyName(line) else { throw .malformed }
                names.append(name)
            }
            self = .names(names)
        case UInt8(ascii: "V"):
            self = .version(try Self.text(rest))
        case UInt8(ascii: "S"):
            guard let page = StatusPage(rest) else { throw .malformed }
            self = .status(page)
        default: throw .malformed
        }
    }

    /// Takes as many names from the front of `names` as fit into one packet, and returns the reply with them.
    package static func nextPacket(of names: inout ArraySlice<KeyName>) -> Reply {
        var room = Limits.packetBytes - 2
        let count = names.prefix { name in
            room -= name.description.utf8.count + 1
            return room >= -1
        }.count
        defer { names = names.dropFirst(count) }
        return .names(Array(names.prefix(count)))
    }

    private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64? {
        decimal(String(decoding: bytes, as: UTF8.self), as: UInt64.self)
    }

    private static func numbered(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> (UInt64, String) {
        let parts = bytes.split(separator: UInt8(ascii: " "), maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[1].isEmpty, let decision = number(parts[0]) else { throw .malformed }
        return (decision, try text(parts[1]))
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> String {
        guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { throw .malformed }
        return String(decoding: bytes, as: UTF8.self)
    }
}
