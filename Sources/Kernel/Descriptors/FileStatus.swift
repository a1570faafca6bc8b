// The status of a file: its kind, owner, mode, size and so on.
//
// Must never be kept for a later decision, because the file can change.

internal import Glibc

/// The part of what `fstat(2)` returns that this program needs.
package struct FileStatus: Equatable, Sendable {
    package enum Kind: Equatable, Sendable {
        case regular, directory, symbolicLink, socket, fifo, characterDevice, blockDevice, unknown
    }

    package let kind: Kind
    package let device: UInt64
    package let inode: UInt64
    package let owner: UInt32
    package let group: UInt32
    /// The permission bits only, with the sticky bit: `0o1777`.
    package let mode: UInt32
    /// The size in bytes.
    package let size: Int
    /// The number of hard links. It is 0 if the file was removed.
    package let links: UInt64
    package let modified: WallTime

    /// The status of a file that is not the kernel's, for tests.
    package init(regularFileOf size: Int, device: UInt64, inode: UInt64, links: UInt64, modified: WallTime) {
        (kind, owner, group, mode) = (.regular, 0, 0, 0o640)
        (self.device, self.inode, self.size, self.links) = (device, inode, size, links)
        self.modified = modified
    }

    init(_ raw: stat) {
        kind =
            switch raw.st_mode & S_IFMT {
            case S_IFREG: .regular
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            case S_IFSOCK: .socket
            case S_IFIFO: .fifo
            case S_IFCHR: .characterDevice
            case S_IFBLK: .blockDevice
            default: .unknown
            }
        device = UInt64(raw.st_dev)
        inode = UInt64(raw.st_ino)
        owner = raw.st_uid
        group = raw.st_gid
        mode = raw.st_mode & 0o7777
        size = Int(raw.st_size)
        links = UInt64(raw.st_nlink)
        modified = WallTime(seconds: Int(raw.st_mtim.tv_sec), nanoseconds: Int(raw.st_mtim.tv_nsec))
    }

    /// The status of a regular file as words, for another process.
    package var words: String {
        [
            device, inode, UInt64(owner), UInt64(group), UInt64(mode), UInt64(size), links,
            UInt64(bitPattern: Int64(modified.seconds)), UInt64(modified.nanoseconds),
        ].map(String.init).joined(separator: " ")
    }

    /// Reads such words. Nil if they are none.
    package init?(words: some StringProtocol) {
        let numbers = words.split(separator: " ").compactMap { UInt64($0) }
        guard numbers.count == 9, let owner = UInt32(exactly: numbers[2]), let group = UInt32(exactly: numbers[3]),
            numbers[4] <= 0o7777, let size = Int(exactly: numbers[5]), numbers[8] < 1_000_000_000
        else { return nil }
        var raw = stat()
        (raw.st_dev, raw.st_ino) = (dev_t(numbers[0]), ino_t(numbers[1]))
        (raw.st_uid, raw.st_gid, raw.st_mode) = (owner, group, S_IFREG | mode_t(numbers[4]))
        (raw.st_size, raw.st_nlink) = (off_t(size), nlink_t(numbers[6]))
        raw.st_mtim = timespec(tv_sec: Int(Int64(bitPattern: numbers[7])), tv_nsec: Int(numbers[8]))
        self.init(raw)
    }

    /// Whether the group or everybody may write to the file.
    package var isWritableByOthers: Bool { mode & 0o022 != 0 }
    /// Whether the group or everybody may read the file, or list the directory.
    package var isReadableByOthers: Bool { mode & 0o044 != 0 }
    package var isSticky: Bool { mode & 0o1000 != 0 }
    /// The mode as `ls` users write it: "0640".
    package var octalMode: String {
        let digits = String(mode, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}

/// Tells one content of a file from another without reading it: another file, another size, or another time of the last
/// change.
package struct ContentMark: Equatable, Sendable {
    private let device: UInt64, inode: UInt64, size: Int, modified: WallTime

    package init(_ status: FileStatus) {
        (device, inode, size, modified) = (status.device, status.inode, status.size, status.modified)
    }
}

/// Identifies a file whatever its path is.
package struct FileIdentity: Hashable, Sendable {
    fileprivate let device: UInt64, inode: UInt64
}

extension FileStatus {
    package var identity: FileIdentity { FileIdentity(device: device, inode: inode) }
}
