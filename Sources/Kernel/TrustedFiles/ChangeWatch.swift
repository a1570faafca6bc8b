// Whether anything on the ways to the keys has changed: inotify on the directories that they lead through.
//
// The trust in a directory is established once per change, not once per request. All watches are set before the
// sandbox stands, which denies inotify_add_watch(2): a daemon that was taken over could watch what others do
// anywhere. A way through a directory that was not there by then is walked each time. Must never be the only
// guard: the file itself is always checked on its descriptor. Must never read on for as long as others cause events.

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
        /// Events that were about no way, since when.
        var idle = 0, idleSince = Instant.now
    }
    /// By what the kernel knows a watched directory by.
    private var watched: [Int32: Watched] = [:]
    private var numbers: [FileIdentity: Int32] = [:]
    private var isSealed = false

    /// How much is read of the queue in one call, so that nobody can keep the daemon reading.
    private static let bufferBytes = 4096, mostBuffers = 8
    /// How many events of a directory in a second may be about no way. Whoever owns an entry of it causes one with each
    /// chmod(2): if there are more, the directory is no longer watched.
    private static let mostIdle = 1000

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

    /// Whether it will be told if the symbolic link of that name in the directory is replaced: only if the entries of
    /// the directory are watched. They never are if others may write to it: what they make there would wake the daemon
    /// as often as they like.
    func covers(linkNamed name: String, in directory: borrowing Descriptor, _ status: FileStatus) -> Bool {
        guard !status.isWritableByOthers, let number = numbers[FileIdentity(status)], watchesEntries(number, directory)
        else { return false }
        watched[number]?.links.insert(name)
        return true
    }

    private func watchesEntries(_ number: Int32, _ directory: borrowing Descriptor) -> Bool {
        guard let known = watched[number] else { return false }
        if known.tellsOfEntries { return true }
        let entries = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MASK_ADD
        // Only if it is the very directory that is watched by that number.
        guard watch(directory, for: Int(entries)) == number else { return false }
        watched[number]?.tellsOfEntries = true
        return true
    }

    /// Calls `inotify_add_watch(2)` on `/proc/self/fd/N`, which leads to just that inode.
    private func watch(_ directory: borrowing Descriptor, for events: some BinaryInteger) -> Int32? {
        if isSealed { return nil }
        let number = PathCall.watch(by: descriptor.number, for: UInt32(events))("/proc/self/fd/\(directory.number)")
        return number >= 0 ? number : nil
    }

    /// Whether anything changed since the last call. What is left in the queue counts as a change, and the descriptor
    /// stays readable for the next call.
    package func hasChanged() -> Bool {
        var changed = false
        var buffer = [UInt8](repeating: 0, count: Self.bufferBytes)
        let now = Instant.now
        for _ in 0..<Self.mostBuffers {
            let number = descriptor.number
            // Safety: read writes at most as many bytes as the array holds.
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(number, $0.baseAddress, $0.count) }
            if count <= 0 { return changed }
            var rest = buffer[..<count]
            while let event = Event(takenFrom: &rest) {
                if isAboutAWay(event) || endsTheWatch(event, now) { changed = true }
            }
        }
        return true
    }

    /// An event of an entry is one only for the links that ways lead over. One of a directory itself always is,
    /// and so is a lost event (`IN_Q_OVERFLOW`).
    private func isAboutAWay(_ event: Event) -> Bool {
        if let name = event.name {
            return event.mask & UInt32(IN_ATTRIB) == 0 && watched[event.watch]?.links.contains(name) == true
        }
        // The end of a watch may be among what was lost.
        if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { forgetEndedWatches() }
        // The directory is gone, and another one may get its inode number.
        if event.mask & UInt32(IN_IGNORED) != 0 { forget(event.watch) }
        return true
    }

    /// Counts an event that is about no way. If there are too many of its directory, that one is watched no longer, so
    /// that each way through it is walked each time. Calls `inotify_rm_watch(2)`.
    private func endsTheWatch(_ event: Event, _ now: Instant) -> Bool {
        guard var known = watched[event.watch] else { return false }
        if now >= known.idleSince.after(.seconds(1)) { (known.idle, known.idleSince) = (0, now) }
        known.idle += 1
        watched[event.watch] = known
        guard known.idle > Self.mostIdle else { return false }
        _ = inotify_rm_watch(descriptor.number, event.watch)
        forget(event.watch)
        return true
    }

    private func forget(_ number: Int32) {
        if let gone = watched.removeValue(forKey: number) { numbers[gone.identity] = nil }
    }

    /// Asks the kernel which watches there are, which it numbers anew each time: a number that is not among them has
    /// ended. Reads `/proc/self/fdinfo/N`.
    private func forgetEndedWatches() {
        let path = "/proc/self/fdinfo/\(descriptor.number)"
        let text = try? readSmallFile(path, limit: 1 << 20)
        let lines = String(decoding: text ?? [], as: UTF8.self).split(separator: "\n")
        let present = lines.compactMap { line in
            line.hasPrefix("inotify wd:") ? Int32(line.dropFirst(11).prefix { $0 != " " }, radix: 16) : nil
        }
        for number in Set(watched.keys).subtracting(present) { forget(number) }
    }

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
