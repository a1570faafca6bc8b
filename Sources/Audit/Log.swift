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

    package var description: String {
        switch self {
        case .failed(let failure): "the audit log cannot be used: \(failure)"
        case .untrusted(let error): "the audit log cannot be used: \(error)"
        case .inUse(let path): "the audit log \(path) is in use by another keybrokerd"
        case .damaged(let path, let why):
            "the audit log \(path) ends with \(why); nothing is added to it. Keep it as evidence under another "
                + "name that begins with the same, such as \(path).damaged: the new log then continues after its "
                + "last good record"
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
package final class AuditLog: RecordLog {
    package let path: String
    private let syncs: Bool
    private let owners: TrustedOwners
    /// Held as long as this process may write, even if the files are renamed meanwhile.
    private let claim: LogClaim
    private var file: AppendFile
    /// The size of the committed part of the file, in bytes.
    private var size: Int
    /// The number of bytes after `size` that belong to records that could not be committed.
    private var looseEnd = 0
    /// The error if the file has no name any more.
    private static let removed =
        "the file was removed, so that its records would be lost: reload keybrokerd, which begins a new one"

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

    /// Opens or creates the log, and finds the number and the link to continue from.
    /// - Parameters:
    ///   - syncs: whether a record must be on disk before `commit` returns (`fdatasync(2)`).
    ///   - owners: who may own the log and the directories above it.
    package init(_ path: String, syncs: Bool, owners: TrustedOwners = .now) throws(LogError) {
        self.path = path
        self.syncs = syncs
        self.owners = owners
        // Checked before anything is created in these directories.
        try Self.trusting(try owners.checkDirectories(aboveLog: path))
        claim = try LogClaim(path)
        let file = try Self.opened(path, owners)
        let end = try Self.reading(try End(of: file))
        size = end.size
        switch end.content {
        case .empty:
            if syncs { try Self.reading(try syncDirectory(above: path)) }
            let before = try Self.reading(try End.ofRotatedFile(beside: path))
            committed = Position(
                number: before?.number ?? 0, link: before?.link ?? .beginning, beginsFile: before != nil)
            recovery = before.map { "continues \($0.path), which ends with record \($0.number)" }
        case .record(let number, let link):
            committed = Position(number: number, link: link, beginsFile: false)
        case .damaged(let why): throw .damaged(path, why)
        }
        staged = committed
        if !end.unfinished.isEmpty {
            // The key of this record was never handed out, because that happens only after the whole record is written.
            try Self.reading(try file.cut(to: end.size))
            let text = String(decoding: end.unfinished.prefix(1024), as: UTF8.self)
            let note = "cut off \(end.unfinished.count) bytes of a record that was never finished: \(text)"
            recovery = recovery.map { "\($0); \(note)" } ?? note
        }
        self.file = file
    }

    private static func opened(_ path: String, _ owners: TrustedOwners) throws(LogError) -> AppendFile {
        let file = try reading(try AppendFile(path))
        let status = try reading(try file.status())
        try trusting(try owners.checkLog(status, path))
        return file
    }

    private static func trusting(_ body: @autoclosure () throws(TrustError) -> Void) throws(LogError) {
        do throws(TrustError) { try body() } catch { throw .untrusted(error) }
    }

    private static func reading<R: ~Copyable>(_ body: @autoclosure () throws(Failure) -> R) throws(LogError) -> R {
        do throws(Failure) { return try body() } catch { throw .failed(error) }
    }

    package var lastNumber: UInt64 { committed.number }
    package var head: String { String(decoding: committed.link.digits, as: UTF8.self) }

    // MARK: Writing

    package func stage(_ record: Record) -> UInt64 {
        staged.number += 1
        let previous = staged.beginsFile ? staged.link.digits : nil
        let bytes = record.line(number: staged.number, time: .now, previous: previous)
        staged.link = staged.link.next(over: bytes[...])
        staged.beginsFile = false
        waiting.append(contentsOf: staged.link.closing(bytes))
        return staged.number
    }

    package var hasStaged: Bool { !waiting.isEmpty }

    /// Calls `fstat(2)`, `write(2)` and `fdatasync(2)`. After a failure, the next call tries again.
    package func commit() throws(Failure) {
        guard !waiting.isEmpty else { return }
        do throws(Failure) {
            try checkFile()
            try cutLooseEnd()
            try file.append(waiting, counting: &looseEnd)
            if syncs { try file.sync() }
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

    /// Checks that what is written now can be found later, and follows directly after the last committed record. If
    /// not, nothing may be cut off either, because bytes past `size` may be a committed record.
    private func checkFile() throws(Failure) {
        let status = try file.status()
        guard status.links > 0 else {
            throw Failure("write", code: Failure.notFound, on: path, because: Self.removed)
        }
        guard status.size == size + looseEnd else {
            throw Failure("write", code: Failure.badData, on: path, because: changed(status.size))
        }
    }

    private func changed(_ found: Int) -> String {
        "somebody else wrote to it or cut it, as it has \(found) bytes and not \(size + looseEnd): keep the file as "
            + "evidence under another name that begins with the same, such as \(path).changed, and reload keybrokerd, "
            + "which begins a new one"
    }

    private func cutLooseEnd() throws(Failure) {
        guard looseEnd > 0 else { return }
        try file.cut(to: size)
        looseEnd = 0
    }

    // MARK: Rotation

    /// False if there is no file at `path`, or if it cannot be told: then `commit` says what is wrong.
    package var isReplaced: Bool {
        guard let now = try? statusWithoutFollowing(path) else { return false }
        return now.device != file.device || now.inode != file.inode
    }

    /// Continues in the file that is at `path` now, if that is another file. Its first record will contain `previous`.
    /// Returns false if it is the same file. Nothing may be staged.
    package func reopen() throws(LogError) -> Bool {
        let now = try Self.reading(try statusWithoutFollowing(path))
        if let now, now.device == file.device, now.inode == file.inode { return false }
        try Self.trusting(try owners.checkDirectories(aboveLog: path))
        let next = try Self.opened(path, owners)
        let size = try Self.reading(try next.size())
        guard size == 0 else { throw .damaged(path, "records of another log") }
        if syncs { try Self.reading(try syncDirectory(above: path)) }
        // The old file should not end with half a record. If it cannot be cut, `verify` says so.
        if looseEnd > 0, (try? checkFile()) != nil { try? cutLooseEnd() }
        file = next
        self.size = 0
        looseEnd = 0
        committed.beginsFile = true
        staged = committed
        return true
    }
}
