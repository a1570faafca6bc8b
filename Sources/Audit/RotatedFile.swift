// Finds the file that was rotated away before an empty log, so that the log continues after its last record.
//
// Must never overlook a file that may have later records, because their numbers would be given again.

internal import Kernel

/// The newest rotated file of a log.
struct RotatedFile {
    let path: String
    /// Its last good record.
    let number: UInt64
    let link: Link
    /// The ends that a crash may have left: of this file, and of those that were begun after it. An end that is damaged
    /// in another way is not among them.
    var ends: [(path: String, end: End)]

    /// File names of compressed files. The daemon cannot read them.
    private static let compressed = [".gz", ".xz", ".bz2", ".zst"]

    /// Finds the file beside `path` with the largest number whose name begins with the log's name, as rotation leaves
    /// it: `audit.jsonl.1`, `audit.jsonl-20261123`. Nil if there is none. Throws ``LogError/compressed(_:_:)`` if a
    /// compressed file is newer than all that can be read.
    static func newest(
        beside path: String, in folder: some LogFolder, syncs: Bool
    ) throws(LogError) -> RotatedFile? {
        guard let slash = path.lastIndex(of: "/") else { return nil }
        let (directory, name) = (String(path[..<slash]), path[path.index(after: slash)...])
        var newest: RotatedFile?
        var lastChange: WallTime?
        var packed: [(path: String, changed: WallTime)] = []
        var begun: [(path: String, end: End)] = []
        do throws(Failure) {
            for entry in try folder.names(in: directory.isEmpty ? "/" : directory) {
                guard entry.hasPrefix(name), entry != name else { continue }
                let candidate = "\(directory)/\(entry)"
                let changed = try folder.status(of: candidate)?.modified
                if compressed.contains(where: entry.hasSuffix) {
                    if let changed { packed.append((candidate, changed)) }
                    continue
                }
                // A file that cannot be read is a failure, because the number to continue from may be in it.
                guard let tail = try folder.tail(of: candidate, limit: End.tailBytes) else { continue }
                let end = End(tail: tail.bytes, of: tail.total, syncs: syncs)
                if case .empty = end.content, isOfLog(end.unfinished) { begun.append((candidate, end)) }
                guard let file = RotatedFile(candidate, end, tail.bytes, of: tail.total) else { continue }
                if let changed, lastChange.map({ $0.isBefore(changed) }) ?? true { lastChange = changed }
                if file.number > newest?.number ?? 0 { newest = file }
            }
        } catch { throw .failed(error) }
        // gzip(1) and the others leave the time of the last change as it was.
        if let last = packed.max(by: { $0.changed.isBefore($1.changed) }),
            lastChange.map({ $0.isBefore(last.changed) }) ?? true
        {
            throw .compressed(path, last.path)
        }
        newest?.ends += begun
        return newest
    }

    private static let recordBegin = Array(#"{"seq":"#.utf8)

    /// Whether bytes without any good record before them were written by this program. A file with such a name may also
    /// be somebody's notes.
    private static func isOfLog(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: recordBegin)
            || bytes.contains(0)
                && bytes.split(separator: UInt8(ascii: "\n")).contains { $0.starts(with: recordBegin) }
    }

    /// Nil if no good record is at the end of the file, or before a damaged end. That file itself shows what it lost.
    private init?(_ path: String, _ found: End, _ tail: [UInt8], of total: Int) {
        var end = found
        var rest = tail[...]
        while true {
            if case .record(let number, let link) = end.content {
                (self.path, self.number, self.link) = (path, number, link)
                ends = rest.count == tail.count ? [(path, end)] : []
                return
            }
            guard case .damaged = end.content, let feed = rest.lastIndex(of: UInt8(ascii: "\n")) else { return nil }
            end = End(lines: rest[...feed], of: total - (tail.endIndex - feed - 1), startsAt: total - tail.count)
            rest = rest[..<feed]
        }
    }
}

extension WallTime {
    fileprivate func isBefore(_ other: WallTime) -> Bool {
        (seconds, nanoseconds) < (other.seconds, other.nanoseconds)
    }
}
