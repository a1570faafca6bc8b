// A reply: one packet to a client, put together and taken apart.
//
// Must never say more to one who is denied than that: an unknown key and a key of others read alike.

/// What the broker answers.
package enum Reply: Equatable, Sendable {
    /// Granted; one or two descriptors come with it.
    case granted(decision: UInt64)
    /// No such key, or not the caller's.
    case denied(decision: UInt64)
    /// Permitted, but the file cannot be handed over now. The reason names no path.
    case unavailable(decision: UInt64, reason: String)
    /// A limit was reached; nothing was opened. Read from a packet, it is an hour at most.
    case busy(decision: UInt64, milliseconds: Int)
    /// No request; the broker then closes.
    case malformed(decision: UInt64, reason: String)
    /// Names that the caller may get; none ends the list.
    case names([KeyName])
    case version(String)
    /// What the broker says of itself, or a part of it.
    case status(StatusPage)

    private static let protocolVersion = UInt8(ascii: "1")
    /// In milliseconds.
    private static let longestBusy = Int(Limits.longestBusy.components.seconds) * 1000

    /// The packet, as it is sent.
    package var packet: [UInt8] {
        switch self {
        case .granted(let decision): Array("1K\(decision)".utf8)
        case .denied(let decision): Array("1D\(decision) not permitted".utf8)
        case .unavailable(let decision, let reason): Array("1U\(decision) \(reason)".utf8)
        case .busy(let decision, let milliseconds): Array("1B\(decision) \(milliseconds)".utf8)
        case .malformed(let decision, let reason): Array("1E\(decision) \(reason)".utf8)
        case .names(let names): Array("1L".utf8) + names.map(\.description).joined(separator: "\n").utf8
        case .version(let text): Array("1V\(text)".utf8)
        case .status(let page): Array("1S".utf8) + page.text.utf8
        }
    }

    /// The decision number, where the reply carries one.
    package var decision: UInt64? {
        switch self {
        case .granted(let decision), .denied(let decision), .unavailable(let decision, _), .busy(let decision, _),
            .malformed(let decision, _):
            decision
        case .names, .version, .status: nil
        }
    }

    /// Why a packet is no reply.
    package enum Malformed: Error, Equatable, Sendable { case malformed }

    /// Takes a packet apart, as strictly as the broker takes requests. Texts are printable ASCII: they end on a terminal.
    package init(_ packet: [UInt8]) throws(Malformed) {
        guard packet.count >= 2, packet[0] == Self.protocolVersion else { throw .malformed }
        let rest = packet[2...]
        switch packet[1] {
        case UInt8(ascii: "K"):
            guard let decision = Self.number(rest) else { throw .malformed }
            self = .granted(decision: decision)
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

    /// Packs as many names from the front of `names` as one packet holds, and takes them away.
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
        let parts = bytes.split(separator: UInt8(ascii: " "), maxSplits: 1)
        guard parts.count == 2, let decision = number(parts[0]) else { throw .malformed }
        return (decision, try text(parts[1]))
    }

    private static func text(_ bytes: ArraySlice<UInt8>) throws(Malformed) -> String {
        guard bytes.allSatisfy({ (0x20...0x7E).contains($0) }) else { throw .malformed }
        return String(decoding: bytes, as: UTF8.self)
    }
}
