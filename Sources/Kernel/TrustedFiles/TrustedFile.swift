// Files that only the right account can have put where they are.
//
// A place is a directory that was walked to and a name in it; the file is opened anew for each grant, and checked on the
// descriptor that will be handed out. Must never check a path and then open it, read a byte of the file, or block on
// what is no regular file.

internal import CKernel
internal import Glibc

/// An open file that passed every check, and what was checked.
package struct TrustedFile: ~Copyable, Sendable {
    package var descriptor: Descriptor
    package let status: FileStatus
    /// Where it really is, symbolic links followed.
    package let path: String

    /// Takes the descriptor out.
    package consuming func intoDescriptor() -> Descriptor { descriptor }
}

/// A place that was walked to and found trustworthy: a directory, and a name in it that is no link.
package final class TrustedPath: Sendable {
    private let directory: Descriptor
    private let name: String
    private let owners: TrustedOwners
    /// Where the walk ended, symbolic links followed.
    package let path: String
    /// Whether the `ChangeWatch` that was given will tell when any part of the way changes.
    package let isWatched: Bool

    init(
        directory: consuming Descriptor, name: String, path: String, owners: TrustedOwners, isWatched: Bool
    ) {
        self.directory = directory
        self.name = name
        self.owners = owners
        self.path = path
        self.isWatched = isWatched
    }

    /// The directory that it is in.
    package var folder: String { Kernel.folder(of: path) }

    /// Opens the file, `O_RDONLY`, anew each time and at offset 0, and checks it on the descriptor.
    /// Calls `openat(2)` and `fstat(2)`, no more.
    package func open() throws(TrustError) -> TrustedFile {
        let descriptor = try examining(
            path,
            try Descriptor.opened(PathCall.openForReading(in: directory.number)(name), by: "openat"))
        let status = try examining(path, try descriptor.status())
        try owners.checkFile(status, path)
        return TrustedFile(descriptor: descriptor, status: status, path: path)
    }
}
