// Looks up names of users and groups in the name service.
//
// Must never be used while a request is answered, but only when a policy is read or a program starts: a directory
// server may take any time to answer. A lookup that fails is an error and never an id.

internal import CKernel
internal import Glibc
package import Kernel

/// An account in the name service.
package struct Account: Equatable, Sendable {
    package let name: String
    package let uid: UInt32
    package let gid: UInt32

    package init(name: String, uid: UInt32, gid: UInt32) {
        self.name = name
        self.uid = uid
        self.gid = gid
    }
}

/// Lookups by `getpwnam_r(3)` and its siblings.
package enum Accounts {
    /// Nil if there is no such user.
    package static func user(named name: String) throws(Failure) -> Account? {
        // Safety: the call keeps within the buffer, which outlives what is read of the entry here.
        try unsafe lookUp("getpwnam", on: name) { (buffer, size) throws(Failure) in
            var entry = unsafe passwd()
            var found: UnsafeMutablePointer<passwd>?
            let code = unsafe getpwnam_r(name, &entry, buffer, size, &found)
            return (code, unsafe found.flatMap { unsafe account($0.pointee) })
        }
    }

    /// Nil if no user has that number.
    package static func user(numbered uid: UInt32) throws(Failure) -> Account? {
        // Safety: the call keeps within the buffer, which outlives what is read of the entry here.
        try unsafe lookUp("getpwuid", on: String(uid)) { (buffer, size) throws(Failure) in
            var entry = unsafe passwd()
            var found: UnsafeMutablePointer<passwd>?
            let code = unsafe getpwuid_r(uid, &entry, buffer, size, &found)
            return (code, unsafe found.flatMap { unsafe account($0.pointee) })
        }
    }

    /// The gid of a group, or nil if there is no such group.
    package static func gid(ofGroup name: String) throws(Failure) -> UInt32? {
        // Safety: the call keeps within the buffer, which outlives what is read of the entry here.
        try unsafe lookUp("getgrnam", on: name) { (buffer, size) throws(Failure) in
            var entry = unsafe Glibc.group()
            var found: UnsafeMutablePointer<Glibc.group>?
            let code = unsafe getgrnam_r(name, &entry, buffer, size, &found)
            return (code, unsafe found.map { unsafe $0.pointee.gr_gid })
        }
    }

    /// The name of a group, or nil if no group has that number.
    package static func group(numbered gid: UInt32) throws(Failure) -> String? {
        // Safety: the call keeps within the buffer, which outlives the copy of the name that is made here.
        try unsafe lookUp("getgrgid", on: String(gid)) { (buffer, size) throws(Failure) in
            var entry = unsafe Glibc.group()
            var found: UnsafeMutablePointer<Glibc.group>?
            let code = unsafe getgrgid_r(gid, &entry, buffer, size, &found)
            return (code, unsafe found.flatMap { unsafe $0.pointee.gr_name.map { unsafe String(cString: $0) } })
        }
    }

    /// The primary and supplementary groups that the name service gives a user at login (`getgrouplist(3)`). A service
    /// that is started as that user has these groups.
    package static func groups(of account: Account) -> [UInt32] {
        var room: Int32 = 64
        while true {
            var groups = [gid_t](repeating: 0, count: Int(room))
            // Safety: the call writes at most `room` numbers, and says how many there are.
            if unsafe getgrouplist(account.name, account.gid, &groups, &room) >= 0 {
                return Array(groups.prefix(Int(room)))
            }
            if room <= groups.count { return [account.gid] }
        }
    }

    /// The names in `/etc/passwd` or `/etc/group`. None if the file cannot be read: they only help to say what was meant.
    static func localNames(in file: String) -> [String] {
        let bytes = (try? readSmallFile(file, limit: 1 << 20)) ?? []
        return bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            line.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false).first
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }

    // Safety: the strings are copied while the buffer that they are in is there.
    private static func account(_ entry: passwd) -> Account? {
        guard let name = unsafe entry.pw_name else { return nil }
        return unsafe Account(name: String(cString: name), uid: entry.pw_uid, gid: entry.pw_gid)
    }

    /// Repeats the call with a larger buffer until the entry fits.
    private static func lookUp<R>(
        _ call: String, on subject: String,
        _ body: (UnsafeMutablePointer<CChar>, Int) throws(Failure) -> (code: Int32, found: R?)
    ) throws(Failure) -> R? {
        var size = 1024
        while true {
            // Safety: the buffer lives until the end of this turn; `body` keeps nothing of it.
            let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: size)
            defer { unsafe buffer.deallocate() }
            let (code, found) = try unsafe body(buffer, size)
            switch code {
            case 0: return found
            case ERANGE where size < 1 << 20: size *= 4
            case EINTR: continue
            // Some name services return these errors, and not 0, if there is no such entry (getpwnam(3), ERRORS).
            case ENOENT, ESRCH: return nil
            default: throw Failure(call, code: code, on: subject)
            }
        }
    }
}
