// The account of the server, and whether it could open its key by itself.
//
// Must never be asked while a request is answered, because a directory service may take long to find a name.

internal import Kernel
internal import Streams
internal import NameLookup

/// The account of the process, as the kernel sees it.
struct RunningAs {
    let uid: UInt32
    let gid: UInt32
    /// The supplementary groups.
    let groups: [UInt32]
    /// "uid 33 (www-data)"
    let description: String

    /// Asks the kernel and the name service.
    static func now() throws(Failure) -> RunningAs {
        let uid = Privileges.effectiveUID
        let name: String?
        // The account may have no entry, and a failing name service is no reason to end.
        do throws(Failure) { name = try Accounts.user(numbered: uid)?.name } catch { name = nil }
        return RunningAs(
            uid: uid, gid: Privileges.effectiveGID, groups: try Privileges.supplementaryGroups(),
            description: name.map { "uid \(uid) (\($0))" } ?? "uid \(uid)")
    }
}

/// The result of an attempt to open the key's path, as a page shows it.
struct KeyPathAttempt {
    let description: String

    /// Tries to open the file for reading, and closes it unread. Nil if no path is known.
    init(_ path: String?) {
        guard let path else {
            description = "not known to this service"
            return
        }
        do throws(Failure) {
            try PlainFile.tryOpening(path)
            description = "\(path) can be opened by this account, which it should not be"
        } catch {
            description = "\(path) cannot be opened by this account: \(error.reason) (\(error.name))"
        }
    }
}
