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
        if isNew { return try give(directory, to: account) }
        // Where the account cannot make a lock, it would lock the directory, and whoever may list that could do so first.
        // Nobody but root can have put anything there, so it is safe to give it away.
        let status = try Exit.onFailure(try statusFollowing(directory), status: .audit)
        guard let status, status.owner == 0, account.uid != 0, !status.isWritableByOthers else { return }
        let lock = "\(directory)/\(LogClaim.lockName(of: path))"
        _ = try Exit.onFailure(try LockFile.claimed(lock), status: .audit)
        try give(lock, to: account)
    }

    private static func give(_ path: String, to account: Account) throws(Exit) {
        try Exit.onFailure(try setOwner(path, uid: account.uid, gid: account.gid), status: .audit)
    }
}
