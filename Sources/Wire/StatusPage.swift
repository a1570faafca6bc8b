// What the broker says of itself: lines `name value`, as many as one packet holds.
//
// Must never let a value end its line, nor leave something out without saying that there is more.

/// The lines of one status reply.
package struct StatusPage: Equatable, Sendable {
    package struct Line: Equatable, Sendable {
        /// A ``StatusName``, or one of a later broker's. A name may come more than once.
        package let name: String
        /// Printable ASCII.
        package let value: String

        /// Nil if this program does not know what it is about.
        package var known: StatusName? { StatusName(rawValue: name) }
    }

    package private(set) var lines: [Line] = []
    private var room = Limits.packetBytes - 2

    package init() {}

    /// Adds a line, unless fewer than `keeping` bytes would be left after it.
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

    /// Where there is more: the key after which it goes on.
    package var next: KeyName? {
        guard let last = lines.last, last.name == StatusName.more.rawValue else { return nil }
        return KeyName(last.value)
    }

    /// One page after another, as if they had been one.
    package mutating func append(_ other: StatusPage) {
        if lines.last?.name == StatusName.more.rawValue { lines.removeLast() }
        lines += other.lines
    }

    var text: String { lines.map { "\($0.name) \($0.value)" }.joined(separator: "\n") }

    init?(_ text: ArraySlice<UInt8>) {
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let parts = line.split(separator: UInt8(ascii: " "), maxSplits: 1)
            guard parts.count == 2, line.allSatisfy({ (0x20...0x7E).contains($0) }) else { return nil }
            room -= line.count + 1
            lines.append(
                Line(name: String(decoding: parts[0], as: UTF8.self), value: String(decoding: parts[1], as: UTF8.self)))
        }
    }
}
