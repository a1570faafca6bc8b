// Whose files are trusted, and what a file and a directory must be like for that.
//
// Must never look at a path: it judges what was found on a handle.

internal import Glibc

/// Whose files are trusted: root's, and those of the uid that started the program where that was not root.
package struct TrustedOwners: Equatable, Sendable {
    package let startedBy: UInt32

    package init(startedBy uid: UInt32) { startedBy = uid }

    /// As the process runs now; to be asked before privileges are given up.
    package static var now: TrustedOwners { TrustedOwners(startedBy: getuid()) }

    package func contains(_ uid: UInt32) -> Bool { uid == 0 || uid == startedBy }

    /// "root", or "root or uid 1000".
    package var description: String { startedBy == 0 ? "root" : "root or uid \(startedBy)" }
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
        guard !status.isWritableByOthers else {
            let whom = status.mode & 0o002 != 0 ? "everybody" : "group \(status.group)"
            throw TrustError(.untrusted, "\(path) can be written to by \(whom) (mode \(status.octalMode))")
        }
    }
}
