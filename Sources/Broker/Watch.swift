// One connection that watches a key, and the key that it watches.
//
// Must never keep a file open: a rotation is opened anew for each connection that is told of it.

internal import Kernel
internal import Keys
internal import Wire

/// The watch of one connection. While it exists, it counts against the limit of its uid.
package final class Watch {
    /// The number of the connection, from when it was told of the key at least once.
    package private(set) var number: UInt64?
    let client: Client
    let key: WatchedKey
    /// The generation that was sent last.
    private(set) var told: UInt64?
    /// The newest generation that was certainly read.
    private(set) var read: UInt64?
    /// Whether it waits to be looked at.
    var isDue = false
    /// If it cannot be told now: when to try again, and how long to wait after that.
    private(set) var tryAgain = Instant.boot
    private var pause = Limits.firstLook

    init(_ client: Client, _ key: WatchedKey) {
        self.client = client
        self.key = key
        client.account.watches += 1
    }

    deinit { client.account.watches -= 1 }

    /// Whether its connection was told of the key at least once. From then on, it gets every rotation.
    package var hasBegun: Bool { number != nil }

    func noteTold(_ generation: UInt64, on number: UInt64) {
        self.number = number
        told = generation
        pause = Limits.firstLook
    }

    /// Notes that the client has read all that it was told.
    package func noteRead() { read = told }

    /// Schedules another try: soon at first, and then less and less often, because the client may never read.
    func postpone(_ now: Instant) {
        tryAgain = now.after(pause)
        pause = min(pause * 2, Limits.lastLook)
    }
}

/// A key that is watched, or was.
final class WatchedKey {
    let name: KeyName
    /// The content that the generation stands for.
    private(set) var content: Content
    /// How many rotations of the key were seen since the daemon started.
    private(set) var generation: UInt64 = 0
    /// The watches that have begun, by the numbers of their connections.
    var watches: [UInt64: Watch] = [:]
    /// The signing channels that are open, by their numbers.
    var channels: [UInt64: Channel] = [:]
    /// When to look at the key if no change is reported before.
    var nextLook = Instant.boot
    /// Whether it did not stop changing when it was looked at last.
    var isRestless = false
    /// Why the key cannot be handed out now, or nil if it can.
    var fault: String?

    init(_ name: KeyName, _ content: Content) {
        self.name = name
        self.content = content
    }

    /// Whether somebody has it, who is to have the next content too.
    var isHeld: Bool { !watches.isEmpty || !channels.isEmpty }

    /// A channel may sign with a content that was not yet known as the next generation.
    func noteChannels() {
        for channel in channels.values where channel.content == content { channel.generation = generation }
    }

    /// Returns whether the content is another one than before. If so, it begins the next generation.
    func note(_ content: Content) -> Bool {
        guard content != self.content else { return false }
        self.content = content
        generation += 1
        return true
    }
}
