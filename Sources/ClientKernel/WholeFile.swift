// Puts a new file in the place of a path, whole or not at all.
//
// Must never let anybody read the file who could not read it at its end: its mode is set when it is made, whatever the
// umask is. Must never take away anything but a regular file.

internal import Glibc
package import Kernel

/// A file that is about to take its place.
package struct WholeFile: Sendable {
    private let path: String
    private let temporary: String
    private let mode: UInt32

    /// Checks whether the file can be made. Nothing is made or changed yet.
    /// - Parameters:
    ///   - path: may be relative.
    ///   - mode: of the new file.
    package init(replacing path: String, mode: UInt32) throws(Failure) {
        self.path = try absolutePath(path)
        self.mode = mode
        guard !self.path.hasSuffix("/"), !path.utf8.contains(0) else {
            throw Failure("open", code: EINVAL, on: path, because: "that is no name of a file")
        }
        let directory = folder(of: self.path)
        temporary = "\(directory)/.keybroker-\(String(UInt64.random(in: .min ... .max), radix: 16))"
        if let status = try statusWithoutFollowing(self.path), status.kind != .regular {
            throw Failure(
                "rename", code: EEXIST, on: path,
                because: "something else than a regular file is there, and it is not replaced")
        }
        // Safety: the call reads a NUL-terminated string without a NUL inside of it.
        _ = try retrying("access", on: directory) {
            unsafe faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS)
        }
    }

    /// Writes the file and puts it in its place. If that fails, the path is as it was. Calls `open(2)` with `O_EXCL`,
    /// `fchmod(2)`, `fsync(2)` and `rename(2)`.
    package func write(_ bytes: Span<UInt8>) throws(Failure) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        // Safety: each call reads NUL-terminated strings without a NUL inside of them.
        let file = Descriptor(
            taking: try retrying("open", on: temporary) { unsafe open(temporary, flags, mode & 0o600) })
        do throws(Failure) {
            try file.writeAll(bytes)
            try file.withNumber { number throws(Failure) in
                _ = try retrying("fchmod", on: temporary) { fchmod(number, mode) }
                _ = try retrying("fsync", on: temporary) { fsync(number) }
            }
            _ = try retrying("rename", on: path) { unsafe rename(temporary, path) }
        } catch {
            try? removeFile(temporary)
            throw error
        }
        try syncDirectory(above: path)
    }
}
