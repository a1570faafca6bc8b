// Puts a new file in the place of a path, whole or not at all.
//
// Must never let anybody read the file who could not read it at its end: its mode is set when it is made, whatever the
// umask is. Must never take away anything but a regular file.

internal import CKernel
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

    /// Writes the file and puts it in its place. If that fails, the path is as it was. Calls `open(2)`, `fchmod(2)`,
    /// `fsync(2)` and `rename(2)`; `linkat(2)` if the file was made without a name.
    package func write(_ bytes: Span<UInt8>) throws(Failure) {
        if try !writeUnnamed(bytes) { try writeNamed(bytes) }
        do throws(Failure) {
            // Safety: the call reads NUL-terminated strings without a NUL inside of them.
            _ = try retrying("rename", on: path) { unsafe rename(temporary, path) }
        } catch {
            removeTemporary()
            throw error
        }
        try syncDirectory(above: path)
    }

    /// Makes the temporary file. It has no name before it is whole, so that nothing is left of it if this process is ended
    /// meanwhile.
    /// - Returns: false if the file system does not know files without a name (`O_TMPFILE`), or if there is no /proc.
    private func writeUnnamed(_ bytes: Span<UInt8>) throws(Failure) -> Bool {
        do throws(Failure) {
            let directory = folder(of: path)
            // Safety: the call reads a NUL-terminated string without a NUL inside of it.
            let file = try unsafe Descriptor.opened(ck_open_unnamed(directory, mode & 0o600), by: "open", on: directory)
            try fill(file, bytes)
            let own = file.withNumber { "/proc/self/fd/\($0)" }
            // Safety: the call reads NUL-terminated strings without a NUL inside of them.
            _ = try retrying("linkat", on: temporary) {
                unsafe linkat(AT_FDCWD, own, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW)
            }
            return true
        } catch {
            guard [EOPNOTSUPP, EISDIR, ENOENT].contains(error.code) else { throw error }
            return false
        }
    }

    /// Makes the temporary file under its name, with `O_EXCL`.
    private func writeNamed(_ bytes: Span<UInt8>) throws(Failure) {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        // Safety: the call reads a NUL-terminated string without a NUL inside of it.
        let file = Descriptor(
            taking: try retrying("open", on: temporary) { unsafe open(temporary, flags, mode & 0o600) })
        do throws(Failure) { try fill(file, bytes) } catch {
            removeTemporary()
            throw error
        }
    }

    private func fill(_ file: borrowing Descriptor, _ bytes: Span<UInt8>) throws(Failure) {
        try file.writeAll(bytes)
        try file.withNumber { number throws(Failure) in
            _ = try retrying("fchmod", on: temporary) { fchmod(number, mode) }
            _ = try retrying("fsync", on: temporary) { fsync(number) }
        }
    }

    /// What keeps it from being removed also ended what is reported instead.
    private func removeTemporary() { try? removeFile(temporary) }
}
