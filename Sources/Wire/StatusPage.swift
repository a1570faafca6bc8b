// A page of the broker's status: as many lines of the form `name value` as fit into one packet.
//
// Must never let a value end its line. Must never leave something out without saying that there is more.

/// The lines of one status reply.
package struct StatusPage: Equatable, Sendable {
    package struct Line: Equatable, Sendable {
        /// A ``StatusName``, or a name that only a later version of the broker knows. A name can occur several times.
        package let name: String
        /// Printable ASCII.
        package let value: String

        /// Nil if this program does not know the name.
        package var known: StatusName? { StatusName(rawValue: name) }
    }

    package private(set) var lines: [Line] = []
    private var room = Limits.packetBytes - 2

    package init() {}

    /// Adds a line. Returns false and adds nothing if fewer than `keeping` bytes would be left after it.
    @discardableResult
    package mutating func add(_ name: StatusName, _ value: some CustomStringConvertible, keeping: Int = 0) -> Bool {
        let (name, value) = (name.rawValue, printable(value.description))
        let size = name.utf8.count + value.utf8.count + 2
        guard size + keeping <= room else { return false }
        room -= size
        lines.append(Line(name: name, value: value))
        return true
    }

    /// The values of all lines of that name.
    package func values(_ name: StatusName) -> [String] { lines.filter { $0.name == name.rawValue }.map(\.value) }

    package func number(_ name: StatusName) -> UInt64? { values(name).first.flatMap { UInt64($0) } }

    /// The key after which the next page begins. Nil if this is the last page.
    package var next: KeyName? {
        guard let last = lines.last, last.name == StatusName.more.rawValue else { return nil }
        return KeyName(last.value)
    }

    /// The same for a page of a reply to the verb R.
    package var nextHolders: RotationQuery? {
        guard let last = lines.last, last.name == StatusName.more.rawValue else { return nil }
        return RotationQuery(Array(last.value.utf8)[...])
    }

    /// Joins another page to this one.
    package mutating func append(_ other: StatusPage) {
        if lines.last?.name == StatusName.more.rawValue { lines.removeLast() }
        lines += other.lines
    }

    var text: String { lines.map { "\($0.name) \($0.value)" }.joined(separator: "\n") }

    init?(_ text: ArraySlice<UInt8>) {
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let parts = line.split(separator: UInt8(ascii: " "), maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, parts.allSatisfy({ !$0.isEmpty }), line.allSatisfy({ (0x20...0x7E).contains($0) })
            else { return nil }
            room -= line.count + 1
            lines.append(
                Line(name: String(decoding: parts[0], as: UTF8.self), value: String(decoding: parts[1], as: UTF8.self)))
        }
    }
}
