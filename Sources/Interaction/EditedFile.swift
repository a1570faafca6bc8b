// A file of which a person edits a copy, and that the copy then replaces.
//
// Must never leave the file half written: it is the old one or the new one at each moment. Must never follow a symbolic
// link, or write into a file that was there before. Must never replace what somebody else wrote meanwhile.

internal import CKernel
internal import Glibc
package import Kernel

/// A file as it was when the edit began.
package struct EditedFile {
    package let path: String
    /// What it contained, or nil if it did not exist.
    package let original: [UInt8]?
    private let status: FileStatus?

    /// Reads the file. It may be missing; nothing but a regular file may be there.
    /// - Parameter limit: the largest size in bytes.
    package init(_ path: String, limit: Int) throws(Failure) {
        self.path = path
        guard try statusWithoutFollowing(path) != nil else {
            (original, status) = (nil, nil)
            return
        }
        let file = try Descriptor.forReading(path)
        let status = try file.status()
        guard status.kind == .regular else { throw Failure("open", code: EINVAL, on: "\(path), not a regular file,") }
        original = try file.readAll(limit: limit, path)
        self.status = status
    }

    /// The name of a file beside it that nothing reads as a policy.
    private func beside(_ ending: String) -> String {
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        let folder = folder(of: path)
        return "\(folder == "/" ? "" : folder)/.\(name).\(ending)"
    }

    /// The copy that the person edits.
    package var copy: String { beside("edit") }

    /// Makes the copy, with mode 0600. Fails with `EEXIST` if there is one.
    package func makeCopy() throws(Failure) { try create(copy, original ?? []) }

    /// The content of the copy now. An editor may have put another file there, but only a regular one that belongs to
    /// this account counts.
    package func readCopy(limit: Int) throws(Failure) -> [UInt8] {
        let file = try Descriptor.forReading(copy)
        let status = try file.status()
        guard status.kind == .regular, status.owner == geteuid() else {
            throw Failure("open", code: EINVAL, on: "\(copy), not a regular file of this account,")
        }
        return try file.readAll(limit: limit, copy)
    }

    package func removeCopy() throws(Failure) { try removeFile(copy) }

    /// Whether the file is another one, or has another content, than when the edit began.
    package func hasChanged(limit: Int) throws(Failure) -> Bool {
        let now = try EditedFile(path, limit: limit)
        return now.original != original || now.status?.inode != status?.inode || now.status?.device != status?.device
    }

    /// Puts a file with these bytes in its place, with the owner and the mode of the file, or with mode 0644 if there
    /// was none. Calls `fchown(2)`, `fchmod(2)`, `fsync(2)` and `rename(2)`.
    package func replace(with bytes: [UInt8]) throws(Failure) {
        let new = beside("new")
        // Left by an edit that was interrupted. Nobody else writes here: the caller holds the lock.
        if try statusWithoutFollowing(new) != nil { try removeFile(new) }
        do throws(Failure) {
            try create(new, bytes, owner: status.map { ($0.owner, $0.group) }, mode: status?.mode ?? 0o644)
            guard !new.utf8.contains(0), !path.utf8.contains(0) else { throw Failure("rename", code: EINVAL, on: path) }
            // Safety: the call reads NUL-terminated strings.
            _ = try unsafe succeed(ck_rename(new, path), "rename", on: path)
        } catch {
            // What was not put in place is of no use: the copy has the same bytes.
            try? removeFile(new)
            throw error
        }
        try syncDirectory(above: path)
    }

    private func create(
        _ path: String, _ bytes: [UInt8], owner: (uid: UInt32, gid: UInt32)? = nil, mode: UInt32 = 0o600
    ) throws(Failure) {
        guard !path.utf8.contains(0) else { throw Failure("open", code: EINVAL, on: path) }
        // Safety: the call reads a NUL-terminated string.
        let file = try Descriptor.opened(unsafe ck_create_file(path, 0o600), by: "open", on: path)
        try file.writeAll(bytes)
        try file.withNumber { number throws(Failure) in
            // Before the mode, because a change of the owner takes bits of the mode away.
            if let owner { _ = try retrying("fchown", on: path) { fchown(number, owner.uid, owner.gid) } }
            _ = try retrying("fchmod", on: path) { fchmod(number, mode) }
            _ = try retrying("fsync", on: path) { fsync(number) }
        }
    }
}
