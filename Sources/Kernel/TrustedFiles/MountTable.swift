// The kernel's table of mounts, as `/proc/PID/mountinfo` (proc(5)) lists them, without touching any file system.
//
// Must never take a type that it does not know for a local one.

/// Which mounts are local, and which are served by another program or computer. Paths are bytes: to `String`, different
/// paths can be equal.
struct MountTable {
    /// The number of each mount that is not local, by its path.
    private(set) var foreign: [[UInt8]: UInt64] = [:]
    /// The paths of the others. The root counts as local in any case: the daemon itself is there.
    private(set) var local: Set<[UInt8]> = []

    /// The types whose files this kernel serves from its own disks and memory. All others count as foreign.
    private static let localTypes: Set<String> = [
        "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "jfs", "nilfs2", "reiserfs", "bcachefs", "ubifs",
        "jffs2",
        "vfat", "msdos", "exfat", "ntfs", "ntfs3", "hfs", "hfsplus", "udf", "iso9660", "squashfs", "erofs", "cramfs",
        "romfs", "minix", "tmpfs", "ramfs", "rootfs", "hugetlbfs", "overlay", "aufs", "ecryptfs", "devtmpfs", "devpts",
        "proc", "sysfs", "cgroup", "cgroup2", "cpuset", "debugfs", "tracefs", "securityfs", "configfs", "efivarfs",
        "bpf",
        "mqueue", "pstore", "nsfs", "binfmt_misc", "fusectl", "selinuxfs", "smackfs", "resctrl",
    ]

    /// Adds a line of the table.
    mutating func add(_ line: ArraySlice<UInt8>) {
        let words = line.split(separator: UInt8(ascii: " "))
        guard words.count > 6, let dash = words[6...].firstIndex(of: [UInt8(ascii: "-")]), dash + 1 < words.count,
            let number = UInt64(String(decoding: words[0], as: UTF8.self))
        else { return }
        let path = Self.unescaped(words[4])
        if path == [UInt8(ascii: "/")] || Self.localTypes.contains(String(decoding: words[dash + 1], as: UTF8.self)) {
            local.insert(path)
        } else {
            foreign[path] = number
        }
    }

    /// A path of the table, in which a space, a tab, a line feed and a backslash are three octal digits.
    private static func unescaped(_ word: ArraySlice<UInt8>) -> [UInt8] {
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
        return bytes + rest
    }
}
