// What the loops do about the daemon's orders, and what it is told.
//
// Must never sign before the ends that were ordered are obeyed, keep a channel whose end was ordered, or let the daemon's
// orders overtake one another.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

extension Signer {
    /// Hears the daemon, in the first loop. Returns false if it has ended.
    func attendDaemon() throws(Failure) -> Bool {
        try sendReports()
        return isSecond ? true : try shared.orders.receive()
    }

    /// Opens one channel, in the second loop, and then ends those whose permission has ended, also meanwhile.
    func obey() {
        if isSecond, let order = shared.orders.next() { open(order) }
        for number in shared.orders.takeEnds(for: loop) { channels[number]?.ends.forEach(leave) }
        if !isSecond { reports += shared.orders.takeRefused() }
    }

    /// Whether the daemon still permits what the channel signs, with all that it has sent by now. If it cannot be heard,
    /// nothing is signed.
    func isPermitted(_ channel: Channel) -> Bool {
        (try? shared.orders.receive()) == true && !shared.orders.isToEnd(channel.number)
    }

    // MARK: The loop that reads keys

    private func open(_ order: OpenOrder) {
        let new = order.new
        do throws(UnusableKey) {
            guard let place = shared.places.take(for: new.account) else {
                throw UnusableKey(description: "there are too many channels")
            }
            guard let key = order.takeKey(), let end = order.takeEnd(), SeqpacketSocket.isEnd(end) else {
                throw UnusableKey(description: "a descriptor is missing")
            }
            open(new, try KeyTable.read(key), SeqpacketSocket(connected: end), place)
        } catch {
            shared.orders.forget(new.number)
            reports.append(.unusable(channel: new.number, reason: error.description))
        }
        // Reading a key leaves parts of it there.
        Libcrypto.forgetStack()
    }

    /// A key that is quick is for the first loop.
    private func open(
        _ new: NewChannel, _ key: sending SigningKey, _ end: consuming SeqpacketSocket, _ place: consuming Place
    ) {
        if key.isQuick {
            shared.opened.put(OpenedChannel(new, key, end, place), for: new.number)
            reports.append(.opened(channel: new.number))
        } else {
            begin(Channel(new, keys.adopt(key)), end, place)
        }
    }

    private func begin(_ channel: Channel, _ end: consuming SeqpacketSocket, _ place: consuming Place) {
        channels[channel.number] = channel
        reports.append(.opened(channel: channel.number))
        add(end, at: place, to: channel)
    }

    // MARK: The loop that the daemon knows

    /// Does what the second loop reports, and passes it on.
    func attend(_ second: SecondLoop) throws(Failure) {
        while let report = try second.report() {
            switch report {
            case .opened(let number):
                if let opened = shared.opened.take(number) { take(opened) } else { reports.append(report) }
            case .unusable, .ended: reports.append(report)
            case .started: break
            }
        }
    }

    /// Takes over a channel that the second loop has opened. Its end may have been ordered since.
    private func take(_ opened: OpenedChannel) {
        guard let end = opened.end.take(), let place = opened.place.take() else { return }
        let channel = Channel(opened.new, keys.adopt(opened.key))
        begin(channel, end, place)
        if shared.orders.isToEnd(channel.number) { channel.ends.forEach(leave) }
    }

    // MARK: Reports

    /// Tells the daemon what it has not taken yet, as far as it takes it now.
    func sendReports() throws(Failure) {
        while let report = reports.first {
            do throws(Failure) { try control.socket.send(report.bytes) } catch {
                switch error.code {
                case Failure.brokenPipe, Failure.connectionReset: reports.removeAll()
                case Failure.wouldBlock: break
                default: guard error.isShortage else { throw error }
                }
                break
            }
            reports.removeFirst()
        }
        guard isWaitingForDaemon == reports.isEmpty else { return }
        isWaitingForDaemon.toggle()
        try poller.change(control.socket.descriptor, to: isWaitingForDaemon ? .writing : .reading, as: Token.daemon)
    }
}
