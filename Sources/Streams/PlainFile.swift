// Opens files that are not secret, as any program opens them: it follows symbolic links, and only the kernel decides
// who may read.
//
// Must never be used to read a private key. A key arrives as a file descriptor.

internal import Glibc
package import Kernel

/// Files by their paths. Symbolic links are followed.
package enum PlainFile {
    /// Returns all bytes of a file. Throws `EFBIG` if there are more than `limit`. Calls `open(2)` and `pread(2)`.
    package static func contents(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        let file = try Descriptor.forReading(followingLinksOf: path)
        guard try file.status().kind == .regular else { throw Failure("open", code: EINVAL, on: path) }
        return try file.readAll(limit: limit, path)
    }

    /// Opens a file for reading and closes it unread, to find out whether this account may. Calls `open(2)`.
    package static func tryOpening(_ path: String) throws(Failure) {
        _ = try Descriptor.forReading(followingLinksOf: path)
    }
}
