// Whose files are trusted, and what a file and a directory must be like for that.
//
// Must never look at a path: it judges what was found on a handle.

internal import Glibc

/// Whose files are trusted: root's, and those of the uid that started the program where that was not root.
package struct TrustedOwners: Equatable, Sendable {
    package let startedBy: UInt32
    /// One more account, and whether the group of a directory may write to it: see ``ofLog(writtenBy:)``.
    private var writer: UInt32?
    private var toleratesGroups = false

    package init(startedBy uid: UInt32) { startedBy = uid }

    /// As the process runs now; to be asked before privileges are given up.
    package static var now: TrustedOwners { TrustedOwners(startedBy: getuid()) }

    package func contains(_ uid: UInt32) -> Bool { uid == 0 || uid == startedBy || uid == writer }

    /// "root", or "root or uid 1000".
    package var description: String {
        let others = Set([startedBy, writer ?? 0]).subtracting([0]).sorted()
        return (["root"] + others.map { "uid \($0)" }).joined(separator: " or ")
    }

    /// Whose log is trusted: also that of the account that writes it.
    package func ofLog(writtenBy uid: UInt32) -> TrustedOwners {
        var owners = self
        owners.writer = uid
        return owners
    }
}

extension TrustedOwners {
    /// Checks the directories above a log, which itself need not exist. Those above the log's own directory may be
    /// writable by their group, as `/var/log` is in some distributions: what that group could put there would have to
    /// be trusted itself.
    package func checkDirectories(aboveLog path: String) throws(TrustError) {
        var tolerant = self
        tolerant.toleratesGroups = true
        let parent = folder(of: try examining(path, try absolutePath(path)))
        let walk = try tolerant.walk(to: parent)
        guard walk.status.kind == .directory else { throw TrustError(.untrusted, "\(parent) is not a directory") }
        try checkDirectory(walk.status, walk.path)
    }

    /// Checks a log that was opened.
    package func checkLog(_ status: FileStatus, _ path: String) throws(TrustError) { try checkFile(status, path) }
}

extension TrustedOwners {
    /// A file that is handed out, or believed.
    func checkFile(_ status: FileStatus, _ path: String) throws(TrustError) {
        switch status.kind {
        case .regular: break
        case .directory: throw TrustError(.untrusted, "\(path) is a directory, not a regular file")
        case .symbolicLink: throw TrustError(.untrusted, "\(path) is a symbolic link, not a regular file")
        case .socket: throw TrustError(.untrusted, "\(path) is a socket, not a regular file")
        case .other(let what): throw TrustError(.untrusted, "\(path) is \(what), not a regular file")
        }
        try checkOwner(status, path)
        try checkMode(status, path)
    }

    /// A directory above it. Where it is sticky and root's, as `/tmp`, others can only add entries of
    /// their own: whatever is trusted in there must be trusted itself.
    func checkDirectory(_ status: FileStatus, _ path: String) throws(TrustError) {
        try checkOwner(status, path)
        if status.isSticky && status.owner == 0 { return }
        try checkMode(status, path)
    }

    /// A symbolic link in the directory that was checked last.
    func checkLink(_ status: FileStatus, in directory: FileStatus, _ path: String) throws(TrustError) {
        // In a directory that only trusted accounts write to, whoever made the link was trusted to.
        if directory.isWritableByOthers { try checkOwner(status, path) }
    }

    private func checkOwner(_ status: FileStatus, _ path: String) throws(TrustError) {
        guard contains(status.owner) else {
            throw TrustError(.untrusted, "\(path) belongs to uid \(status.owner), not to \(description)")
        }
    }

    private func checkMode(_ status: FileStatus, _ path: String) throws(TrustError) {
        guard status.mode & (toleratesGroups ? 0o002 : 0o022) == 0 else {
            let whom = status.mode & 0o002 != 0 ? "everybody" : "group \(status.group)"
            throw TrustError(.untrusted, "\(path) can be written to by \(whom) (mode \(status.octalMode))")
        }
    }
}
