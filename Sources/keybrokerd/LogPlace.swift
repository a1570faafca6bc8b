// The place of the audit log: what root makes there for the account that writes it.
//
// Must never give anything to that account that it could have put there itself.

internal import Audit
internal import Kernel
internal import NameLookup

enum LogPlace {
    /// Makes the directory of the log, owned by the account that writes there, or if it is root's, the lock beside the
    /// log. The directories above it must exist.
    static func prepare(_ path: String, for account: Account?, owners: TrustedOwners) throws(Exit) {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return }
        let directory = String(path[..<slash])
        do throws(TrustError) { try owners.checkDirectories(above: directory) } catch {
            // The directory may exist below others that this account cannot check. Opening the log will show it.
            return
        }
        let isNew = try Exit.onFailure(try makeDirectory(directory, mode: 0o750), status: .audit)
        guard let account else { return }
        if isNew {
            try Exit.onFailure(try setOwner(directory, uid: account.uid, gid: account.gid), status: .audit)
        } else if account.uid != 0 {
            // If that fails, the account locks the directory.
            try? makeLock(beside: path, in: directory, for: account, owners)
        }
    }

    /// Where the account cannot make a lock, it would lock the directory, and whoever may list that could do so first.
    private static func makeLock(
        beside path: String, in directory: String, for account: Account, _ owners: TrustedOwners
    ) throws {
        // Nobody but root can have put anything there, so it is safe to give it away.
        try owners.checkDirectories(above: path)
        guard let status = try statusFollowing(directory), status.owner == 0, !status.isWritableByOthers else { return }
        let lock = "\(directory)/\(LogClaim.lockName(of: path))"
        guard try statusWithoutFollowing(lock)?.owner != account.uid else { return }
        _ = try LockFile.claimed(lock)
        try setOwner(lock, uid: account.uid, gid: account.gid)
    }
}
