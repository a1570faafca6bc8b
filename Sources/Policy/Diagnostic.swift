// A message about a policy: its place, its text, and the line with a caret under the word.
//
// Must never print. Must never let a byte of the file move a terminal's cursor.

/// A line of a file.
package struct Location: Hashable, Sendable, CustomStringConvertible {
    package let file: String
    /// Counted from 1; 0 for the file as a whole.
    package let line: Int

    package init(file: String, line: Int) {
        self.file = file
        self.line = line
    }

    /// `FILE:LINE`
    package var description: String {
        var text = ""
        text.reserveCapacity(file.utf8.count + 20)
        text += file
        text += ":"
        text += String(line)
        return text
    }
}

/// An error, a warning, or a note to one of them, in the form that compilers use.
package struct Diagnostic: Error, Equatable, Sendable {
    package enum Severity: String, Sendable { case error, warning, note }

    package let severity: Severity
    package let location: Location
    /// In bytes, counted from 1.
    package let column: Int
    /// The length of the word in bytes, at least 1.
    package let length: Int
    package let message: String
    /// The bytes of the line, or none if there is no line to show.
    package let line: [UInt8]
    /// How many errors or warnings it stands for: more than one if it is about those that are not listed.
    package let count: Int
    /// Other places that it is about. They are shown below it, and not counted.
    package let notes: [Diagnostic]

    package init(
        _ severity: Severity, _ message: String, at location: Location, column: Int = 1, length: Int = 1,
        line: [UInt8] = [], standingFor count: Int = 1, notes: [Diagnostic] = []
    ) {
        self.severity = severity
        self.message = message
        self.location = location
        self.column = column
        self.length = max(1, length)
        self.line = line
        self.count = count
        self.notes = notes
    }

    /// A message about a file as a whole.
    package init(_ severity: Severity, _ message: String, file: String, standingFor count: Int = 1) {
        self.init(severity, message, at: Location(file: file, line: 0), standingFor: count)
    }

    /// How many bytes of a long line are shown.
    private static let shown = 160

    /// `FILE:LINE:COLUMN: error: MESSAGE`, followed by the line and the caret line if there is a line to show, and then
    /// the same for each note.
    package var lines: [String] { ownLines + notes.flatMap(\.lines) }

    private var ownLines: [String] {
        let position = location.line > 0 ? "\(location):\(column)" : location.file
        var lines = ["\(position): \(severity.rawValue): \(message)"]
        guard !line.isEmpty else { return lines }
        let start = column > Self.shown ? column - Self.shown / 2 : 1
        let part = line.dropFirst(start - 1).prefix(Self.shown)
        // Each byte becomes one character, so that the caret stands below the word.
        lines.append(
            String(decoding: part.map { isPrintable($0) || $0 == tab ? $0 : UInt8(ascii: "?") }, as: UTF8.self))
        let before = line.dropFirst(start - 1).prefix(column - start).map { $0 == tab ? tab : UInt8(ascii: " ") }
        let room = max(1, Self.shown - (column - start))
        let waves = [UInt8](repeating: UInt8(ascii: "~"), count: min(length, room) - 1)
        lines.append(String(decoding: before + [UInt8(ascii: "^")] + waves, as: UTF8.self))
        return lines
    }
}

extension Diagnostic: CustomStringConvertible {
    package var description: String { lines.joined(separator: "\n") }
}

let tab = UInt8(ascii: "\t")
let space = UInt8(ascii: " ")

func isPrintable(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) }
