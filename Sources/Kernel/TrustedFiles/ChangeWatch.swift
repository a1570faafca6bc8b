// Whether anything on the ways to the keys has changed: inotify on the directories that they lead through.
//
// The trust in a directory is established once per change, not once per request. All watches are set before the
// sandbox stands, which denies inotify_add_watch(2): a daemon that was taken over could watch what others do
// anywhere. A way through a directory that was not there by then is walked each time. Must never be the only
// guard: the file itself is always checked on its descriptor.

internal import CKernel
internal import Glibc

/// An inotify instance that tells that something changed, not what.
package final class ChangeWatch {
    package let descriptor: Descriptor

    private struct Watched {
        let identity: FileIdentity
        /// Whether it is told of entries that come and go.
        var tellsOfEntries = false
        /// The symbolic links in it that a way leads over.
        var links: Set<String> = []
    }
    /// By what the kernel knows a watched directory by.
    private var watched: [Int32: Watched] = [:]
    private var numbers: [FileIdentity: Int32] = [:]
    private var isSealed = false

    /// Calls `inotify_init1(2)`.
    package init() throws(Failure) {
        descriptor = Descriptor(
            taking: try retrying("inotify_init1") {
                inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
            })
    }

    /// From now on no directory is added.
    package func seal() { isSealed = true }

    /// Whether the directory is watched; before ``seal()`` it is added.
    func covers(_ directory: borrowing Descriptor, _ status: FileStatus) -> Bool {
        let identity = FileIdentity(status)
        if numbers[identity] != nil { return true }
        guard let number = watch(directory, for: IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF) else { return false }
        watched[number] = Watched(identity: identity)
        numbers[identity] = number
        return true
    }

    /// Whether it will be told if the symbolic link of that name in the directory is replaced. Never in a directory
    /// that others may write to: what they make there would wake the daemon as often as they like.
    func covers(linkNamed name: String, in directory: borrowing Descriptor, _ status: FileStatus) -> Bool {
        guard !status.isWritableByOthers, let number = numbers[FileIdentity(status)] else { return false }
        if watched[number]?.tellsOfEntries == false {
            let entries = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MASK_ADD
            guard watch(directory, for: Int(entries)) != nil else { return false }
            watched[number]?.tellsOfEntries = true
        }
        watched[number]?.links.insert(name)
        return true
    }

    /// Calls `inotify_add_watch(2)` on `/proc/self/fd/N`, which leads to just that inode.
    private func watch(_ directory: borrowing Descriptor, for events: some BinaryInteger) -> Int32? {
        if isSealed { return nil }
        let number = PathCall.watch(by: descriptor.number, for: UInt32(events))("/proc/self/fd/\(directory.number)")
        return number >= 0 ? number : nil
    }

    /// Whether anything changed since the last call, which empties the queue.
    package func hasChanged() -> Bool {
        var changed = false
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let number = descriptor.number
            // Safety: read writes at most as many bytes as the array holds.
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(number, $0.baseAddress, $0.count) }
            if count <= 0 { return changed }
            var rest = buffer[..<count]
            while let event = Event(takenFrom: &rest) {
                if isAboutAWay(event) { changed = true }
            }
        }
    }

    /// An event of an entry is one only for the links that ways lead over. One of a directory itself always is,
    /// and so is a lost event (`IN_Q_OVERFLOW`).
    private func isAboutAWay(_ event: Event) -> Bool {
        if let name = event.name { return event.mask & UInt32(IN_ATTRIB) == 0 && links(event).contains(name) }
        if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
            // The end of a watch may be among what was lost.
            watched = [:]
            numbers = [:]
        }
        // The directory is gone, and another one may get its inode number.
        if event.mask & UInt32(IN_IGNORED) != 0, let gone = watched.removeValue(forKey: event.watch) {
            numbers[gone.identity] = nil
        }
        return true
    }

    private func links(_ event: Event) -> Set<String> { watched[event.watch]?.links ?? [] }

    /// `struct inotify_event` (inotify(7)).
    private struct Event {
        let watch: Int32
        let mask: UInt32
        let name: String?

        /// wd, mask, cookie, len, of four bytes each, and len bytes of a name that ends with NUL.
        init?(takenFrom bytes: inout ArraySlice<UInt8>) {
            let headerBytes = 16
            guard bytes.count >= headerBytes else { return nil }
            let header = bytes.prefix(headerBytes)
            func word(_ index: Int) -> UInt32 {
                header.dropFirst(4 * index).prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
            }
            watch = Int32(bitPattern: word(0))
            mask = word(1)
            let nameBytes = bytes.dropFirst(headerBytes).prefix(Int(word(3)))
            name = nameBytes.isEmpty ? nil : String(decoding: nameBytes.prefix { $0 != 0 }, as: UTF8.self)
            bytes = bytes.dropFirst(headerBytes + nameBytes.count)
        }
    }
}

/// Which file something is, whatever it is called.
struct FileIdentity: Hashable {
    let device: UInt64, inode: UInt64

    init(_ status: FileStatus) { (device, inode) = (status.device, status.inode) }
}
