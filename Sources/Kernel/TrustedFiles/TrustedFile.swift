// Files that only trusted accounts can have put where they are.
//
// A trusted path is a directory handle that was reached with checks, and a name in that directory. The file is opened
// again for each grant, and checked on the very descriptor that is handed out. Must never check a path and open it
// afterwards, because the file could be exchanged in between. Must never read the file, or block on a FIFO or a device.

internal import CKernel
internal import Glibc

/// An open file that passed every check, and the status that was checked.
package struct TrustedFile: ~Copyable, Sendable {
    package var descriptor: Descriptor
    package let status: FileStatus
    /// The real path, with symbolic links followed.
    package let path: String

    /// Takes the descriptor out. The caller then owns it.
    package consuming func intoDescriptor() -> Descriptor { descriptor }
}

/// What is known of an open file: its real path, and the status that was checked.
package struct FileFacts: Equatable, Sendable {
    package let path: String
    package let status: FileStatus

    package init(path: String, status: FileStatus) { (self.path, self.status) = (path, status) }
}

extension TrustedFile {
    package var facts: FileFacts { FileFacts(path: path, status: status) }
}

/// A directory to which the way was checked. The places of files in it share its handle.
package final class TrustedFolder: Sendable {
    let handle: Descriptor
    /// The real path, with symbolic links followed.
    package let path: String
    /// Whether the `ChangeWatch` reports it if any part of the path changes.
    package let isWatched: Bool

    init(_ handle: consuming Descriptor, path: String, isWatched: Bool) {
        self.handle = handle
        self.path = path
        self.isWatched = isWatched
    }

    /// The path of an entry.
    func path(of name: String) -> String { path == "/" ? "/\(name)" : "\(path)/\(name)" }
}

/// The place of a trusted file: a directory that was checked, and a name in it that is not a symbolic link.
package final class TrustedPath: Sendable {
    package let folder: TrustedFolder
    private let name: ReadyPath
    private let owners: TrustedOwners
    /// The real path, with symbolic links followed.
    package let path: String
    /// Whether the `ChangeWatch` also reports changes of the file itself.
    package let isFollowed: Bool
    /// The directory in which the path that was walked has its last component, if that is the file itself: the way to
    /// other files there is the same. Nil if it is a symbolic link.
    package let parent: String?

    init(
        _ name: String, in folder: TrustedFolder, _ owners: TrustedOwners, isFollowed: Bool = false,
        parent: String? = nil
    ) {
        self.folder = folder
        self.name = ReadyPath(name)
        self.owners = owners
        path = folder.path(of: name)
        self.isFollowed = isFollowed
        self.parent = parent
    }

    /// Whether the `ChangeWatch` reports it if any part of the path changes.
    package var isWatched: Bool { folder.isWatched }

    /// Opens the file with `O_RDONLY` and checks it on the descriptor. Each call opens it again, with a file offset of
    /// 0. Calls only `openat(2)` and `fstat(2)`.
    package func open() throws(TrustError) -> TrustedFile {
        let descriptor = try examining(
            path,
            try Descriptor.opened(name.openForReading(in: folder.handle.number), by: "openat"))
        let status = try examining(path, try descriptor.status())
        try owners.checkFile(status, path)
        return TrustedFile(descriptor: descriptor, status: status, path: path)
    }
}

extension TrustedOwners {
    /// A file that another process opened, after it was checked on its descriptor. Calls `fstat(2)`.
    /// - Parameter path: its real path, as that process says.
    package func received(_ descriptor: consuming Descriptor, from path: String) throws(TrustError) -> TrustedFile {
        let status = try examining(path, try descriptor.status())
        try checkFile(status, path)
        return TrustedFile(descriptor: descriptor, status: status, path: path)
    }
}
