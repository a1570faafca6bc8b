// The lock that makes this process the only writer of a log.
//
// It is a lock on a file whose name does not change. The log itself would not do: a rotation renames it, and the new
// file has no lock. Two writers would continue after the same record, and fork the chain. Must never be released while
// the process may still write.

internal import Kernel

/// A lock that is held until the process ends, or has written its last record.
package struct LogClaim: ~Copyable {
    private let lock: LockFile

    /// Locks `.NAME.lock` beside the log, which the first writer creates. If no file can be created there, it locks the
    /// directory. Calls `flock(2)`. Throws ``LogError/inUse(_:)`` if another process holds the lock.
    init(_ path: String) throws(LogError) {
        let claimed: LockFile?
        do throws(Failure) {
            let absolute = try absolutePath(path)
            claimed = try LockFile.claimed(beside: absolute, named: Self.lockName(of: absolute))
        } catch { throw .failed(error) }
        switch consume claimed {
        case .some(let lock): self.lock = lock
        case .none: throw .inUse(path)
        }
    }

    /// The name of the lock, which is beside the log.
    package static func lockName(of path: String) -> String { ".\(path.split(separator: "/").last ?? "").lock" }

    /// Must be called only by who writes no more.
    borrowing func release() { lock.release() }
}
