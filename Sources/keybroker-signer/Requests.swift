// What a client asks on its end of a channel, and the answer.
//
// Must never answer out of order, nor keep more than one packet for a client that does not read. Must never sign before
// the permitted use, the scheme and the rate are checked.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

extension Signer {
    /// Takes one packet from the end and answers it. Returns whether there may be more.
    func serve(_ end: ChannelEnd) -> Bool {
        do throws(Failure) {
            if let unsent = end.unsent {
                try end.withSocket { (socket) throws(Failure) in
                    try socket.send(unsent)
                    end.unsent = nil
                    // What has arrived meanwhile is reported again.
                    try poller.change(socket.descriptor, to: .arrivals, as: end.token)
                }
                return false
            }
            // Who sends descriptors faster than they can be closed, or such as take long, would use up those of everybody.
            guard shared.closer.waiting(of: end.channel.account) <= Limits.channelClosingPerUser else {
                leave(end.token)
                return false
            }
            let received = try end.withSocket { (socket) throws(Failure) in
                try socket.receiveArrival(into: &buffer, closingBy: shared.closer, of: end.channel.account)
            }
            guard var arrival = received else { return false }
            defer { closeRest(&arrival, of: end.channel.account) }
            guard arrival.length > 0 else {
                leave(end.token)
                return false
            }
            let answer = answer(&arrival, end.channel)
            if let reply = answer.reply { try send(reply.packet, on: end, isNeeded: !answer.isClear) }
            if answer.isLast { leave(end.token) }
            return !answer.isLast && end.unsent == nil
        } catch {
            if error.code != Failure.wouldBlock { leave(end.token) }
            return false
        }
    }

    /// Sends a packet. If there is no room, keeps it until there is, or drops it if it is not needed.
    func send(_ packet: [UInt8], on end: ChannelEnd, isNeeded: Bool = true) throws(Failure) {
        try end.withSocket { (socket) throws(Failure) in
            do throws(Failure) { try socket.send(packet) } catch {
                guard error.code == Failure.wouldBlock else { throw error }
                guard isNeeded else { return }
                end.unsent = packet
                try poller.change(socket.descriptor, to: .writing, as: end.token)
            }
        }
    }

    /// Has the descriptors closed that nobody took.
    private func closeRest(_ arrival: inout SeqpacketSocket.Arrival, of account: UInt32) {
        if let descriptor = arrival.first.take() { shared.closer.close(descriptor, of: account) }
        if let descriptor = arrival.second.take() { shared.closer.close(descriptor, of: account) }
        // Descriptors that nobody closes would stay open for ever. The daemon starts another signer.
        if arrival.descriptorCount > 0, shared.closer.isFull { ChildProcess.end(Self.systemFailed) }
    }

    private struct Answer {
        let reply: ChannelReply?
        /// The end is closed then.
        let isLast: Bool
        /// Whether the client sees without the reply what has become of its request.
        var isClear = false
    }

    /// The reply, if there is one. An end on which somebody does not speak this protocol is closed: it could be the other
    /// end of a channel, and each reply would be answered for ever.
    private func answer(_ arrival: inout SeqpacketSocket.Arrival, _ channel: Channel) -> Answer {
        let request: ChannelRequest
        do throws(ChannelRequest.Malformed) {
            request = try ChannelRequest(buffer[..<min(arrival.length, buffer.count)], length: arrival.length)
        } catch {
            channel.counts.refused += 1
            let reply = ChannelReply.malformed(sequence: error.sequence, reason: error.fault.rawValue)
            return Answer(reply: reply, isLast: error.fault != .tooLong)
        }
        switch request {
        case .sign(let sequence, let scheme, let message):
            guard arrival.descriptorCount == 0, !arrival.isMissingDescriptors else {
                channel.counts.refused += 1
                return Answer(
                    reply: .malformed(sequence: sequence, reason: "no descriptor comes with S"), isLast: true)
            }
            guard isPermitted(channel) else { return Answer(reply: nil, isLast: true) }
            let reply = signature(sequence, scheme, message, channel)
            if case .signature = reply { channel.counts.signatures += 1 } else { channel.counts.refused += 1 }
            return Answer(reply: reply, isLast: false)
        case .clone(let sequence):
            if let fault = clone(&arrival, channel) {
                channel.counts.refused += 1
                // What came is closed. Processes that inherited the end do not read from it, and it must serve them still.
                return Answer(reply: .malformed(sequence: sequence, reason: fault), isLast: false, isClear: true)
            }
            channel.counts.clones += 1
            return Answer(reply: nil, isLast: false)
        }
    }

    private func signature(
        _ sequence: UInt32, _ number: UInt16, _ message: ArraySlice<UInt8>, _ channel: Channel
    ) -> ChannelReply {
        guard let scheme = SignatureScheme(rawValue: number), channel.offers(scheme) else {
            return .malformed(sequence: sequence, reason: "this channel does not sign in that way")
        }
        guard channel.uses.permits(message) else {
            return .denied(sequence: sequence, reason: "the message is not of the permitted use")
        }
        if let wait = channel.waitBeforeSignature() {
            let milliseconds = UInt32(clamping: wait.wholeMilliseconds)
            return .busy(sequence: sequence, milliseconds: milliseconds, reason: "too many signatures a second")
        }
        guard let signature = channel.key.sign(message, scheme) else {
            return .malformed(sequence: sequence, reason: "the key does not sign now")
        }
        return .signature(sequence: sequence, signature)
    }

    /// Makes what came another end of the channel. Returns why not.
    private func clone(_ arrival: inout SeqpacketSocket.Arrival, _ channel: Channel) -> String? {
        guard !arrival.isMissingDescriptors else { return "the descriptor did not arrive; try again later" }
        guard arrival.descriptorCount == 1, Self.isEnd(arrival.first) else {
            return "one end of a SOCK_SEQPACKET pair comes with C"
        }
        guard channel.ends.count <= Limits.channelClones else {
            return "a channel has at most \(Limits.channelClones) clones at a time"
        }
        guard let place = shared.places.take(for: channel.account) else {
            return "there are too many channels; try again later"
        }
        guard let descriptor = arrival.first.take() else { return "the descriptor did not arrive" }
        add(SeqpacketSocket(connected: descriptor), at: place, to: channel)
        return nil
    }

    private static func isEnd(_ descriptor: borrowing Descriptor?) -> Bool {
        switch descriptor {
        case .some(let descriptor): SeqpacketSocket.isEnd(descriptor)
        case .none: false
        }
    }
}
