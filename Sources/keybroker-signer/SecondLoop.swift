// The second loop, as the first one sees it: it reads all keys, and signs with the slow ones.
//
// It is another `Signer`, in another thread. The first loop is its daemon: it passes on what the daemon orders, and what the
// second one reports. Must never share anything with it that is not made for two threads, nor wait for it.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

/// What both loops use.
final class Shared: Sendable {
    /// Closes what clients sent. No loop closes what was a client's.
    let closer: Closer
    let places: Places
    /// Channels that the second loop has opened for the first one.
    let opened = Handover<OpenedChannel>()

    init() throws(Failure) {
        closer = try Closer()
        // One for each end, and some that are on their way.
        places = Places(min(Limits.channelEnds, try Privileges.raiseDescriptorLimit() - Limits.reservedDescriptors))
    }
}

/// A channel whose key was read, and which has its first end.
final class OpenedChannel {
    let new: NewChannel
    let key: SigningKey
    var end: SeqpacketSocket?
    var place: Place?

    init(_ new: NewChannel, _ key: SigningKey, _ end: consuming SeqpacketSocket, _ place: consuming Place) {
        (self.new, self.key) = (new, key)
        self.end = .some(consume end)
        self.place = .some(consume place)
    }
}

/// One end of the pair that a loop has with the daemon, or with the other loop.
final class ControlEnd: Sendable {
    let socket: SeqpacketSocket

    init(_ socket: consuming SeqpacketSocket) { self.socket = socket }
}

final class SecondLoop {
    private let control: ControlEnd
    private let poller: Poller
    private let token: UInt64
    private var watched = Poller.Interest.reading
    /// What it has no room for now. Nothing is passed on before that is.
    private var unsent: Order?
    /// Channels that it was ordered to open, and has not answered for. True if the daemon has ordered their end since.
    private var opening: [UInt64: Bool] = [:]
    private var buffer = [UInt8](repeating: 0, count: SignerReport.longest)

    private struct Order: ~Copyable {
        let packet: [UInt8]
        let key: Descriptor?
        let end: Descriptor?
    }

    /// Starts the thread, and waits until it serves: what a thread does when it begins is forbidden later. The poller
    /// reports from then on that it has said something, or has room for an order again.
    init(_ generation: UInt64, _ shared: Shared, watchedBy poller: Poller, as token: UInt64) throws(Failure) {
        var pair = try SeqpacketSocket.pair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else {
            throw Failure("socketpair", code: Failure.brokenPipe)
        }
        (self.poller, self.token) = (poller, token)
        control = ControlEnd(ours)
        let other = ControlEnd(theirs)
        try startThread {
            // The first loop ends with the process, so its end is a fault like any other.
            do throws(Failure) { try Signer(generation, other, shared).serve() } catch {}
            ChildProcess.end(Signer.systemFailed)
        }
        guard try waitUntilReadable(control.socket.descriptor, until: .never) == .ready,
            try report() == .started(generation: generation)
        else { throw Failure("pthread_create", code: Failure.brokenPipe) }
        try poller.watch(control.socket.descriptor, for: watched, as: token)
    }

    // MARK: Orders

    /// Whether it takes an order now.
    var isReady: Bool {
        switch unsent {
        case .some: false
        case .none: true
        }
    }

    /// Passes an order on. Call this only while it is ready.
    func pass(_ order: SignerOrder, key: consuming Descriptor?, end: consuming Descriptor?) throws(Failure) {
        switch order {
        case .open(let channel, _): opening[channel.number] = false
        case .end(let number, _): if opening[number] != nil { opening[number] = true }
        }
        unsent = Order(packet: order.bytes, key: key, end: end)
        try sendUnsent()
    }

    /// Sends what it had no room for, if it has now.
    func sendUnsent() throws(Failure) {
        switch unsent.take() {
        case .none: break
        case .some(let order):
            do throws(Failure) {
                try control.socket.send(order.packet, with: order.key, and: order.end)
            } catch {
                guard error.code == Failure.wouldBlock || error.isShortage else { throw error }
                unsent = consume order
            }
        }
        let interest: Poller.Interest = isReady ? .reading : .readingAndWriting
        guard interest != watched else { return }
        try poller.change(control.socket.descriptor, to: interest, as: token)
        watched = interest
    }

    // MARK: Reports

    /// What it says next. Nil if it says nothing.
    func report() throws(Failure) -> SignerReport? {
        guard let arrival = try control.socket.receiveArrival(into: &buffer) else { return nil }
        return SignerReport(buffer[..<min(arrival.length, buffer.count)])
    }

    /// It has answered for a channel. Returns whether the daemon has ordered the channel's end meanwhile.
    func hasAnswered(for number: UInt64) -> Bool { opening.removeValue(forKey: number) == true }
}
