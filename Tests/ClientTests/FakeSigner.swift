// A broker and a signer in this process, which answer on signing channels as a test tells them.
//
// Must never be taken for a test of the real signer: it signs nothing.

import Foundation
import Kernel
import Synchronization
import Wire

/// Listens at a socket, hands out channels, and answers on them.
final class FakeSigner: Sendable {
    /// What it does with one packet on a channel.
    enum Act {
        case send([UInt8])
        /// Sends something together with a descriptor.
        case sendDescriptor([UInt8])
        /// Closes this end of the channel.
        case close
    }

    /// What it makes of a request, of the how many-th channel, and how often it was asked on this end.
    typealias Script = @Sendable (_ request: ChannelRequest, _ channel: Int, _ turn: Int) -> [Act]

    /// What it hands out.
    enum Grant {
        /// With these packets on it.
        case channel([[UInt8]])
        case refusal(Reply)
        /// A regular file in the place of a channel.
        case file
    }

    /// What it does when it is asked for the how many-th channel.
    typealias Granting = @Sendable (_ channel: Int) -> Grant

    private struct State {
        /// Channels that were asked for.
        var asked = 0
        var clones = 0
    }

    let path: String
    private let granting: Granting
    private let script: Script
    private let certificate: String?
    private let state = Mutex(State())
    private let stop: WakeUp

    static let publicKey: [UInt8] = [0x30, 0x03, 0x02, 0x01, 0x05]
    static let hello = ChannelReply.hello(schemes: [0x0403, 0x0807, 0xFFFF], publicKey: publicKey).packet

    init(
        at path: String, certificate: String?, granting: @escaping Granting, _ script: @escaping Script
    ) throws {
        (self.path, self.granting, self.script, self.certificate) = (path, granting, script, certificate)
        stop = try WakeUp()
        let listener = Socket(try SeqpacketSocket.bound(to: path))
        try listener.socket.listen(backlog: 16)
        Thread.detachNewThread { [stop] in
            while case .ready? = try? waitUntilReadable(
                listener.socket.descriptor, until: .never, orCalledOffBy: stop)
            {
                if let connection = try? listener.socket.accept() { try? self.answer(connection) }
            }
        }
    }

    /// Ends its threads, which keep it alive.
    func end() { stop.signal() }

    /// How often a channel was asked for.
    var asked: Int { state.withLock { $0.asked } }
    var clones: Int { state.withLock { $0.clones } }

    /// A class around a socket, so that a thread can have it.
    private final class Socket: Sendable {
        let socket: SeqpacketSocket
        init(_ socket: consuming SeqpacketSocket) { self.socket = socket }
    }

    private func answer(_ connection: consuming SeqpacketSocket) throws {
        _ = try waitUntilReadable(connection.descriptor, until: .never, orCalledOffBy: stop)
        guard let delivery = try connection.receiveDelivery(limit: Limits.packetBytes),
            (try? Request(delivery.packet)) == KeyName("k").map(Request.channel)
        else { return try connection.send(Reply.malformed(decision: 1, reason: "not a C").packet) }
        let number = state.withLock { state in
            state.asked += 1
            return state.asked
        }
        let granted = Reply.granted(decision: UInt64(100 + number)).packet
        switch granting(number) {
        case .refusal(let reply): try connection.send(reply.packet)
        case .file: try connection.send(granted, with: try Descriptor.forReading("/dev/null"))
        case .channel(let packets):
            var pair = try SeqpacketSocket.pair()
            guard let own = pair.first.take(), let other = pair.second.take() else { return }
            for packet in packets { try own.send(packet) }
            if let certificate {
                try connection.send(granted, with: other.intoDescriptor(), and: try Descriptor.forReading(certificate))
            } else {
                try connection.send(granted, with: other.intoDescriptor())
            }
            serve(own, number)
        }
    }

    private func serve(_ end: consuming SeqpacketSocket, _ channel: Int) {
        let end = Socket(end)
        Thread.detachNewThread { [self] in
            var turn = 0
            while case .ready? = try? waitUntilReadable(end.socket.descriptor, until: .never, orCalledOffBy: stop) {
                guard var delivery = try? end.socket.receiveDelivery(limit: ChannelRequest.longest),
                    !delivery.packet.isEmpty, let request = try? ChannelRequest(delivery.packet)
                else { return }
                turn += 1
                if case .clone = request { state.withLock { $0.clones += 1 } }
                let acts = script(request, channel, turn)
                for act in acts {
                    switch act {
                    case .send(let packet): try? end.socket.send(packet)
                    case .sendDescriptor(let packet):
                        try? end.socket.send(packet, withCopyOf: end.socket)
                    case .close: return
                    }
                }
                // An act in its place is a refusal.
                if case .clone = request, acts.isEmpty, let descriptor = delivery.first.take() {
                    let other = SeqpacketSocket(connected: descriptor)
                    try? other.send(Self.hello)
                    serve(other, channel)
                }
            }
        }
    }
}

/// A signature that shows what was signed: the scheme, the length of the message, and its first byte.
func signature(_ request: ChannelRequest) -> [UInt8] {
    guard case .sign(let sequence, let scheme, let message) = request else { return [] }
    let mark = [UInt8(scheme >> 8), UInt8(scheme & 0xFF), UInt8(message.count & 0xFF), message.first ?? 0]
    return ChannelReply.signature(sequence: sequence, mark).packet
}

extension ChannelRequest {
    var number: UInt32 {
        switch self {
        case .sign(let sequence, _, _), .clone(let sequence): sequence
        }
    }
}
