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
        // What it does not take has to wait, and so has what it asks.
        while reports.isEmpty, var arrival = try control.socket.receiveArrival(into: &packet) {
            guard arrival.length > 0 else { return false }
            switch SignerOrder(packet[..<min(arrival.length, packet.count)]) {
            case .open(let new, generation):
                if let fault = order(new, key: arrival.first.take(), end: arrival.second.take()) {
                    reports.append(.unusable(channel: new.number, reason: fault))
                }
            case .end(let number, generation):
                if let channel = channels[number] {
                    channel.ends.forEach(leave)
                } else if second?.end(number) == true {
                    reports.append(.unusable(channel: number, reason: "its end was ordered before it was opened"))
                }
            default: break
            }
            try sendReports()
        }
        return true
    }

    /// Hands an order to open a channel to the second loop. Returns why not.
    private func order(_ new: NewChannel, key: consuming Descriptor?, end: consuming Descriptor?) -> String? {
        guard let second, channels[new.number] == nil, !second.opens(new.number) else { return "its number is in use" }
        guard shared.closer.waiting(of: new.account) <= Limits.channelClosingPerUser else {
            return "what this user has sent is still being closed; try again later"
        }
        return second.open(new, key: key, end: end) ? nil : "too many keys wait to be read; try again later"
    }

    // MARK: The loop that reads keys

    /// Opens one channel, and then ends those whose permission has ended, also meanwhile.
    func obeyFirstLoop() {
        if let order = shared.orders.next() { open(order) }
        for number in shared.orders.takeEnds() { channels[number]?.ends.forEach(leave) }
    }

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
    func attend(_ second: SecondLoop) throws(Failure) {
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
        guard isWaitingForDaemon == reports.isEmpty else { return }
        isWaitingForDaemon.toggle()
        try poller.change(control.socket.descriptor, to: isWaitingForDaemon ? .writing : .reading, as: Token.daemon)
    }
}
