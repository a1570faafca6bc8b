// Who may read a file of the audit log that this account may not read, for the text of the error.
//
// Must never guess: it says what the modes say.

internal import ClientKernel
internal import Kernel
internal import NameLookup

enum ReadersOfLog {
    /// What to do if `path` is forbidden to this account (`EACCES`). Nil if there is nothing to say.
    static func advice(on path: String) -> String? {
        var place = path
        while place.utf8.first == UInt8(ascii: "/"), place != "/" {
            // Below a directory that is closed nothing can be seen. The directory itself can.
            guard let status = (try? statusFollowing(place)) ?? nil else {
                place = folder(of: place)
                continue
            }
            let needed: UInt32 = status.kind == .directory ? 0o050 : 0o040
            guard status.mode & needed == needed else { return "only its owner and root may read it: use sudo" }
            let group = status.groupName
            return "the group \(group) may read it: usermod -aG \(group) \(account), which counts from the next login; "
                + "or use sudo"
        }
        return nil
    }

    private static var account: String {
        ((try? Accounts.user(numbered: Privileges.effectiveUID)) ?? nil)?.name ?? "ACCOUNT"
    }
}
