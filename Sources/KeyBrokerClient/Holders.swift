// What an administrator can ask about rotations: who watches a key or has it sign, and which content each of them has.
//
// Must never take a line for one that it is not: what is not understood ends the request with an error.

internal import Kernel
package import Wire

/// A key that somebody watches or has sign, as the broker sees it.
package struct KeyHolders: Sendable {
    package struct Holder: Sendable {
        /// Whether it is a signing channel. Otherwise it is a connection that watches the key.
        package let signs: Bool
        /// The newest generation that the holder has read, or nil if it has read none. For a channel: the one that it
        /// signs with.
        package let generation: UInt64?
        package let uid: UInt64
        package let pid: UInt64?
        package let unit: String?
    }

    package enum State: String, Sendable { case settled, settling, unavailable }

    package let name: KeyName
    /// The generation of the newest content that was announced.
    package let generation: UInt64
    package let state: State
    package fileprivate(set) var holders: [Holder] = []

    /// The holders of an older content than the newest.
    package var behind: [Holder] { holders.filter { $0.generation != generation } }
}

extension KeyBroker {
    /// The keys that somebody holds, with their holders, sorted by name.
    /// - Parameter name: only this key, which nobody need hold. It is left out if the policy has no such key.
    package func holders(
        of name: KeyName? = nil, waitingUpTo wait: Duration = .zero
    ) throws(KeyBrokerError) -> [KeyHolders] {
        let patience = Deadline(wait, calledOffBy: nil)
        var all: [KeyHolders] = []
        var query = name.map { RotationQuery($0) } ?? .all
        var pages = 0
        while true {
            let page = try exchange(.rotation(query), patience).answer.statusPage()
            for line in page.lines where line.known != .more {
                if let name, line.value.prefix(while: { $0 != " " }) != name.description { return all }
                try all.add(line)
            }
            pages += 1
            guard let next = page.nextHolders else { return all }
            guard query.isBefore(next) else { throw .protocolViolation("the pages are not in their order") }
            guard pages < Limits.statusPages else {
                throw .protocolViolation("there are more than \(Limits.statusPages) pages")
            }
            query = next
        }
    }
}

extension [KeyHolders] {
    mutating func add(_ line: StatusPage.Line) throws(KeyBrokerError) {
        let words = line.value.split(separator: " ").map(String.init)
        switch line.known {
        case .rotation:
            guard words.count == 4, words[1] == "generation", let name = KeyName(words[0]),
                let generation = decimal(words[2], as: UInt64.self), let state = KeyHolders.State(rawValue: words[3])
            else { throw .malformed(line) }
            var key = KeyHolders(name: name, generation: generation, state: state)
            // If a page ends with this line, the next one begins with it.
            if last?.name == name { key.holders = removeLast().holders }
            append(key)
        case .holder, .channel:
            let signs = line.known == .channel
            guard let last = indices.last, let holder = KeyHolders.Holder(words, of: self[last].name, signs: signs),
                !signs || holder.generation != nil
            else { throw .malformed(line) }
            self[last].holders.append(holder)
        default: throw .malformed(line)
        }
    }
}

extension KeyHolders.Holder {
    /// Nil if the words are no line about a holder of the key.
    fileprivate init?(_ words: [String], of name: KeyName, signs: Bool) {
        guard words.count >= 6, words.count % 2 == 0, words[0] == name.description, words[2] == "generation" else {
            return nil
        }
        let generation = decimal(words[3], as: UInt64.self)
        guard generation != nil || words[3] == "none" else { return nil }
        var values: [String: String] = [:]
        for index in stride(from: 4, to: words.count, by: 2) { values[words[index]] = words[index + 1] }
        guard let uid = values["uid"].flatMap({ decimal($0, as: UInt64.self) }) else { return nil }
        self.signs = signs
        self.generation = generation
        self.uid = uid
        pid = values["pid"].flatMap { decimal($0, as: UInt64.self) }
        unit = values["unit"]
    }
}

extension RotationQuery {
    /// Whether a page that begins there is after this one. Otherwise a lying broker could send pages for ever.
    fileprivate func isBefore(_ other: RotationQuery) -> Bool {
        guard let next = other.key else { return false }
        guard let key else { return true }
        return key < next || key == next && after < other.after
    }
}

extension KeyBrokerError {
    fileprivate static func malformed(_ line: StatusPage.Line) -> KeyBrokerError {
        .protocolViolation("it lists a watched key as '\(line.name) \(line.value)'")
    }
}
