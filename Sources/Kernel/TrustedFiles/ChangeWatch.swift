// Tells whether a path to a key, or the file itself, has changed, with inotify on the directories that the paths go
// through.
//
// A directory is checked once per change, not once per request. All watches are added before the sandbox is in force.
// The sandbox denies inotify_add_watch(2), so that an attacker who takes over the daemon cannot watch other
// directories. A path through a directory that is not watched is checked on each request. Must never be the only check:
// the file itself is always checked on its descriptor. Must never let others keep the daemon reading by causing many
// events.

internal import CKernel
internal import Glibc

/// An inotify instance. It tells that something changed, but not what.
package final class ChangeWatch {
    package let descriptor: Descriptor

    private struct Watched {
        let identity: FileIdentity
        /// Whether entries that are created, removed or written are reported.
        var tellsOfEntries = false
        /// The symbolic links in the directory that are part of a path to a key.
        var links: Set<String> = []
        /// The files in the directory whose changes somebody waits for.
        var files: Set<String> = []
        /// The number of events that others may cause, counted from `countedSince`.
        var count = 0, countedSince = Instant.now
    }
    /// Watched directories by inotify's watch descriptor.
    private var watched: [Int32: Watched] = [:]
    private var numbers: [FileIdentity: Int32] = [:]
    /// The directories whose watches were ended because of too many events. They are not watched again.
    private var loud: Set<FileIdentity> = []
    private var isSealed = false

    /// How much of the queue one call reads, in bytes and buffers, so that nobody can keep the daemon reading.
    private static let bufferBytes = 4096, mostBuffers = 8
    /// How many events per second others may cause in one directory. The owner of an entry causes one with each chmod(2),
    /// and whoever may write to a sticky directory such as `/tmp` with each change of its times. If there are more, the
    /// directory is no longer watched.
    private static let mostOfOthers = 1000
    /// How many such directories are remembered.
    private static let mostLoud = 10_000

    /// Calls `inotify_init1(2)`.
    package init() throws(Failure) {
        descriptor = Descriptor(
            taking: try retrying("inotify_init1") {
                inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
            })
    }

    /// From now on no directory can be added.
    package func seal() { isSealed = true }

    /// Whether the directory is watched. Before ``seal()`` it is added if it is not.
    func covers(_ directory: borrowing Descriptor, _ status: FileStatus) -> Bool {
        let identity = status.identity
        if numbers[identity] != nil { return true }
        guard !loud.contains(identity), let number = watch(directory, for: IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)
        else { return false }
        watched[number] = Watched(identity: identity)
        numbers[identity] = number
        return true
    }

    /// Whether a change of the symbolic link `name` in the directory will be reported. For that, the entries of the
    /// directory have to be watched. They never are if others may write to the directory: each file that they create
    /// would wake the daemon.
    func covers(linkNamed name: String, in directory: borrowing Descriptor, _ status: FileStatus) -> Bool {
        guard !status.isWritableByOthers, let number = numbers[status.identity], watchesEntries(number, directory)
        else { return false }
        watched[number]?.links.insert(name)
        return true
    }

    /// Whether a change of the file `name` in the directory will be reported.
    /// - Parameter follows: somebody waits for its changes. Before ``seal()``, false only prepares for that.
    func covers(
        fileNamed name: String, in directory: borrowing Descriptor, _ status: FileStatus, follows: Bool
    ) -> Bool {
        guard !status.isWritableByOthers, let number = numbers[status.identity], watchesEntries(number, directory)
        else { return false }
        if follows { watched[number]?.files.insert(name) }
        return true
    }

    private func watchesEntries(_ number: Int32, _ directory: borrowing Descriptor) -> Bool {
        guard let known = watched[number] else { return false }
        if known.tellsOfEntries { return true }
        let entries =
            UInt32(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE) | UInt32(IN_MASK_ADD)
        // inotify returns the same watch descriptor only if this is the same directory.
        guard watch(directory, for: entries) == number else { return false }
        watched[number]?.tellsOfEntries = true
        return true
    }

    /// Calls `inotify_add_watch(2)` on `/proc/self/fd/N`, which always leads to the inode of this handle.
    private func watch(_ directory: borrowing Descriptor, for events: some BinaryInteger) -> Int32? {
        if isSealed { return nil }
        let number = PathCall.watch(by: descriptor.number, for: UInt32(events))("/proc/self/fd/\(directory.number)")
        return number >= 0 ? number : nil
    }

    /// What changed since the last call.
    package struct Changes {
        /// Something on a path to a key.
        package var ways = false
        /// The content of a file that somebody waits for, or which file is at the end of its path.
        package var files = false

        fileprivate static let any = Changes(ways: true, files: true)
    }

    /// What changed since the last call. If it stops with events left in the queue, it returns that anything may have
    /// changed, and the descriptor stays readable for the next call.
    package func changes() -> Changes {
        var changes = Changes()
        var buffer = [UInt8](repeating: 0, count: Self.bufferBytes)
        let now = Instant.now
        for _ in 0..<Self.mostBuffers {
            let number = descriptor.number
            // Safety: read writes at most as many bytes as the array holds.
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(number, $0.baseAddress, $0.count) }
            if count <= 0 { return changes }
            var rest = buffer[..<count]
            while let event = Event(takenFrom: &rest) {
                if isAboutAWay(event) {
                    changes = .any
                    if event.mask & UInt32(IN_ATTRIB) != 0 { _ = endsTheWatch(event, now) }
                } else if isAboutAFile(event) {
                    changes.files = true
                } else if endsTheWatch(event, now) {
                    changes = .any
                }
            }
        }
        return .any
    }

    private func isAboutAFile(_ event: Event) -> Bool {
        guard let name = event.name else { return false }
        return event.mask & UInt32(IN_ATTRIB) == 0 && watched[event.watch]?.files.contains(name) == true
    }

    /// Whether the event concerns a path to a key. An event of an entry does only if the entry is a symbolic link on
    /// such a path. An event of a directory itself always does, and so does the loss of events (`IN_Q_OVERFLOW`).
    private func isAboutAWay(_ event: Event) -> Bool {
        if let name = event.name {
            return event.mask & UInt32(IN_ATTRIB) == 0 && watched[event.watch]?.links.contains(name) == true
        }
        // The lost events may include the end of a watch.
        if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { forgetEndedWatches() }
        // The directory is gone. Another one can get its inode number.
        if event.mask & UInt32(IN_IGNORED) != 0 { forget(event.watch) }
        return true
    }

    /// Counts an event that others may cause. If a directory has too many of them, its watch is removed, and paths through
    /// it are checked on each request. Calls `inotify_rm_watch(2)`.
    private func endsTheWatch(_ event: Event, _ now: Instant) -> Bool {
        guard var known = watched[event.watch] else { return false }
        if now >= known.countedSince.after(.seconds(1)) { (known.count, known.countedSince) = (0, now) }
        known.count += 1
        watched[event.watch] = known
        guard known.count > Self.mostOfOthers else { return false }
        _ = inotify_rm_watch(descriptor.number, event.watch)
        if loud.count >= Self.mostLoud { loud = [] }
        loud.insert(known.identity)
        forget(event.watch)
        return true
    }

    private func forget(_ number: Int32) {
        if let gone = watched.removeValue(forKey: number) { numbers[gone.identity] = nil }
    }

    /// Removes the watches that the kernel has ended. inotify gives each watch a new number, so one that the kernel does
    /// not list has ended. Reads `/proc/self/fdinfo/N`.
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

        /// The layout: wd, mask, cookie and len with four bytes each, then a name of len bytes that ends with NUL.
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
