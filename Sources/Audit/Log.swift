// The audit log. A record is written in two steps, so that a grant can be held back until its record is in the log.
//
// `stage` gives an event its number. `commit` writes all staged events with one write and one fdatasync. Must never
// lose a committed record, give two records the same number, or leave half a record in the file: a record that was
// written only in part is cut off before anything else is written.

package import Kernel

/// Why the audit log cannot be used.
package enum LogError: Error, CustomStringConvertible {
    case failed(Failure)
    /// An account that is not trusted could have created the file, or could write to it.
    case untrusted(TrustError)
    /// Another process is writing to it.
    case inUse(String)
    /// The end of the file is not what this program would have written.
    case damaged(String, String)
    /// It is empty, and the records before it are in a compressed file.
    case compressed(String, String)

    package var description: String {
        switch self {
        case .failed(let failure): "the audit log cannot be used: \(failure)"
        case .untrusted(let error): "the audit log cannot be used: \(error)"
        case .inUse(let path): "the audit log \(path) is in use by another keybrokerd"
        case .damaged(let path, let why):
            "the audit log \(path) ends with \(why); nothing is added to it. Keep it as evidence under another "
                + "name that begins with the same, such as \(path).damaged: the new log then continues after its "
                + "last good record"
        case .compressed(let path, let file):
            "the audit log \(path) is empty, and its last records are in a compressed file; nothing is added to it. "
                + "Decompress \(file) (with gzip: gunzip \(file)), so that the numbers go on after its last record, "
                + "and rotate with delaycompress"
        }
    }
}

/// A log that takes records in two steps.
package protocol RecordLog: AnyObject {
    var path: String { get }
    /// What an auditor should know about the opening of the log, such as a repair. Nil if there is nothing unusual.
    var recovery: String? { get }
    /// The number of the last committed record; 0 if there is none.
    var lastNumber: UInt64 { get }
    /// The link of that record.
    var head: String { get }
    /// Whether any record waits for `commit`.
    var hasStaged: Bool { get }
    /// Gives the record a number and returns it. The record is in the log only after `commit` has returned.
    func stage(_ record: Record) -> UInt64
    /// Writes all staged records. If that fails, none of them is in the log, and their numbers are free again.
    func commit() throws(Failure)
    /// Whether another file is where this one was, as after a rotation.
    var isReplaced: Bool { get }
    /// Continues in a new file if the old one was rotated away. Returns false if it was not.
    func reopen() throws(LogError) -> Bool
}

/// The audit log that this process writes.
package typealias AuditLog = LogWriter<AppendFile>

/// A log that this process writes, to files of one kind.
package final class LogWriter<File: LogFile & ~Copyable>: RecordLog {
    package let path: String
    private let syncs: Bool
    private let folder: File.Folder
    /// Held as long as this process may write, even if the files are renamed meanwhile.
    private let claim: LogClaim?
    private var file: File
    /// The size of the committed part of the file, in bytes.
    private var size: Int
    /// The number of bytes after `size` that belong to records that could not be committed.
    private var looseEnd = 0
    /// Bytes were cut off, and the disk may not know it. Mixed with what is written in their place, they could never be
    /// told from a record that somebody changed.
    private var cutIsUnsynced = false

    private var committed: Position
    private var staged: Position
    private var waiting: [UInt8] = []
    package private(set) var recovery: String?

    private struct Position {
        var number: UInt64
        var link: Link
        /// The next record is the first of its file, so it gets the field `previous`: the last link of the file before.
        var beginsFile: Bool
    }

    /// Lets another process become the only writer. Nothing may be written after this.
    package func release() {
        switch claim {
        case .some(let claim): claim.release()
        case .none: break
        }
    }

    /// Opens or creates the log, and finds the number and the link to continue from. The directories were checked.
    /// - Parameters:
    ///   - syncs: whether a record must be on disk before `commit` returns (`fdatasync(2)`).
    ///   - claim: the lock that makes this process the only writer. Nil if nobody else can know of the files.
    init(_ path: String, syncs: Bool, in folder: File.Folder, _ claim: consuming LogClaim?) throws(LogError) {
        self.path = path
        self.syncs = syncs
        self.folder = folder
        self.claim = claim
        let file = try Self.opened(path, folder)
        // Only now the file's name is certain to survive a power cut, whoever made it.
        if syncs { try Self.reading(try folder.sync(above: path)) }
        let end = try Self.reading(
            try End(tail: file.tail(limit: End.tailBytes), of: file.status().size, syncs: syncs))
        var notes: [String] = []
        switch end.content {
        case .empty:
            let before = try RotatedFile.newest(beside: path, in: folder, syncs: syncs)
            committed = Position(
                number: before?.number ?? 0, link: before?.link ?? .beginning, beginsFile: before != nil)
            if let before {
                notes.append("continues \(before.path), which ends with record \(before.number)")
                for file in before.ends { notes += Self.mended(file.path, file.end, after: before.number, folder) }
            }
        case .record(let number, let link):
            committed = Position(number: number, link: link, beginsFile: false)
        case .damaged(let why): throw .damaged(path, why)
        }
        staged = committed
        size = end.size
        if !end.unfinished.isEmpty {
            // With fdatasync, no key of these records was handed out: that happens only after all of them are on disk.
            notes.append(try Self.cut(file, path, end, after: committed.number, folder))
        } else if syncs {
            // A process that was killed may have written records that are not on disk yet.
            try Self.reading(try file.sync())
        }
        recovery = notes.isEmpty ? nil : notes.joined(separator: "; ")
        self.file = file
    }

    /// The same, for files that no other process can know of.
    package convenience init(_ path: String, syncs: Bool, in folder: File.Folder) throws(LogError) {
        try self.init(path, syncs: syncs, in: folder, nil)
    }

    static func opened(_ path: String, _ folder: File.Folder) throws(LogError) -> File {
        let file = try reading(try File(path, in: folder))
        let status = try reading(try file.status())
        try trusting(try folder.checkLog(status, path))
        return file
    }

    static func trusting(_ body: @autoclosure () throws(TrustError) -> Void) throws(LogError) {
        do throws(TrustError) { try body() } catch { throw .untrusted(error) }
    }

    static func reading<R: ~Copyable>(_ body: @autoclosure () throws(Failure) -> R) throws(LogError) -> R {
        do throws(Failure) { return try body() } catch { throw .failed(error) }
    }

    package var lastNumber: UInt64 { committed.number }
    package var head: String { String(decoding: committed.link.digits, as: UTF8.self) }

    // MARK: Writing

    package func stage(_ record: Record) -> UInt64 {
        staged.number += 1
        let previous = staged.beginsFile ? staged.link.digits : nil
        let begin = waiting.count
        record.append(to: &waiting, number: staged.number, time: .now, previous: previous)
        staged.link = staged.link.next(over: waiting.span.extracting(droppingFirst: begin))
        staged.link.close(&waiting)
        staged.beginsFile = false
        return staged.number
    }

    package var hasStaged: Bool { !waiting.isEmpty }

    /// Calls `fstat(2)`, `write(2)` and `fdatasync(2)`. After a failure, the next call tries again.
    package func commit() throws(Failure) {
        guard !waiting.isEmpty else { return }
        do throws(Failure) {
            try checkFile()
            try cutLooseEnd()
            try write()
            looseEnd = 0
            size += waiting.count
            committed = staged
        } catch {
            staged = committed
            waiting.removeAll(keepingCapacity: true)
            // Cuts off at once, so that a reader sees no uncommitted record. If that fails, it is done before the next
            // write.
            if looseEnd > 0, (try? checkFile()) != nil { try? cutLooseEnd() }
            throw error.on(path)
        }
        waiting.removeAll(keepingCapacity: true)
    }

    /// Writes what waits. Almost always that is one write. If it is very much, it is written in parts, so that no more
    /// than the recovery looks at can be half on disk.
    private func write() throws(Failure) {
        guard syncs else { return try file.append(waiting, counting: &looseEnd) }
        guard waiting.count > End.mostUnsynced else {
            try file.append(waiting, counting: &looseEnd)
            return try file.sync()
        }
        for start in stride(from: 0, to: waiting.count, by: End.mostUnsynced) {
            let end = min(start + End.mostUnsynced, waiting.count)
            try file.append(Array(waiting[start..<end]), counting: &looseEnd)
            try file.sync()
        }
    }

    /// Checks that what is written now can be found later, and follows directly after the last committed record. If
    /// not, nothing may be cut off either, because bytes past `size` may be a committed record.
    private func checkFile() throws(Failure) {
        let status = try file.status()
        guard status.links > 0 else {
            throw Failure("write", code: Failure.notFound, on: path, because: removed)
        }
        guard status.size == size + looseEnd else {
            throw Failure("write", code: Failure.badData, on: path, because: changed(status.size))
        }
    }

    /// The error if the file has no name any more.
    private var removed: String {
        "the file was removed, so that its records would be lost: reload keybrokerd, which begins a new one; "
            + "if its directory was removed as well, restart keybrokerd"
    }

    private func changed(_ found: Int) -> String {
        "somebody else wrote to it or cut it, as it has \(found) bytes and not \(size + looseEnd): keep the file as "
            + "evidence under another name that begins with the same, such as \(path).changed, and reload keybrokerd, "
            + "which begins a new one"
    }

    private func cutLooseEnd() throws(Failure) {
        if looseEnd > 0 {
            try file.cut(to: size)
            looseEnd = 0
            cutIsUnsynced = true
        }
        guard cutIsUnsynced else { return }
        try file.sync()
        cutIsUnsynced = false
    }

    // MARK: Rotation

    /// False if there is no file at `path`, or if it cannot be told: then `commit` says what is wrong.
    package var isReplaced: Bool {
        guard let now = try? folder.status(of: path) else { return false }
        return now.device != file.device || now.inode != file.inode
    }

    /// Continues in the file that is at `path` now, if that is another file. Its first record will contain `previous`.
    /// Returns false if it is the same file. Nothing may be staged.
    package func reopen() throws(LogError) -> Bool {
        let now = try Self.reading(try folder.status(of: path))
        if let now, now.device == file.device, now.inode == file.inode { return false }
        try Self.trusting(try folder.checkDirectories(aboveLog: path))
        let next = try Self.opened(path, folder)
        let size = try Self.reading(try next.status()).size
        guard size == 0 else { throw .damaged(path, "records of another log") }
        if syncs { try Self.reading(try folder.sync(above: path)) }
        // What could not be committed must not come back in the old file: its numbers are given again. If somebody else
        // wrote behind it, that is evidence, and stays.
        if (try? checkFile()) != nil { try Self.reading(try cutLooseEnd()) }
        file = next
        self.size = 0
        (looseEnd, cutIsUnsynced) = (0, false)
        committed.beginsFile = true
        staged = committed
        return true
    }
}
