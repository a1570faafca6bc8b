// Files that are nobody's secret, opened as any program opens them: symbolic links are followed, and the
// kernel alone says who may.
//
// Must never be used to read a private key: that comes as a descriptor.

internal import Glibc
package import Kernel

/// A file by its path, links followed.
package enum PlainFile {
    /// All bytes of a file; more than `limit` is a failure (`EFBIG`). Calls `open(2)` and `pread(2)`.
    package static func contents(_ path: String, limit: Int) throws(Failure) -> [UInt8] {
        let file = try Descriptor.forReading(followingLinksOf: path)
        guard try file.status().kind == .regular else { throw Failure("open", code: EINVAL, on: path) }
        return try file.readAll(limit: limit, path)
    }

    /// Opens a file for reading and closes it unread, to see whether this account can. Calls `open(2)`.
    package static func tryOpening(_ path: String) throws(Failure) {
        _ = try Descriptor.forReading(followingLinksOf: path)
    }
}
