// Which keys are watched, when to look at them, and which connections have to be told.
//
// Must never announce a key that is still changing, unless it never stops. Must never queue more than the newest
// content for a connection, nor let one slow connection delay another.

internal import Kernel
internal import Keys
internal import Wire

/// The watched keys and those who watch them.
final class Rotations {
    private(set) var keys: [KeyName: WatchedKey] = [:]
    /// Keys to look at.
    private var toLook: [WatchedKey] = []
    /// Watches that may have to be told something, and watches that could not be told when they were due.
    private var due: [Watch] = [], postponed: [Watch] = []
    /// When the first and the last change was reported of those that were not looked at yet.
    private var changed: (first: Instant, last: Instant)?
    /// Whether the keys that are looked at now did not stop changing.
    private var isRestless = false
    private var nextLook = Instant.never, nextTry = Instant.never
    /// From when a change of mounts is worth a look.
    private var nextMounts = Instant.boot
    private var toSweep = Sweep()

    // MARK: Watches

    /// The number of open watches.
    var count: Int { keys.values.reduce(0) { $0 + $1.watches.count } }

    /// The key, of which this content was opened for a request. A new content is announced to those who watch the key
    /// only when it has settled, as any other: a caller must not be able to hasten that.
    func key(_ name: KeyName, with content: Content, now: Instant) -> WatchedKey {
        guard let key = keys[name] else {
            let key = WatchedKey(name, content)
            keys[name] = key
            return key
        }
        if !key.isHeld {
            _ = key.note(content)
        } else if key.content != content {
            noteChange(now: now)
        }
        return key
    }

    /// Whether a content that was opened for a watch may be handed out: if it is the one that was announced, or if the
    /// key does not stop changing. If not, it is announced when it has settled.
    func mayHandOut(_ content: Content, of key: WatchedKey, now: Instant) -> Bool {
        if content == key.content { return true }
        noteChange(now: now)
        return key.isRestless
    }

    /// Begins a watch whose connection was told of the key, or notes that it was told again.
    func noteTold(_ watch: Watch, _ generation: UInt64, on number: UInt64, now: Instant) {
        let isFirst = !watch.hasBegun
        watch.noteTold(generation, on: number)
        guard isFirst else { return }
        // The look also has the changes of the key reported from now on.
        if !watch.key.isHeld { look(soonAt: watch.key, now) }
        watch.key.watches[number] = watch
        // A rotation may have been seen between the answer and its sending.
        if watch.key.generation != generation { enqueue([watch]) }
    }

    /// A channel signs with the key. From now on the key is looked at.
    func begin(_ channel: Channel, now: Instant) {
        if !channel.key.isHeld { look(soonAt: channel.key, now) }
        channel.key.channels[channel.number] = channel
    }

    func end(_ channel: Channel) { channel.key.channels[channel.number] = nil }

    func end(_ watch: Watch) {
        if let number = watch.number { watch.key.watches[number] = nil }
    }

    /// Keeps a watch that cannot be told now for a later try.
    func postpone(_ watch: Watch, now: Instant) {
        watch.postpone(now)
        watch.isDue = true
        postponed.append(watch)
        nextTry = min(nextTry, watch.tryAgain)
    }

    /// A new policy is in force: each watch needs a new verdict.
    func adopt(now: Instant) {
        for key in keys.values where key.isHeld {
            enqueue(key.watches.values)
            look(soonAt: key, now)
        }
        toSweep.begin(keys.keys)
    }

    /// Whether all keys are forgotten that have left the policy.
    var isSwept: Bool { toSweep.isDone }

    /// Forgets some of them. A key that nobody watches keeps its generation, but not after it has left the policy.
    func sweep(butNot isKept: (KeyName) -> Bool) {
        for name in toSweep.take() where !isKept(name) && keys[name]?.isHeld == false { keys[name] = nil }
    }

    private func enqueue(_ watches: some Collection<Watch>) {
        for watch in watches where !watch.isDue {
            watch.isDue = true
            due.append(watch)
        }
    }

    /// The next watches that may have to be told something, in the order in which they became due.
    func takeDue(now: Instant) -> ArraySlice<Watch> {
        if nextTry <= now {
            due += postponed.filter { $0.tryAgain <= now }
            postponed.removeAll { $0.tryAgain <= now }
            nextTry = postponed.map(\.tryAgain).min() ?? .never
        }
        let taken = due.prefix(Limits.watchersPerTurn)
        due.removeFirst(taken.count)
        for watch in taken { watch.isDue = false }
        return taken
    }

    // MARK: Keys

    /// A change of a followed key was reported.
    func noteChange(now: Instant) { changed = (changed?.first ?? now, now) }

    /// Mounts have changed somewhere, so there may be other files where the keys are. Any user can be able to mount
    /// something as often as he likes. So that is no sign that a key still changes, and no more than one look in the time
    /// after which all keys are looked at anyway.
    func noteMounts(now: Instant) {
        guard nextMounts <= now else { return }
        nextMounts = now.after(Limits.watchedAgain)
        for key in keys.values where key.isHeld { look(soonAt: key, now) }
    }

    /// Whether changes were reported that were not looked at yet.
    var isSettling: Bool { changed != nil || !toLook.isEmpty }

    /// When the changes that were reported count as settled.
    private var settled: Instant? {
        changed.map { min($0.last.after(Limits.settling), $0.first.after(Limits.longestSettling)) }
    }

    private func look(soonAt key: WatchedKey, _ now: Instant) {
        key.nextLook = now
        nextLook = min(nextLook, now)
    }

    /// Looks at keys that may have changed.
    /// - Parameter sight: looks at the files of a key. Throws the reason why they cannot be handed out now.
    func look(now: Instant, _ sight: (KeyName) throws(TrustError) -> Sighting?) {
        if let settled, settled <= now, let (_, last) = changed {
            isRestless = now < last.after(Limits.settling)
            changed = nil
            toLook = keys.values.filter { $0.isHeld }
        }
        // What is being changed is looked at when it has settled.
        if nextLook <= now, toLook.isEmpty, changed == nil {
            toLook = keys.values.filter { $0.isHeld && $0.nextLook <= now }
            nextLook = keys.values.filter { $0.isHeld && $0.nextLook > now }.map(\.nextLook).min() ?? .never
        }
        for _ in 0..<min(toLook.count, Limits.keysPerTurn) {
            let key = toLook.removeLast()
            var isFollowed = false
            do throws(TrustError) {
                guard let sighting = try sight(key.name) else { continue }
                isFollowed = sighting.isFollowed
                key.fault = nil
                key.isRestless = isRestless
                if key.note(sighting.content) { enqueue(key.watches.values) }
                key.noteChannels()
            } catch {
                // The last content stays the newest until there is another one that can be handed out.
                key.fault = error.description
            }
            key.nextLook = now.after(isFollowed ? Limits.watchedAgain : Limits.unwatchedAgain)
            nextLook = min(nextLook, key.nextLook)
        }
    }

    /// When `look` or `takeDue` next has something to do, or nil if neither has.
    var nextDue: Instant? {
        if !toLook.isEmpty || !due.isEmpty { return .boot }
        let next = min(settled ?? nextLook, nextTry)
        return next == .never ? nil : next
    }
}
