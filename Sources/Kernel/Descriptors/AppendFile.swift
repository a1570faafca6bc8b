// A file that only grows at its end, for the audit log.
//
// Must never be opened through a symbolic link or on anything but a regular file, and never be locked: whoever may
// read a file may lock it. Who is the only writer is settled by a LockFile, which nobody else can open.

internal import CKernel
internal import Glibc

/// A regular file, open for appending (`O_APPEND`).
package struct AppendFile: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// Device and inode: which file this is, whatever its path leads to by now.
    package let device: UInt64
    package let inode: UInt64

    /// Opens the file, or creates it with mode 0640. `EINVAL` if it is no regular file, `ELOOP` if it is a symbolic
    /// link.
    package init(_ path: String) throws(Failure) {
        let file = try Descriptor.opened(PathCall.openForAppending(mode: 0o640)(path), by: "open", on: path)
        let status = try file.status()
        guard status.kind == .regular else { throw Failure("open", code: EINVAL, on: "\(path), not a regular file,") }
        descriptor = file
        device = status.device
        inode = status.inode
    }

    /// What it is like now. Calls `fstat(2)`.
    package borrowing func status() throws(Failure) -> FileStatus { try descriptor.status() }

    /// In bytes.
    package borrowing func size() throws(Failure) -> Int { try status().size }

    /// One `write(2)`; what a full disk cut off is written by a further one, or fails.
    /// - Parameter written: grows by what was written, also if the rest of it failed.
    package borrowing func append(_ bytes: [UInt8], counting written: inout Int) throws(Failure) {
        try descriptor.writeAll(bytes.span, counting: &written)
    }

    /// Calls `fdatasync(2)`.
    package borrowing func sync() throws(Failure) {
        let number = descriptor.number
        _ = try retrying("fdatasync") { fdatasync(number) }
    }

    /// Takes away what was written past `size` bytes. Calls `ftruncate(2)`.
    package borrowing func cut(to size: Int) throws(Failure) {
        let number = descriptor.number
        _ = try retrying("ftruncate") { ftruncate(number, off_t(size)) }
    }

    /// The last bytes of the file, at most `limit`.
    package borrowing func tail(limit: Int) throws(Failure) -> [UInt8] {
        try descriptor.tail(limit: limit, of: try size())
    }
}
