// What the daemon has ordered: channels to open, and ends of permissions.
//
// Both loops read the daemon's socket, and each of them does before each signature. So nothing is signed that is asked for
// after the daemon has sent the end of its permission, whichever loop runs first. Must never let one account's orders wait
// for more than one of each other account, nor the end of a permission wait for anything.

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

final class Orders: Sendable {
    enum Loop { case first, second }

    fileprivate struct Heard {
        /// Those that are still to be opened.
        var waiting: [UInt64: OpenOrder] = [:]
        var ofAccounts: [UInt32: Int] = [:]
        var turns = Turns()
        /// Every channel that was ordered and has not ended, with true if its end was ordered.
        var channels: [UInt64: Bool] = [:]
        /// The ends that a loop has not obeyed yet.
        var endsForFirst: [UInt64] = [], endsForSecond: [UInt64] = []
        /// What is not done, and why.
        var refused: [SignerReport] = []
        var buffer = [UInt8](repeating: 0, count: SignerOrder.longest)
    }

    private let heard = Mutex(Heard())
    private let control: ControlEnd
    private let generation: UInt64
    private let closer: Closer
    private let firstBell: WakeUp, secondBell: WakeUp

    /// - Parameter generation: orders for another one are not obeyed.
    init(from control: ControlEnd, for generation: UInt64, _ closer: Closer) throws(Failure) {
        (self.control, self.generation, self.closer) = (control, generation, closer)
        firstBell = try WakeUp()
        secondBell = try WakeUp()
    }

    // MARK: The daemon

    /// Reads all that the daemon has sent. Returns false if it has ended. Calls `recvmsg(2)`.
    func receive() throws(Failure) -> Bool {
        var (isRunning, hasHeard, failure): (Bool, Bool, Failure?) = (true, false, nil)
        heard.withLock { heard in
            do throws(Failure) { isRunning = try listen(&heard, &hasHeard) } catch { failure = error }
        }
        // What was heard counts, whatever came then. Orders are few, so both loops look whether there is one for them.
        if hasHeard {
            firstBell.signal()
            secondBell.signal()
        }
        if let failure { throw failure }
        return isRunning
    }

    /// The daemon has only so many channels that it can ask for, and so much can be refused.
    private func listen(_ heard: inout Heard, _ hasHeard: inout Bool) throws(Failure) -> Bool {
        while var arrival = try control.socket.receiveArrival(into: &heard.buffer) {
            guard arrival.length > 0 else { return false }
            hasHeard = true
            switch SignerOrder(heard.buffer[..<min(arrival.length, heard.buffer.count)]) {
            case .open(let new, generation):
                let order = OpenOrder(new, key: arrival.first.take(), end: arrival.second.take())
                if let fault = heard.add(order, closer) {
                    heard.refused.append(.unusable(channel: new.number, reason: fault))
                }
            case .end(let number, generation): heard.end(number)
            default: break
            }
        }
        return true
    }

    /// What the daemon has to be told of orders that were not taken.
    func takeRefused() -> [SignerReport] {
        heard.withLock { heard in
            defer { heard.refused.removeAll() }
            return heard.refused
        }
    }

    // MARK: The loops

    /// Has the poller of a loop report that there may be something for it.
    func register(_ loop: Loop, with poller: Poller, as token: UInt64) throws(Failure) {
        try bell(of: loop).register(with: poller, as: token)
    }

    /// Call this before taking anything.
    func silence(_ loop: Loop) { bell(of: loop).silence() }

    private func bell(of loop: Loop) -> WakeUp { loop == .first ? firstBell : secondBell }

    /// The channels that have to end, which the caller has to obey now if they are its own.
    func takeEnds(for loop: Loop) -> [UInt64] {
        heard.withLock { heard in
            var ends: [UInt64] = []
            switch loop {
            case .first: swap(&ends, &heard.endsForFirst)
            case .second: swap(&ends, &heard.endsForSecond)
            }
            return ends
        }
    }

    /// Whether the end of a channel was ordered.
    func isToEnd(_ number: UInt64) -> Bool { heard.withLock { $0.channels[number] == true } }

    /// The channel has ended, or was not opened.
    func forget(_ number: UInt64) { heard.withLock { _ = $0.channels.removeValue(forKey: number) } }

    /// The channel to open whose turn it is.
    func next() -> OpenOrder? {
        heard.withLock { heard in
            while let number = heard.turns.next() {
                if let order = heard.remove(number) { return order }
            }
            return nil
        }
    }

    /// Whether a channel is to be opened.
    var haveOpening: Bool { heard.withLock { !$0.turns.isEmpty } }
}

extension Orders.Heard {
    /// Returns why a channel is not opened.
    fileprivate mutating func add(_ order: OpenOrder, _ closer: Closer) -> String? {
        let (number, account) = (order.new.number, order.new.account)
        guard channels[number] == nil else { return "its number is in use" }
        guard closer.waiting(of: account) <= Limits.channelClosingPerUser else {
            return "what this user has sent is still being closed; try again later"
        }
        let own = ofAccounts[account, default: 0]
        guard own < Limits.channelOrdersPerUser, waiting.count < Limits.channelOrders else {
            return "too many keys wait to be read; try again later"
        }
        channels[number] = false
        waiting[number] = order
        ofAccounts[account] = own + 1
        turns.add(number, of: account)
        return nil
    }

    /// Ends a channel, or does not open it.
    fileprivate mutating func end(_ number: UInt64) {
        guard channels[number] == false else { return }
        if remove(number) != nil {
            channels[number] = nil
            refused.append(.unusable(channel: number, reason: "its end was ordered before it was opened"))
        } else {
            channels[number] = true
            endsForFirst.append(number)
            endsForSecond.append(number)
        }
    }

    fileprivate mutating func remove(_ number: UInt64) -> OpenOrder? {
        guard let order = waiting.removeValue(forKey: number) else { return nil }
        let others = ofAccounts[order.new.account, default: 1] - 1
        ofAccounts[order.new.account] = others > 0 ? others : nil
        return order
    }
}
