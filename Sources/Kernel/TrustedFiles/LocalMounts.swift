// Which directories of this machine are served by another program or another computer: FUSE, NFS and so on. A system call
// on such a file takes as long as the other side likes, or never returns.
//
// The event loop therefore never touches such a file (ARCHITECTURE.md, "What may hang"). The kernel's table of mounts
// tells them apart without touching any file system. Must never take a type that it does not know for a local one.

internal import CKernel
internal import Glibc
internal import Synchronization

/// The mounts that this process sees, as `/proc/self/mountinfo` (proc(5)) lists them.
///
/// An ordinary user can mount file systems with `fusermount3`, a thousand with long paths, and as often as he likes. So
/// the table is read for a small part of the time only. When it is out of date, a walk leaves the mount where it is only
/// for one where another walk was before.
package final class LocalMounts: Sendable, Equatable {
    /// What is known of a path.
    enum Place {
        /// No mount begins there.
        case inside
        /// A local mount begins there.
        case local
        /// Another mount begins there, which has this number.
        case foreign(UInt64)
        /// The table is out of date.
        case unknown
    }

    /// The number of a mount in a ``TrustError/Kind/elsewhere(_:)`` if it is not known. The kernel's numbers have 31 bits.
    static let unknown = UInt64(UInt32.max)

    /// Two descriptors of the table, as each of them reports a change once: to who polls it, and to the poller.
    private let table: Descriptor
    private let alarm: Descriptor
    private let state: Mutex<State>

    private struct State {
        var mounts: Mounts
        /// The numbers of local mounts where a walk was, if no other mount can ever have them.
        var seen: Set<UInt64> = []
        /// How often the table has changed, and of these, how often it had when it was read last.
        var changes: UInt64 = 0, changesRead: UInt64 = 0
        /// A thread reads it. Another one does not wait for that.
        var isBeingRead = false
        /// Until when the time for earlier readings is owed.
        var owed = Instant.boot
    }

    /// What the table says.
    struct Mounts: Equatable {
        /// The number of each mount that is not local, by its path.
        var foreign: [String: UInt64] = [:]
        /// The paths of the others.
        var local: Set<String> = []
    }

    private static let path = "/proc/self/mountinfo", mostBytes = 16 << 20, mostSeen = 1000
    /// The table is read for this part of the time at most: a reading is owed as many times its own length, and a new one
    /// begins only if less than a certain time is owed. So a boot with all its mounts waits for nothing.
    private static let part = 200, mostOwed = Duration.seconds(10)

    /// Reads the table. Fails if there is no `/proc`.
    package init() throws(Failure) {
        table = try .forReading(Self.path)
        alarm = try .forReading(Self.path)
        state = Mutex(State(mounts: try Self.mounts(in: table)))
    }

    /// Has the poller report a change, as a descriptor that has hung up.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(alarm, for: .hangUp, as: token)
    }

    /// How often the table has changed, as far as it was asked. Does not read it. Calls `poll(2)`.
    package func changes() -> UInt64 {
        state.withLock { state in
            noteChange(&state)
            return state.changes
        }
    }

    /// Reads the table anew if it has changed, unless it was read a moment ago. Calls `poll(2)`.
    func refresh() {
        let began = Instant.now
        let due: UInt64? = state.withLock { state in
            noteChange(&state)
            guard state.changes != state.changesRead, !state.isBeingRead, state.owed < began.after(Self.mostOwed)
            else { return nil }
            state.isBeingRead = true
            return state.changes
        }
        guard let due else { return }
        let mounts: Mounts?
        do throws(Failure) { mounts = try Self.mounts(in: table) } catch { mounts = nil }
        let cost = began.until(.now)
        state.withLock { state in
            state.isBeingRead = false
            state.owed = max(state.owed, began).after(cost * Self.part)
            guard let mounts else { return }
            (state.mounts, state.changesRead) = (mounts, due)
        }
    }

    private func noteChange(_ state: inout State) {
        var polled = pollfd(fd: table.number, events: Int16(POLLPRI), revents: 0)
        // Safety: poll changes the one struct.
        let count = unsafe poll(&polled, 1, 0)
        if count > 0 && Int32(polled.revents) & (POLLPRI | POLLERR) != 0 { state.changes += 1 }
    }

    /// What begins at `path`, which must be a real path. Call ``refresh()`` before a walk.
    func place(at path: String) -> Place {
        state.withLock { state in
            // What was foreign is kept out of until it is known that it has gone.
            if let number = state.mounts.foreign[path] { return .foreign(number) }
            guard state.changes == state.changesRead else { return .unknown }
            return state.mounts.local.contains(path) ? .local : .inside
        }
    }

    /// Notes that a walk is on a local mount.
    func note(_ handle: borrowing Descriptor) {
        guard let mount = handle.mountNumber(isUnique: true) else { return }
        state.withLock { state in
            if state.seen.count >= Self.mostSeen { state.seen = [] }
            state.seen.insert(mount)
        }
    }

    /// Whether a walk was on the mount before. What the kernel serves itself, it serves for as long as it is mounted.
    func knows(_ handle: borrowing Descriptor) -> Bool {
        guard let mount = handle.mountNumber(isUnique: true) else { return false }
        return state.withLock { $0.seen.contains(mount) }
    }

    package static func == (left: LocalMounts, right: LocalMounts) -> Bool { left === right }

    // MARK: The table

    /// The types whose files this kernel serves from its own disks and memory. All others count as foreign.
    private static let local: Set<String> = [
        "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "jfs", "nilfs2", "reiserfs", "bcachefs", "ubifs",
        "jffs2",
        "vfat", "msdos", "exfat", "ntfs", "ntfs3", "hfs", "hfsplus", "udf", "iso9660", "squashfs", "erofs", "cramfs",
        "romfs", "minix", "tmpfs", "ramfs", "rootfs", "hugetlbfs", "overlay", "aufs", "ecryptfs", "devtmpfs", "devpts",
        "proc", "sysfs", "cgroup", "cgroup2", "cpuset", "debugfs", "tracefs", "securityfs", "configfs", "efivarfs",
        "bpf",
        "mqueue", "pstore", "nsfs", "binfmt_misc", "fusectl", "selinuxfs", "smackfs", "resctrl",
    ]

    private static func mounts(in table: borrowing Descriptor) throws(Failure) -> Mounts {
        mounts(try table.readAll(limit: mostBytes, path))
    }

    /// The mounts of the table. The root counts as local in any case: the daemon itself is there.
    static func mounts(_ table: [UInt8]) -> Mounts {
        var mounts = Mounts()
        for line in table.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count > 6, let dash = words[6...].firstIndex(of: [UInt8(ascii: "-")]), dash + 1 < words.count,
                let number = UInt64(String(decoding: words[0], as: UTF8.self))
            else { continue }
            let path = unescaped(words[4])
            if path == "/" || local.contains(String(decoding: words[dash + 1], as: UTF8.self)) {
                mounts.local.insert(path)
            } else {
                mounts.foreign[path] = number
            }
        }
        return mounts
    }

    /// A path of the table, in which a space, a tab, a line feed and a backslash are three octal digits.
    private static func unescaped(_ word: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var rest = word
        while let backslash = rest.firstIndex(of: UInt8(ascii: "\\")) {
            let digits = rest[backslash...].dropFirst().prefix(3)
            bytes += rest[..<backslash]
            if digits.count == 3, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8) {
                bytes.append(value)
                rest = rest[digits.endIndex...]
            } else {
                bytes.append(rest[backslash])
                rest = rest[(backslash + 1)...]
            }
        }
        return String(decoding: bytes + rest, as: UTF8.self)
    }
}

extension TrustedOwners {
    /// The same owners, whose walks never step into a mount that is not local. They end there with
    /// ``TrustError/Kind/elsewhere(_:)``. Nil: nothing is known of the mounts, and they go everywhere.
    package func keeping(to mounts: LocalMounts?) -> TrustedOwners {
        var owners = self
        owners.mounts = mounts
        return owners
    }

    /// What begins at `path`. Throws if that is a mount that is not local.
    func place(at path: String) throws(TrustError) -> LocalMounts.Place {
        guard let place = mounts?.place(at: path) else { return .inside }
        if case .foreign(let number) = place { throw TrustError(served: path, on: number) }
        return place
    }

    /// A handle (`O_PATH`) of `name` itself: a symbolic link is not followed. It is on a local mount. No file system is
    /// asked unless it is known to be local; only `openat(2)` and `statx(2)` for the number of a mount, which ask none.
    func handle(
        of name: String, in directory: borrowing Descriptor, at path: String
    ) throws(TrustError) -> Descriptor {
        let place = try place(at: path)
        let number = directory.number
        let handle = try examining(
            path, try Descriptor.opened(PathCall.openHandle(in: number)(name), by: "openat"))
        switch place {
        case .local: mounts?.note(handle)
        case .unknown where !handle.isOnMount(of: directory) && mounts?.knows(handle) != true:
            throw TrustError(served: path, on: LocalMounts.unknown)
        case .inside, .foreign, .unknown: break
        }
        return handle
    }
}

extension TrustError {
    fileprivate init(served path: String, on mount: UInt64) {
        self.init(
            .elsewhere(mount),
            mount == LocalMounts.unknown
                ? "\(path) is perhaps served by another program or computer: mounts have changed"
                : "\(path) is served by another program or computer")
    }
}

extension Descriptor {
    /// Whether both are known to be on the same mount. Asks no file system. Calls `statx(2)`.
    fileprivate borrowing func isOnMount(of other: borrowing Descriptor) -> Bool {
        guard let mount = mountNumber() else { return false }
        return mount == other.mountNumber()
    }

    /// Nil if the kernel does not tell.
    /// - Parameter isUnique: no later mount may have the same number. Else it tells only mounts apart that are there now.
    fileprivate borrowing func mountNumber(isUnique: Bool = false) -> UInt64? {
        var mount: UInt64 = 0
        // Safety: the function only writes to the variable.
        return unsafe ck_mount_number(number, isUnique ? 1 : 0, &mount) == 0 ? mount : nil
    }
}
