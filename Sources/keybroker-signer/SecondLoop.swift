// The second loop, as the first one sees it: it reads all keys, and signs with the slow ones.
//
// It is another `Signer`, in another thread. Both hear the daemon's orders; the first one passes on what the second one
// reports. Must never share anything with it that is not made for two threads, nor wait for it.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

/// What both loops use.
final class Shared: Sendable {
    /// Closes what clients sent. No loop closes what could take long.
    let closer: Closer
    let places: Places
    let orders: Orders
    /// Channels that the second loop has opened for the first one.
    let opened = Handover<OpenedChannel>()

    /// - Parameter control: the end on which the daemon's orders come.
    init(_ generation: UInt64, _ control: ControlEnd) throws(Failure) {
        closer = try Closer(most: Limits.channelClosing)
        orders = try Orders(from: control, for: generation, closer)
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
    /// Its reports come on this end.
    private let control: ControlEnd
    private var buffer = [UInt8](repeating: 0, count: SignerReport.longest)

    /// Starts the thread, and waits until it serves: what a thread does when it begins is forbidden later. The poller
    /// reports from then on that it has said something.
    init(_ generation: UInt64, _ shared: Shared, watchedBy poller: Poller, as token: UInt64) throws(Failure) {
        var pair = try SeqpacketSocket.pair()
        guard let ours = pair.first.take(), let theirs = pair.second.take() else {
            throw Failure("socketpair", code: Failure.brokenPipe)
        }
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
        try poller.watch(control.socket.descriptor, for: .reading, as: token)
    }

    /// What it says next. Nil if it says nothing.
    func report() throws(Failure) -> SignerReport? {
        guard let arrival = try control.socket.receiveArrival(into: &buffer) else { return nil }
        return SignerReport(buffer[..<min(arrival.length, buffer.count)])
    }
}
