// Gives up privileges: the daemon goes from root to its own account with one capability.
//
// Must never leave a way back to root. The real, effective and saved ids are all set, the capability bounding set is
// emptied, and no_new_privs is set.

internal import CKernel
internal import Glibc

/// The privileges of the process, and how it gives them up.
package enum Privileges {
    package static var processID: Int32 { getpid() }
    package static var uid: UInt32 { getuid() }
    package static var effectiveUID: UInt32 { geteuid() }
    package static var effectiveGID: UInt32 { getegid() }
    package static var isRoot: Bool { geteuid() == 0 }

    /// The supplementary groups. Calls `getgroups(2)`.
    package static func supplementaryGroups() throws(Failure) -> [UInt32] {
        while true {
            // With no room, the call only returns how many there are.
            let count = getgroups(0, nil)
            guard count >= 0 else { throw Failure("getgroups", code: errno) }
            if count == 0 { return [] }
            var groups = [gid_t](repeating: 0, count: Int(count))
            // Safety: the call writes at most `count` numbers to the array's own storage.
            let written = unsafe getgroups(count, &groups)
            if written >= 0 { return Array(groups.prefix(Int(written))) }
            // Somebody added a group in between: the room was too little.
            guard errno == EINVAL else { throw Failure("getgroups", code: errno) }
        }
    }

    /// Whether the process can read any file whatever its mode (effective `CAP_DAC_READ_SEARCH`).
    package static func canReadAnyFile() throws(Failure) -> Bool {
        var set: UInt64 = 0
        // Safety: the call fills the one number it is given.
        _ = try unsafe succeed(ck_effective_capabilities(&set), "capget")
        return set >> UInt64(ck_cap_dac_read_search) & 1 == 1
    }

    /// Gives up every capability for ever. Returns false if one is left. Calls `capset(2)`.
    package static func giveUpCapabilities() -> Bool {
        _ = ck_keep_capabilities(0)
        var set: UInt64 = 0
        // Safety: the call fills the one number it is given.
        return unsafe ck_effective_capabilities(&set) >= 0 && set == 0
    }

    /// Changes from root to another account, without supplementary groups and with `CAP_DAC_READ_SEARCH` as the only
    /// capability. Calls `setresuid(2)`, `setresgid(2)`, `setgroups(2)`, `prctl(2)` and `capset(2)`.
    package static func become(uid: UInt32, gid: UInt32) throws(Failure) {
        _ = try succeed(
            ck_become(uid, gid, 1 << UInt64(ck_cap_dac_read_search)), "become uid \(uid), gid \(gid)")
    }

    /// Changes from root to another account, without supplementary groups and without any capability. Makes the same
    /// calls.
    package static func becomeWithoutRights(uid: UInt32, gid: UInt32) throws(Failure) {
        _ = try succeed(ck_become(uid, gid, 0), "become uid \(uid), gid \(gid)")
    }

    /// Sets no_new_privs, and forbids tracing by other processes and core dumps (`prctl(2)`, `setrlimit(2)`).
    package static func harden() throws(Failure) {
        _ = try succeed(ck_harden(), "prctl")
    }

    /// Raises the limit of open file descriptors to the hard limit, and returns it.
    package static func raiseDescriptorLimit() throws(Failure) -> Int {
        Int(try succeed(ck_raise_descriptor_limit(), "setrlimit RLIMIT_NOFILE"))
    }

    /// Permits the process, and what it becomes, to lock all its memory. Has no effect without `CAP_SYS_RESOURCE`. Calls
    /// `setrlimit(RLIMIT_MEMLOCK)`.
    package static func permitLockedMemory() { _ = ck_raise_lock_limit() }

    /// Keeps all memory of the process out of swap, now and later. Returns false if its limit is too low. A child process
    /// has to call this itself. Calls `mlockall(2)`.
    package static func lockMemory() -> Bool { ck_lock_all_memory() >= 0 }

    /// From now on the process makes no process, no thread, and no byte of a file. Calls `setrlimit(2)`.
    package static func forbidMaking() throws(Failure) { _ = try succeed(ck_forbid_making(), "setrlimit") }
}
