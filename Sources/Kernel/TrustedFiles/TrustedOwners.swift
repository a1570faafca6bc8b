// Which owners and modes of files and directories are trusted.
//
// Must never look at a path. It judges the status of a file that is open already.

internal import Glibc

/// The accounts whose files are trusted: root, and the uid that started the program if that was not root. The overflow
/// uid is never trusted, as a user namespace shows it for the files of many accounts.
package struct TrustedOwners: Equatable, Sendable {
    package let startedBy: UInt32
    /// One more trusted account, and whether a directory may be writable by its group: see ``ofLog(writtenBy:)``.
    private var writer: UInt32?
    private var toleratesGroups = false
    /// The overflow uid.
    private let unmapped: UInt32
    /// The mounts that walks keep to: see ``keeping(to:)``.
    package internal(set) var mounts: LocalMounts?

    package init(startedBy uid: UInt32, overflow: OverflowIDs = .here) {
        startedBy = uid
        unmapped = overflow.uid
    }

    /// The owners for the process as it runs now. Must be read before privileges are given up.
    package static var now: TrustedOwners { TrustedOwners(startedBy: getuid()) }

    package func contains(_ uid: UInt32) -> Bool {
        uid == 0 || uid != unmapped && (uid == startedBy || uid == writer)
    }

    /// "root", or "root or uid 1000".
    package var description: String { uids.map { $0 == 0 ? "root" : "uid \($0)" }.joined(separator: " or ") }

    /// The uids that are trusted. Root is the first one.
    private var uids: [UInt32] { [0] + Set([startedBy, writer ?? 0]).subtracting([0, unmapped]).sorted() }

    /// The owners that are trusted for a log: also the account that writes it.
    package func ofLog(writtenBy uid: UInt32) -> TrustedOwners {
        var owners = self
        owners.writer = uid
        return owners
    }
}

extension TrustedOwners {
    /// Checks the directories above a log. The log itself need not exist. Directories above the log's own directory may
    /// be writable by their group, as `/var/log` is in some distributions. That is safe, because whatever the group
    /// puts there has to pass the same checks.
    package func checkDirectories(aboveLog path: String) throws(TrustError) {
        var tolerant = self
        tolerant.toleratesGroups = true
        let parent = folder(of: try examining(path, try absolutePath(path)))
        let walk = try tolerant.walk(to: parent)
        guard walk.status.kind == .directory else { throw TrustError(.untrusted, "\(parent) is not a directory") }
        try checkDirectory(walk.status, walk.path)
    }

    /// Checks a log that is open.
    package func checkLog(_ status: FileStatus, _ path: String) throws(TrustError) { try checkFile(status, path) }
}

extension TrustedOwners {
    /// Checks a file that another process opened and asked the kernel about.
    package func check(_ file: FileFacts) throws(TrustError) { try checkFile(file.status, file.path) }

    /// Checks a file that is handed out or whose content is trusted.
    func checkFile(_ status: FileStatus, _ path: String) throws(TrustError) {
        switch status.kind {
        case .regular: break
        case .directory: throw TrustError(.untrusted, "\(path) is a directory, not a regular file")
        case .symbolicLink: throw TrustError(.untrusted, "\(path) is a symbolic link, not a regular file")
        case .socket: throw TrustError(.untrusted, "\(path) is a socket, not a regular file")
        case .fifo: throw TrustError(.untrusted, "\(path) is a FIFO, not a regular file")
        case .characterDevice: throw TrustError(.untrusted, "\(path) is a character device, not a regular file")
        case .blockDevice: throw TrustError(.untrusted, "\(path) is a block device, not a regular file")
        case .unknown: throw TrustError(.untrusted, "\(path) is no regular file")
        }
        try checkOwner(status, path)
        try checkMode(status, path)
    }

    /// Checks a directory above a file. A sticky directory of root, such as `/tmp`, may be writable by others: they can
    /// only add entries of their own, and each entry is checked itself.
    func checkDirectory(_ status: FileStatus, _ path: String) throws(TrustError) {
        try checkOwner(status, path)
        if status.isSticky && status.owner == 0 { return }
        try checkMode(status, path)
    }

    /// Checks a symbolic link. Its directory must have been checked before.
    func checkLink(_ status: FileStatus, in directory: FileStatus, _ path: String) throws(TrustError) {
        // If only trusted accounts can write to the directory, the owner of the link does not matter.
        if directory.isWritableByOthers { try checkOwner(status, path) }
    }

    private func checkOwner(_ status: FileStatus, _ path: String) throws(TrustError) {
        guard contains(status.owner) else {
            if status.owner == unmapped {
                throw TrustError(
                    .untrusted,
                    "\(path) belongs to uid \(unmapped), which stands for every account that this user namespace does "
                        + "not know; see USER NAMESPACES in keybroker-sockets(7)")
            }
            throw TrustError(Distrust(.owner(status.owner, trusted: uids), status, path))
        }
    }

    private func checkMode(_ status: FileStatus, _ path: String) throws(TrustError) {
        guard status.mode & (toleratesGroups ? 0o002 : 0o022) == 0 else {
            throw TrustError(Distrust(.writers(group: status.group, mode: status.mode), status, path))
        }
    }
}
