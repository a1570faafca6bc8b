// A request: one packet from a client. This file decodes and encodes it.
//
// Must never accept what the protocol does not define. An unknown version, verb or byte is an error, and so is anything
// after the end of the request.

/// A request of a client.
package enum Request: Equatable, Sendable {
    case get(KeyName)
    /// Asks for a key, and from then on for each later content of it.
    case watch(KeyName)
    /// Asks for a channel on which the key signs.
    case channel(KeyName)
    case list
    case version
    /// Asks for the status of the broker. With a name: for the status of the keys after that one.
    case status(after: KeyName?)
    /// Asks who has which content of a key.
    case rotation(RotationQuery)

    /// The packet is not a request. The description is sent to the client after the decision number.
    package enum Malformed: Error, Equatable, Sendable, CustomStringConvertible {
        case empty, tooLong, broughtDescriptors, unknownVersion, unknownVerb, badKeyName, unexpectedRest
        /// The client did not wait for the reply to its last request.
        case replyUnread
        /// The connection watches a key, so it takes no more requests.
        case whileWatching

        package var description: String {
            switch self {
            case .empty: "the packet is empty"
            case .tooLong: "the packet is longer than \(Limits.packetBytes) bytes"
            case .broughtDescriptors: "descriptors are not accepted"
            case .unknownVersion: "the protocol version is unknown; this is version 1"
            case .unknownVerb: "the verb is unknown; there are C, G, L, R, S, V and W"
            case .badKeyName: "the key name is malformed"
            case .unexpectedRest: "the verb takes nothing after it"
            case .replyUnread: "the reply before was not read yet"
            case .whileWatching: "a connection that watches a key takes no more requests"
            }
        }

        /// The reason in the audit record.
        package var reason: Reason {
            switch self {
            case .empty: .packetEmpty
            case .tooLong: .packetTooLong
            case .broughtDescriptors: .packetWithDescriptors
            case .unknownVersion: .unknownVersion
            case .unknownVerb: .unknownVerb
            case .badKeyName: .badKeyName
            case .unexpectedRest: .unexpectedRest
            case .replyUnread: .replyUnread
            case .whileWatching: .requestWhileWatching
            }
        }
    }

    private static let protocolVersion = UInt8(ascii: "1")

    /// Decodes a packet. One newline at its end is ignored, so that a person can type a request.
    package init(_ packet: ArraySlice<UInt8>) throws(Malformed) {
        let bytes = packet.last == UInt8(ascii: "\n") ? packet.dropLast() : packet
        guard let first = bytes.first else { throw .empty }
        guard first == Self.protocolVersion else { throw .unknownVersion }
        guard let verb = bytes.dropFirst().first else { throw .unknownVerb }
        let rest = bytes.dropFirst(2)
        switch verb {
        case UInt8(ascii: "G"):
            guard let name = KeyName(rest) else { throw .badKeyName }
            self = .get(name)
        case UInt8(ascii: "C"):
            guard let name = KeyName(rest) else { throw .badKeyName }
            self = .channel(name)
        case UInt8(ascii: "W"):
            guard let name = KeyName(rest) else { throw .badKeyName }
            self = .watch(name)
        case UInt8(ascii: "L"):
            guard rest.isEmpty else { throw .unexpectedRest }
            self = .list
        case UInt8(ascii: "V"):
            guard rest.isEmpty else { throw .unexpectedRest }
            self = .version
        case UInt8(ascii: "S"):
            guard !rest.isEmpty else {
                self = .status(after: nil)
                return
            }
            guard let name = KeyName(rest) else { throw .badKeyName }
            self = .status(after: name)
        case UInt8(ascii: "R"):
            guard let query = RotationQuery(rest) else { throw .badKeyName }
            self = .rotation(query)
        default: throw .unknownVerb
        }
    }

    package init(_ packet: [UInt8]) throws(Malformed) { try self.init(packet[...]) }

    /// The encoded packet.
    package var packet: [UInt8] {
        switch self {
        case .get(let name): Array("1G\(name)".utf8)
        case .watch(let name): Array("1W\(name)".utf8)
        case .channel(let name): Array("1C\(name)".utf8)
        case .list: Array("1L".utf8)
        case .version: Array("1V".utf8)
        case .status(let name): Array("1S\(name?.description ?? "")".utf8)
        case .rotation(let query): Array("1R\(query)".utf8)
        }
    }
}
