// Which directories of this machine are served by another program or another computer: FUSE, NFS and so on. A system call
// on such a file takes as long as the other side likes, or never returns.
//
// The event loop therefore never touches such a file (ARCHITECTURE.md, "What may hang"). The kernel's table of mounts
// tells them apart without touching any file system. Must never take a type that it does not know for a local one.

internal import Glibc
internal import Synchronization

/// The mounts that this process sees, as `/proc/self/mountinfo` (proc(5)) lists them.
package final class LocalMounts: Sendable, Equatable {
    /// Two descriptors of the table, as each of them reports a change once: to who polls it, and to the poller.
    private let table: Descriptor
    private let alarm: Descriptor
    private let state: Mutex<State>

    private struct State {
        /// The number of each mount that is not local, by its path.
        var foreign: [String: UInt64] = [:]
        /// The table has changed and could not be read.
        var isStale = false
    }

    private static let path = "/proc/self/mountinfo", mostBytes = 16 << 20

    /// Reads the table. Fails if there is no `/proc`.
    package init() throws(Failure) {
        table = try .forReading(Self.path)
        alarm = try .forReading(Self.path)
        state = Mutex(State(foreign: try Self.foreign(in: table)))
    }

    /// Has the poller report a change, as a descriptor that has hung up.
    package func register(with poller: Poller, as token: UInt64) throws(Failure) {
        try poller.watch(alarm, for: .hangUp, as: token)
    }

    /// Reads the table anew if it has changed since it was read. Returns whether it has. Calls `poll(2)`.
    package func refreshIfChanged() -> Bool {
        state.withLock { state in
            var polled = pollfd(fd: table.number, events: Int16(POLLPRI), revents: 0)
            // Safety: poll changes the one struct.
            let count = unsafe poll(&polled, 1, 0)
            guard state.isStale || count > 0 && Int32(polled.revents) & (POLLPRI | POLLERR) != 0 else { return false }
            do throws(Failure) {
                state.foreign = try Self.foreign(in: table)
                state.isStale = false
            } catch { state.isStale = true }
            return true
        }
    }

    /// The number of the mount that begins at `path`, which must be a real path. Nil if none begins there, or a local one.
    func foreignMount(at path: String) -> UInt64? { state.withLock { $0.foreign[path] } }

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

    private static func foreign(in table: borrowing Descriptor) throws(Failure) -> [String: UInt64] {
        foreign(try table.readAll(limit: mostBytes, path))
    }

    /// The mounts of the table that are not local. The root never counts as one: the daemon itself is there.
    static func foreign(_ table: [UInt8]) -> [String: UInt64] {
        var foreign: [String: UInt64] = [:]
        for line in table.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count > 6, let dash = words[6...].firstIndex(of: [UInt8(ascii: "-")]), dash + 1 < words.count,
                let number = UInt64(String(decoding: words[0], as: UTF8.self))
            else { continue }
            let path = unescaped(words[4])
            if path == "/" || local.contains(String(decoding: words[dash + 1], as: UTF8.self)) { continue }
            foreign[path] = number
        }
        return foreign
    }

    /// A path of the table, in which a space, a tab, a line feed and a backslash are three octal digits.
    private static func unescaped(_ word: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var rest = word
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            guard byte == UInt8(ascii: "\\"), digits.count == 3,
                let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            else {
                bytes.append(byte)
                continue
            }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        return String(decoding: bytes, as: UTF8.self)
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

    func checkIsLocal(_ path: String) throws(TrustError) {
        guard let number = mounts?.foreignMount(at: path) else { return }
        throw TrustError(.elsewhere(number), "\(path) is served by another program or computer")
    }
}
