// Finds where a log continues: at the end of its file, or of the file that was rotated away before it.
//
// Must never silently continue after a record that does not verify.

internal import Kernel

/// The end of a log file as it was found.
struct End {
    enum Content {
        case empty
        /// The last complete record.
        case record(number: UInt64, link: Link)
        /// The last line is not a record that this program wrote, and why.
        case damaged(String)
    }
    let content: Content
    /// The bytes after the last line feed: a record that was written only in part.
    let unfinished: [UInt8]
    /// The size of the file up to the last line feed, in bytes.
    let size: Int

    /// How many bytes to read: room for two of the longest records and a part of a third.
    private static let tailBytes = 3 * Record.longest

    init(of file: borrowing AppendFile) throws(Failure) {
        self.init(tail: try file.tail(limit: Self.tailBytes), of: try file.size())
    }

    init(tail: [UInt8], of total: Int) {
        let startsFile = tail.count == total
        unfinished = Array(tail.suffix(while: { $0 != UInt8(ascii: "\n") }))
        size = total - unfinished.count
        let whole = tail.dropLast(unfinished.count)
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

    /// The last line, and the complete line before it if there is one. Both are without their line feeds.
    private static func lastTwoLines(of whole: ArraySlice<UInt8>) -> (
        last: ArraySlice<UInt8>, before: ArraySlice<UInt8>?
    )? {
        guard !whole.isEmpty else { return nil }
        let last = whole.dropLast().suffix(while: { $0 != UInt8(ascii: "\n") })
        let rest = whole[..<last.startIndex]
        guard !rest.isEmpty else { return (last, nil) }
        return (last, rest.dropLast().suffix(while: { $0 != UInt8(ascii: "\n") }))
    }

    /// The last good record of the newest file beside `path` whose name begins with the log's name, as rotation leaves
    /// it: `audit.jsonl.1`, `audit.jsonl-20261123`. Compressed files are skipped. Nil if there is none.
    static func ofRotatedFile(beside path: String) throws(Failure) -> (path: String, number: UInt64, link: Link)? {
        guard let slash = path.lastIndex(of: "/") else { return nil }
        let (directory, name) = (String(path[..<slash]), path[path.index(after: slash)...])
        var newest: (path: String, number: UInt64, link: Link)?
        for entry in try directoryEntries(directory.isEmpty ? "/" : directory) {
            guard entry.hasPrefix(name), entry != name else { continue }
            let candidate = "\(directory)/\(entry)"
            // A file that cannot be read is a failure, because the number to continue from may be in it.
            guard let tail = try fileTail(candidate, limit: tailBytes) else { continue }
            var end = tail.bytes[...]
            // Skips a damaged end. That file itself shows what it lost.
            while let feed = end.lastIndex(of: UInt8(ascii: "\n")) {
                let whole = End(tail: Array(end[...feed]), of: tail.total - (tail.bytes.count - feed - 1))
                if case .record(let number, let link) = whole.content {
                    if number > newest?.number ?? 0 { newest = (candidate, number, link) }
                    break
                }
                end = end[..<feed]
            }
        }
        return newest
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
