// Claims that end with the process at the latest.
//
// Must never be taken on a file that may be renamed away while the claim is to hold.

internal import CKernel
internal import Glibc

/// An exclusive claim that ends with the process at the latest: `flock(2)` on a file of its own.
package struct LockFile: ~Copyable {
    private let descriptor: Descriptor

    /// Nil where another process holds it.
    package static func claimed(_ path: String) throws(Failure) -> LockFile? {
        let file = try Descriptor.opened(PathCall.openForAppending(mode: 0o600)(path), by: "open", on: path)
        return try file.lock() ? LockFile(descriptor: file) : nil
    }

    /// The same on a file `name` in the directory of `path`; on the directory itself if no file can be made there.
    package static func claimed(beside path: String, named name: String) throws(Failure) -> LockFile? {
        let directory = folder(of: path)
        do throws(Failure) { return try claimed("\(directory)/\(name)") } catch {
            guard [EACCES, EPERM, EROFS].contains(error.code) else { throw error }
        }
        let handle = try Descriptor.opened(PathCall.openDirectory(directory), by: "open", on: directory)
        return try handle.lock() ? LockFile(descriptor: handle) : nil
    }

    private init(descriptor: consuming Descriptor) { self.descriptor = descriptor }
}

extension Descriptor {
    /// False where another open file of the same file holds the lock. Calls `flock(LOCK_EX|LOCK_NB)`.
    borrowing func lock() throws(Failure) -> Bool {
        let number = number
        do throws(Failure) { _ = try retrying("flock") { flock(number, LOCK_EX | LOCK_NB) } } catch {
            if error.code == EWOULDBLOCK { return false }
            throw error
        }
        return true
    }
}
