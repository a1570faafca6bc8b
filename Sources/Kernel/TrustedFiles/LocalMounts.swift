// Which directories of this machine are served by another program or another computer: FUSE, NFS and so on. A system call
// on such a file takes as long as the other side likes, or never returns.
//
// The event loop therefore never touches such a file (ARCHITECTURE.md, "What may hang"). Must never take a mount for a
// local one of which it does not know that. Must never read the table of mounts as often as somebody mounts something.

internal import CKernel
internal import Glibc
internal import Synchronization

/// The mounts that this process sees, as `/proc/self/mountinfo` (proc(5)) lists them.
///
/// An ordinary user can mount file systems with `fusermount3`, a thousand with long paths, and as often as he likes. So
/// the table is read for a small part of the time only, and in a thread, as one reading can take a second. When it is out
/// of date, a walk leaves the mount where it is only for one where another walk was before.
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
    private let state = Mutex(State())
    /// They ring when the table is to be read, and when it was read.
    private let wanted: WakeUp, done: WakeUp

    private struct State {
        var table = MountTable()
        /// The numbers of local mounts where a walk was, if no other mount can ever have them.
        var seen: Set<UInt64> = []
        /// How often the table has changed, and of these, how often it had when it was read last. It was never read so far.
        var changes: UInt64 = 1, changesRead: UInt64 = 0
        var hasThread = false
        /// Another thread does not begin as well.
        var isBeingRead = false
        /// Until when the time for earlier readings is owed.
        var owed = Instant.boot
    }

    private static let mostBytes = 256 << 20, mostSeen = 1000
    /// The table is read for this part of the time at most: a reading is owed as many times its own length, and a new one
    /// begins only if less than a certain time is owed. So a boot with all its mounts waits for nothing.
    private static let part = 200, mostOwed = Duration.seconds(10)
    /// How long a walk waits for the thread. The usual table is read in a tenth of that, and then nothing is unknown.
    private static let patience = Duration.milliseconds(5)

    /// Nil if there is no `/proc`. If the table is there and cannot be read, it is out of date.
    /// - Parameters:
    ///   - path: where the table is. Only tests give another one.
    ///   - isReadNow: whether the table is read at once, and not for the first walk.
    package static func here(
        _ path: String = "/proc/self/mountinfo", isReadNow: Bool = true
    ) throws(Failure) -> LocalMounts? {
        do throws(Failure) {
            let mounts = try LocalMounts(.forReading(path), .forReading(path))
            if isReadNow { mounts.refresh() }
            return mounts
        } catch {
            if error.code == ENOENT { return nil }
            throw error
        }
    }

    private init(_ table: consuming Descriptor, _ alarm: consuming Descriptor) throws(Failure) {
        (wanted, done) = (try WakeUp(), try WakeUp())
        self.table = table
        self.alarm = alarm
    }

    /// From now on a thread reads the table. Calls `pthread_create(3)`.
    /// - Parameter confine: what the thread does first. If it fails, so does this.
    package func beginThread(
        confinedBy confine: @escaping @Sendable () throws(Failure) -> Void
    ) throws(Failure) {
        try startThread(preparedBy: confine) { [self] in
            while true {
                // The only possible error is a want of memory. Then nobody has asked for a reading.
                if (try? wanted.takeOne()) != nil { read() }
            }
        }
        state.withLock { $0.hasThread = true }
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

    /// Has the table read anew if it has changed, unless it was read a moment ago. Waits a moment for that. Calls `poll(2)`.
    func refresh() {
        let now = Instant.now
        let (isDue, hasThread) = state.withLock { state in
            noteChange(&state)
            guard state.changes != state.changesRead, !state.isBeingRead, state.owed < now.after(Self.mostOwed)
            else { return (false, state.hasThread) }
            state.isBeingRead = true
            return (true, state.hasThread)
        }
        guard isDue else { return }
        guard hasThread else { return read() }
        done.silence()
        wanted.signal()
        // If it fails, the table counts as out of date for now.
        try? done.takeOne(until: now.after(Self.patience))
    }

    /// Reads the table. If that fails, it stays out of date.
    private func read() {
        let (due, began) = (state.withLock { $0.changes }, Instant.now)
        var read: MountTable? = MountTable()
        do throws(Failure) { try table.forEachLine(limit: Self.mostBytes) { read?.add($0) } } catch {
            read = nil
        }
        let cost = began.until(.now)
        // The old table goes after the lock, which the loop may want.
        let old = state.withLock { state in
            state.isBeingRead = false
            state.owed = max(state.owed, began).after(cost * Self.part)
            noteChange(&state)
            let old = state.table
            if let read { (state.table, state.changesRead) = (read, due) }
            done.signal()
            return old
        }
        withExtendedLifetime(old) {}
    }

    private func noteChange(_ state: inout State) {
        var polled = pollfd(fd: table.number, events: Int16(POLLPRI), revents: 0)
        // Safety: poll changes the one struct.
        let count = unsafe poll(&polled, 1, 0)
        if count > 0 && Int32(polled.revents) & (POLLPRI | POLLERR) != 0 { state.changes += 1 }
    }

    /// What begins at `path`, which must be a real path. Call ``refresh()`` before a walk.
    func place(at path: String) -> Place {
        let path = Array(path.utf8)
        return state.withLock { state in
            // What was foreign is kept out of until it is known that it has gone.
            if let number = state.table.foreign[path] { return .foreign(number) }
            guard state.changes == state.changesRead else { return .unknown }
            return state.table.local.contains(path) ? .local : .inside
        }
    }

    /// Notes that a walk is on a local mount, if nothing was mounted since the table said that it is one.
    func note(_ handle: borrowing Descriptor) {
        guard let mount = handle.mountNumber(isUnique: true) else { return }
        state.withLock { state in
            noteChange(&state)
            guard state.changes == state.changesRead else { return }
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
            // Each mount counts for itself: one that hangs holds up no other.
            throw TrustError(served: path, on: handle.mountNumber() ?? LocalMounts.unknown, isKnown: false)
        case .inside, .foreign, .unknown: break
        }
        return handle
    }
}

extension TrustError {
    fileprivate init(served path: String, on mount: UInt64, isKnown: Bool = true) {
        self.init(
            .elsewhere(mount),
            isKnown
                ? "\(path) is served by another program or computer"
                : "\(path) is perhaps served by another program or computer: mounts have changed")
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
