// File locks that keep two processes from doing the same work.
//
// Must never be taken on a file that may be renamed while the lock is needed.

internal import CKernel
internal import Glibc

/// An exclusive `flock(2)` lock on a file that exists only for this. It ends with the process at the latest.
package struct LockFile: ~Copyable {
    private let descriptor: Descriptor

    /// Takes the lock. Nil if another process holds it.
    package static func claimed(_ path: String) throws(Failure) -> LockFile? {
        let file = try Descriptor.opened(PathCall.openForAppending(mode: 0o600)(path), by: "open", on: path)
        return try file.lock() ? LockFile(descriptor: file) : nil
    }

    /// Takes the lock on the file `name` in the directory of `path`. If no file can be made there, it locks the
    /// directory itself. Nil if another process holds the lock.
    package static func claimed(beside path: String, named name: String) throws(Failure) -> LockFile? {
        let directory = folder(of: path)
        do throws(Failure) { return try claimed("\(directory)/\(name)") } catch {
            guard [EACCES, EPERM, EROFS].contains(error.code) else { throw error }
        }
        let handle = try Descriptor.opened(PathCall.openDirectory(in: AT_FDCWD)(directory), by: "open", on: directory)
        return try handle.lock() ? LockFile(descriptor: handle) : nil
    }

    private init(descriptor: consuming Descriptor) { self.descriptor = descriptor }

    /// Lets go of the lock. The end of the process would, too, but only after the kernel has closed what the process had
    /// open, and that can take as long as whoever sent it wants. Calls `flock(LOCK_UN)`.
    package borrowing func release() { _ = flock(descriptor.number, LOCK_UN) }
}

extension Descriptor {
    /// Returns false if the lock is held through another open file description. Calls `flock(LOCK_EX|LOCK_NB)`.
    borrowing func lock() throws(Failure) -> Bool {
        let number = number
        do throws(Failure) { _ = try retrying("flock") { flock(number, LOCK_EX | LOCK_NB) } } catch {
            if error.code == EWOULDBLOCK { return false }
            throw error
        }
        return true
    }
}
