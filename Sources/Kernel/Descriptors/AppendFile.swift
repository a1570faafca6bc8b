// A file that only grows at its end. The audit log is one.
//
// Must never be opened through a symbolic link, or on anything but a regular file. Must never be locked: whoever may
// read a file may lock it. A LockFile, which nobody else can open, decides who the only writer is.

internal import CKernel
internal import Glibc

/// A regular file, open for appending (`O_APPEND`).
package struct AppendFile: ~Copyable, Sendable {
    private let descriptor: Descriptor
    /// Device and inode identify the file, even after another file took its path.
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

    /// The file's current status. Calls `fstat(2)`.
    package borrowing func status() throws(Failure) -> FileStatus { try descriptor.status() }

    /// The size in bytes.
    package borrowing func size() throws(Failure) -> Int { try status().size }

    /// Appends the bytes with one `write(2)`. If the disk is full and only a part was written, a further call writes
    /// the rest or fails.
    /// - Parameter written: grows by the number of bytes that were written, even if the rest failed.
    package borrowing func append(_ bytes: [UInt8], counting written: inout Int) throws(Failure) {
        try descriptor.writeAll(bytes.span, counting: &written)
    }

    /// Calls `fdatasync(2)`.
    package borrowing func sync() throws(Failure) {
        let number = descriptor.number
        _ = try retrying("fdatasync") { fdatasync(number) }
    }

    /// Cuts off everything after the first `size` bytes. Calls `ftruncate(2)`.
    package borrowing func cut(to size: Int) throws(Failure) {
        let number = descriptor.number
        _ = try retrying("ftruncate") { ftruncate(number, off_t(size)) }
    }

    /// The last bytes of the file, at most `limit` of them.
    package borrowing func tail(limit: Int) throws(Failure) -> [UInt8] {
        try descriptor.tail(limit: limit, of: try size())
    }
}
