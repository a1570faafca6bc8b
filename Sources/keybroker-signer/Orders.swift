// What the daemon orders, and what it is told.
//
// Must never obey an order for another generation, keep a channel whose end was ordered, or let the daemon's orders overtake
// one another.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

extension Signer {
    /// Returns false if the daemon has ended.
    func attendDaemon() throws(Failure) -> Bool {
        try sendReports()
        var packet = [UInt8](repeating: 0, count: SignerOrder.longest)
        while takesOrders, var arrival = try control.socket.receiveArrival(into: &packet) {
            guard arrival.length > 0 else { return false }
            let order = SignerOrder(packet[..<min(arrival.length, packet.count)])
            switch order {
            case .open(let channel, generation):
                let key = arrival.first.take()
                let end = arrival.second.take()
                if let second {
                    try second.pass(.open(channel, generation: generation), key: key, end: end)
                } else {
                    open(channel, key: key, end: end)
                }
            case .end(let number, generation):
                if let channel = channels[number] {
                    channel.ends.forEach(leave)
                } else {
                    try second?.pass(.end(channel: number, generation: generation), key: nil, end: nil)
                }
            default: break
            }
            try sendReports()
        }
        return true
    }

    /// What the daemon or the second loop does not take has to wait, and so has what the daemon asks.
    private var takesOrders: Bool { reports.isEmpty && second?.isReady ?? true }

    // MARK: The loop that reads keys

    private func open(_ new: NewChannel, key: consuming Descriptor?, end: consuming Descriptor?) {
        do throws(UnusableKey) {
            guard channels[new.number] == nil else { throw UnusableKey(description: "its number is in use") }
            guard let place = shared.places.take(for: new.account) else {
                throw UnusableKey(description: "there are too many channels")
            }
            guard let key, let end, SeqpacketSocket.isEnd(end) else {
                throw UnusableKey(description: "a descriptor is missing")
            }
            open(new, try KeyTable.read(key), SeqpacketSocket(connected: end), place)
        } catch { reports.append(.unusable(channel: new.number, reason: error.description)) }
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
    func attendSecond() throws(Failure) {
        guard let second else { return }
        while let report = try second.report() {
            switch report {
            case .opened(let number):
                let isToEnd = second.hasAnswered(for: number)
                if let opened = shared.opened.take(number) {
                    take(opened, isToEnd: isToEnd)
                } else {
                    reports.append(report)
                }
            case .unusable(let number, _):
                _ = second.hasAnswered(for: number)
                reports.append(report)
            case .ended: reports.append(report)
            case .started: break
            }
        }
        try second.sendUnsent()
        try sendReports()
    }

    /// Takes over a channel that the second loop has opened.
    /// - Parameter isToEnd: true if the daemon has ordered its end since it ordered the channel.
    private func take(_ opened: OpenedChannel, isToEnd: Bool) {
        guard let end = opened.end.take(), let place = opened.place.take() else { return }
        let channel = Channel(opened.new, keys.adopt(opened.key))
        begin(channel, end, place)
        if isToEnd { channel.ends.forEach(leave) }
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
        let interest: Poller.Interest = !reports.isEmpty ? .writing : takesOrders ? .reading : .hangUp
        guard interest != followed else { return }
        try poller.change(control.socket.descriptor, to: interest, as: Token.daemon)
        followed = interest
    }
}
