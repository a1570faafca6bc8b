// What is done to a log when it is opened: what a crash left behind the last good record is cut off.
//
// Must never throw whole lines away: they are kept in another file first. Must never leave the cut to chance: it is on
// disk before anything is written in its place.

package import Kernel

extension LogWriter where File: ~Copyable {
    /// Cuts off the end that a crash left, and returns what an auditor should know of it.
    /// - Parameter number: the number of the last good record.
    static func cut(
        _ file: borrowing File, _ path: String, _ end: End, after number: UInt64, _ folder: File.Folder
    ) throws(LogError) -> String {
        var note = end.note
        if end.hasUnfinishedLines {
            let kept = Self.kept(path, number + 1)
            do throws(LogError) { try keep(end.unfinished, in: kept, folder) } catch {
                throw .damaged(path, "zeros and then records, which cannot be kept in \(kept) (\(error))")
            }
            note = "\(note); they are kept in \(kept)"
        }
        try reading(try file.cut(to: end.size))
        try reading(try file.sync())
        return note
    }

    /// The same for the newest rotated file, if a crash came between its last write and the first one to the new file.
    /// What the new file continues is on disk then, even if the process ended before it had made sure of that. If it
    /// cannot be written to, it stays as it is, and `verify` shows the place. Returns what an auditor should know.
    static func mended(_ path: String, _ end: End, after number: UInt64, _ folder: File.Folder) -> [String] {
        do throws(LogError) {
            let file = try opened(path, folder)
            guard try reading(try file.status()).size == end.size + end.unfinished.count else { return [] }
            guard !end.unfinished.isEmpty else {
                try reading(try file.sync())
                return []
            }
            return [try cut(file, path, end, after: number, folder)]
        } catch {
            return end.unfinished.isEmpty ? [] : ["what a crash left at its end is not cut off: \(error)"]
        }
    }

    /// The name of the file for lines that were cut off. It does not begin as a rotated file's does.
    private static func kept(_ path: String, _ number: UInt64) -> String {
        guard let slash = path.lastIndex(of: "/") else { return ".\(path).cut-\(number)" }
        return "\(path[...slash]).\(path[path.index(after: slash)...]).cut-\(number)"
    }

    private static func keep(_ bytes: [UInt8], in path: String, _ folder: File.Folder) throws(LogError) {
        let file = try opened(path, folder)
        var written = 0
        try reading(try file.append(bytes, counting: &written))
        try reading(try file.sync())
        try reading(try folder.sync(above: path))
    }
}

extension LogWriter where File == AppendFile {
    /// Opens or creates the log, and finds the number and the link to continue from.
    /// - Parameters:
    ///   - syncs: whether a record must be on disk before `commit` returns (`fdatasync(2)`).
    ///   - owners: who may own the log and the directories above it.
    package convenience init(_ path: String, syncs: Bool, owners: TrustedOwners = .now) throws(LogError) {
        let folder = LogDirectory(owners: owners)
        // Checked before anything is created in these directories.
        try Self.trusting(try folder.checkDirectories(aboveLog: path))
        try self.init(path, syncs: syncs, in: folder, try LogClaim(path))
    }
}
