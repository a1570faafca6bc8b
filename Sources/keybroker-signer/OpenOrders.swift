// Orders to open channels that the second loop has not taken yet, and the ends of channels that it has to know of.
//
// Must never let one account's orders wait for more than one of each other account. Must never let the end of a permission
// wait for anything.

internal import Kernel
internal import SignerControl
internal import Synchronization
internal import Wire

/// The order to open one channel, with its two descriptors.
final class OpenOrder: Sendable {
    let new: NewChannel
    private let files: OpenFiles

    init(_ new: NewChannel, key: consuming Descriptor?, end: consuming Descriptor?) {
        self.new = new
        files = OpenFiles(key, end)
    }

    func takeKey() -> Descriptor? { files.takeFirst() }

    func takeEnd() -> Descriptor? { files.takeSecond() }
}

/// What the first loop has ordered.
final class OpenOrders: Sendable {
    private struct Waiting {
        var orders: [UInt64: OpenOrder] = [:]
        var ofAccounts: [UInt32: Int] = [:]
        var turns = Turns()
        var ends: [UInt64] = []

        mutating func remove(_ number: UInt64) -> OpenOrder? {
            guard let order = orders.removeValue(forKey: number) else { return nil }
            let others = ofAccounts[order.new.account, default: 1] - 1
            ofAccounts[order.new.account] = others > 0 ? others : nil
            return order
        }
    }

    private let waiting = Mutex(Waiting())
    private let bell: WakeUp

    init() throws(Failure) { bell = try WakeUp() }

    // MARK: The first loop

    /// Returns false if too many orders wait already, of the account or of all together.
    func add(_ order: OpenOrder) -> Bool {
        let isTaken = waiting.withLock { waiting in
            let (number, account) = (order.new.number, order.new.account)
            let own = waiting.ofAccounts[account, default: 0]
            guard own < Limits.channelOrdersPerUser, waiting.orders.count < Limits.channelOrders else { return false }
            waiting.orders[number] = order
            waiting.ofAccounts[account] = own + 1
            waiting.turns.add(number, of: account)
            return true
        }
        if isTaken { bell.signal() }
        return isTaken
    }

    /// Orders the end of a channel. Returns true if its opening was not taken yet: it never will be.
    func end(_ number: UInt64) -> Bool {
        let isRemoved = waiting.withLock { waiting in
            if waiting.remove(number) != nil { return true }
            waiting.ends.append(number)
            return false
        }
        if !isRemoved { bell.signal() }
        return isRemoved
    }

    // MARK: The second loop

    /// Has the poller report that there is something to take.
    func register(with poller: Poller, as token: UInt64) throws(Failure) { try bell.register(with: poller, as: token) }

    /// Call this before taking anything.
    func silence() { bell.silence() }

    /// The channels that have to end, which the caller has to obey now.
    func takeEnds() -> [UInt64] {
        waiting.withLock { waiting in
            defer { waiting.ends = [] }
            return waiting.ends
        }
    }

    /// The order whose turn it is.
    func next() -> OpenOrder? {
        waiting.withLock { waiting in
            while let number = waiting.turns.next() {
                if let order = waiting.remove(number) { return order }
            }
            return nil
        }
    }

    var isEmpty: Bool { waiting.withLock { $0.turns.isEmpty } }
}
