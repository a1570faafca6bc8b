// Prints records on standard output: for people one line each with aligned columns, for programs unchanged.
//
// Must never print a byte of a record that is not printable ASCII. Must never colour the output unless it is a terminal
// or the user wants it.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import LocalTime
internal import Wire

/// Formats records, a few thousand at a time.
struct RecordRows {
    private struct Row {
        let texts: [String]
        let colour: String?
    }

    private let format: TableFormat
    private let isColoured: Bool
    private let names = Names()
    /// The output that waits.
    private var waiting: [UInt8] = []
    /// The rows whose widths are not known yet.
    private var rows: [Row] = []
    /// The width of each column: that of the widest text so far. The log may be too long to read all of it first, so
    /// the columns can still grow. Then there is another heading, and what follows is aligned with it.
    private var widths = [6, 20, 7, 11, 12, 14, 16, 0]
    private var isFirst = true

    private static let heading = ["seq", "time", "event", "decision", "key", "user", "unit", "why"]
    private static let decisionColumn = 3
    private static let most = 64 * 1024
    /// How many rows are aligned together.
    private static let mostRows = 4096
    /// The largest width of a column: that of the longest unit. Only in a forged log is a text longer, and it widens no
    /// other row.
    private static let widest = 256

    /// - Parameter colours: nil if the terminal and the user's environment decide.
    init(_ format: TableFormat, colours: Bool? = nil) {
        self.format = format
        isColoured =
            colours
            ?? (format == .text && StandardStream.output.isTerminal && (environment("NO_COLOR") ?? "").isEmpty
                && environment("TERM") != "dumb")
    }

    mutating func add(_ record: LoggedRecord) throws(ExitCode) {
        append(record)
        if waiting.count > Self.most || rows.count >= Self.mostRows { try flush() }
    }

    mutating func flush() throws(ExitCode) {
        let bytes = taken()
        try output(try StandardStream.output.writeAll(bytes))
    }

    /// Returns the output that waits, and empties the buffer.
    mutating func taken() -> [UInt8] {
        align()
        defer { waiting.removeAll(keepingCapacity: true) }
        return waiting
    }

    mutating func append(_ record: LoggedRecord) {
        switch format {
        case .json:
            waiting.append(contentsOf: record.line)
            waiting.append(UInt8(ascii: "\n"))
        case .text:
            rows.append(Row(texts: columns(of: record), colour: record.text(.decision).flatMap(Self.colour)))
        }
    }

    /// Moves the rows to the output, now that their widths are known.
    private mutating func align() {
        if rows.isEmpty { return }
        let before = widths
        for row in rows {
            for (column, text) in row.texts.enumerated().dropLast() {
                let width = text.utf8.count
                if width <= Self.widest { widths[column] = max(widths[column], width) }
            }
        }
        if isFirst || widths != before { append(Self.heading, colour: nil) }
        isFirst = false
        for row in rows { append(row.texts, colour: row.colour) }
        rows.removeAll(keepingCapacity: true)
    }

    // MARK: For people

    private func columns(of record: LoggedRecord) -> [String] {
        let uid = record.number(.uid).flatMap { UInt32(exactly: $0) }
        let event = record.text(.event) ?? "?"
        let texts = [
            record.number(.seq).map(String.init), record.text(.time).map(Self.local),
            event == "request" ? record.text(.verb) : event, record.text(.decision), record.text(.key),
            uid.map { names.user($0, logged: record.text(.user)) }, record.text(.unit), why(record),
        ]
        return texts.map { $0.map(printable) ?? "-" }
    }

    /// The line of the policy or the reason, and the calling program.
    private func why(_ record: LoggedRecord) -> String? {
        if record.endsChannel { return Self.end(record) }
        var parts = [record.text(.rule) ?? record.text(.reason)].compactMap(\.self)
        if record.text(.rule) != nil, let reason = record.text(.reason), reason != "permitted" { parts.append(reason) }
        if let uses = record.text(.uses) { parts.append("for \(uses)") }
        if let detail = record.text(.detail) { parts.append(detail) }
        if let times = record.number(.suppressed) { parts.append("\(times) times") }
        let text = parts.joined(separator: ": ")
        guard let program = Self.program(record) else { return text.isEmpty ? nil : text }
        return "\(text) (\(program))"
    }

    private static func program(_ record: LoggedRecord) -> String? {
        record.text(.comm).map { $0 + (record.number(.pid).map { "[\($0)]" } ?? "") }
    }

    /// The end of a signing channel: how often it was used, why it ended, and which grant it was.
    private static func end(_ record: LoggedRecord) -> String {
        func number(_ field: LoggedRecord.Field) -> Int? { record.number(field).map { Int(clamping: $0) } }
        let known = [
            number(.signatures).map { counted($0, "signature") }, number(.refused).map { "\($0) refused" },
            number(.clones).map { counted($0, "clone") },
        ].compactMap(\.self)
        let used = known.isEmpty ? "how often it signed is not known" : known.joined(separator: ", ")
        let parts = ["ended: \(used)", record.text(.detail)].compactMap(\.self)
        let why = [record.text(.reason), record.number(.of).map { "decision \($0)" }, program(record)]
        return "\(parts.joined(separator: ": ")) (\(why.compactMap(\.self).joined(separator: ", ")))"
    }

    private static func local(_ time: String) -> String { WallTime(rfc3339: time)?.local ?? time }

    private mutating func append(_ texts: [String], colour: String?) {
        for (column, text) in texts.enumerated() {
            if column > 0 { waiting.append(contentsOf: "  ".utf8) }
            let isColoured = isColoured && column == Self.decisionColumn
            if isColoured, let colour { waiting.append(contentsOf: colour.utf8) }
            waiting.append(contentsOf: text.utf8)
            if isColoured, colour != nil { waiting.append(contentsOf: Self.plain.utf8) }
            guard column < texts.count - 1 else { break }
            let padding = max(widths[column] - text.utf8.count, 0)
            waiting.append(contentsOf: repeatElement(UInt8(ascii: " "), count: padding))
        }
        waiting.append(UInt8(ascii: "\n"))
    }

    // ECMA-48, SGR (Select Graphic Rendition).
    private static let plain = "\u{1B}[0m"

    private static func colour(_ decision: String) -> String? {
        switch decision {
        case "granted", "applied": "\u{1B}[32m"
        case "denied", "rejected": "\u{1B}[31m"
        case "unavailable", "busy", "revoked": "\u{1B}[33m"
        case "malformed": "\u{1B}[35m"
        default: nil
        }
    }
}
