// The claim to be the only writer of a log.
//
// It belongs to a name that stays: the log itself is renamed by every rotation, and the new file of its name has
// no lock yet. Two writers would go on from the same record, and fork the chain. Must never be given back while
// the process may still write.

internal import Kernel

/// A lock that is held until the process ends.
struct LogClaim: ~Copyable {
    private let lock: LockFile

    /// Locks `.NAME.lock` beside the log, which the first of all its writers makes; or the directory, if no file can
    /// be made in it. Calls `flock(2)`. Throws ``LogError/inUse(_:)`` if another process holds it.
    init(_ path: String) throws(LogError) {
        let claimed: LockFile?
        do throws(Failure) {
            let absolute = try absolutePath(path)
            let name = absolute.split(separator: "/").last ?? ""
            claimed = try LockFile.claimed(beside: absolute, named: ".\(name).lock")
        } catch { throw .failed(error) }
        switch consume claimed {
        case .some(let lock): self.lock = lock
        case .none: throw .inUse(path)
        }
    }
}
