// Finds where a log continues: at the end of its file, or of the file that was rotated away before it.
//
// Must never silently continue after a record that does not verify. Must never cut off what a power cut cannot have
// damaged: that is evidence.

internal import Kernel

/// The end of a log file as it was found.
package struct End {
    package enum Content {
        case empty
        /// The last complete record.
        case record(number: UInt64, link: Link)
        /// The last line is not a record that this program wrote, and why.
        case damaged(String)
    }
    package let content: Content
    /// The bytes after the last good record, as a crash leaves them: a record that was written only in part, or
    /// everything from where zeros are in place of what was written.
    package let unfinished: [UInt8]
    /// The size of the file without them, in bytes.
    package let size: Int

    /// The most bytes that are written between two calls of `fdatasync(2)`. So no more can be damaged by a power cut.
    static let mostUnsynced = 16 * Record.longest
    /// How many bytes to read: room for those, for two of the longest records, and a part of a third.
    static let tailBytes = mostUnsynced + 3 * Record.longest

    /// - Parameter syncs: whether everything before the last write is on disk.
    package init(tail: [UInt8], of total: Int, syncs: Bool) {
        let found = End(lines: tail[...], of: total, startsAt: total - tail.count)
        let holes = Self.holes(in: tail)
        // With `fdatasync`, all that stands behind the first hole was in the last write. Without it, a hole may be far from
        // the end. If the end is good, the log is continued there.
        let first = syncs ? holes.first { $0.isAfterLastStart } : nil
        for hole in [first?.line].compactMap(\.self) + (found.isDamaged ? holes.reversed().map(\.line) : [])
        where tail.count - hole <= Self.mostUnsynced {
            let rest = tail.count - hole
            let before = End(lines: tail[..<hole], of: total - rest, startsAt: total - tail.count)
            guard !before.isDamaged else { continue }
            self.init(content: before.content, unfinished: Array(tail[hole...]), size: before.size)
            return
        }
        self = found
    }

    private init(content: Content, unfinished: [UInt8], size: Int) {
        (self.content, self.unfinished, self.size) = (content, unfinished, size)
    }

    /// - Parameters:
    ///   - total: the position in the file where `lines` end.
    ///   - start: the position in the file where they begin.
    init(lines: ArraySlice<UInt8>, of total: Int, startsAt start: Int) {
        let startsFile = start == 0
        unfinished = Array(lines.suffix(while: { $0 != UInt8(ascii: "\n") }))
        size = total - unfinished.count
        let whole = lines.dropLast(unfinished.count)
        guard let (last, before) = Self.lastTwoLines(of: whole) else {
            content = startsFile ? .empty : .damaged("a line that is longer than any record")
            return
        }
        guard let record = Link.taken(from: last) else {
            content = .damaged("a line that is not a record")
            return
        }
        let link: Link?
        if let before {
            link = Link.taken(from: before)?.link
        } else {
            link = startsFile ? record.previous ?? .beginning : nil
        }
        guard let link, link.next(over: record.record) == record.link else {
            content = .damaged("a record (seq \(record.number)) whose chain does not follow from the one before it")
            return
        }
        content = .record(number: record.number, link: record.link)
    }

    private var isDamaged: Bool {
        if case .damaged = content { true } else { false }
    }

    /// Whether whole lines are among what is cut off. They are kept elsewhere then.
    var hasUnfinishedLines: Bool { unfinished.contains(UInt8(ascii: "\n")) }

    /// What is cut off, in words.
    var note: String {
        let zeros = unfinished.count { $0 == 0 }
        let of = hasUnfinishedLines ? "records that were" : "a record that was"
        let begin = "cut off \(unfinished.count) bytes of \(of) never finished"
        let written = unfinished.filter { $0 != 0 }.prefix(1024)
        let text = written.isEmpty ? "" : ": \(String(decoding: written, as: UTF8.self))"
        return zeros == 0 ? begin + text : "\(begin), \(zeros) of them zeros, as a power cut leaves them\(text)"
    }

    /// The last complete line, and the complete line before it if there is one. Both are without their line feeds.
    private static func lastTwoLines(of whole: ArraySlice<UInt8>) -> (
        last: ArraySlice<UInt8>, before: ArraySlice<UInt8>?
    )? {
        guard !whole.isEmpty else { return nil }
        let last = whole.dropLast().suffix(while: { $0 != UInt8(ascii: "\n") })
        let rest = whole[..<last.startIndex]
        guard !rest.isEmpty else { return (last, nil) }
        return (last, rest.dropLast().suffix(while: { $0 != UInt8(ascii: "\n") }))
    }

    // MARK: Zeros

    /// Finds zeros in place of what was written. A record has no byte 0. The file system puts one where the file had
    /// grown and its data had not reached the disk.
    /// - Returns: where each line with zeros begins that is a whole line, and whether the daemon did not start after
    ///   it. If it did, the daemon of an older version has continued behind it.
    private static func holes(in tail: [UInt8]) -> [(line: Int, isAfterLastStart: Bool)] {
        guard tail.contains(0) else { return [] }
        var found: [(line: Int, isAfterLastStart: Bool)] = []
        var rest = tail[...]
        while let feed = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[..<feed]
            if line.contains(0) {
                found.append((line.startIndex, true))
            } else if isStart(line) {
                found = found.map { ($0.line, false) }
            }
            rest = rest[(feed + 1)...]
        }
        return found
    }

    private static let start = Array(#","event":"start""#.utf8)

    /// Whether the line records a start of the daemon. No text in a record looks like that, because quotes are escaped.
    private static func isStart(_ line: ArraySlice<UInt8>) -> Bool {
        let begin = line.prefix(96)
        return begin.indices.contains { begin[$0...].starts(with: start) }
    }
}

extension BidirectionalCollection {
    fileprivate func suffix(while predicate: (Element) -> Bool) -> SubSequence {
        var start = endIndex
        while start > startIndex {
            let before = index(before: start)
            guard predicate(self[before]) else { break }
            start = before
        }
        return self[start...]
    }
}
