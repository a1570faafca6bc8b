// A channel, and its ends.
//
// Must never have a right that the daemon did not give it, however many ends there are.

internal import Kernel
internal import SignerControl
internal import SigningKeys
internal import Wire

/// What the daemon permitted, and what was done with it.
final class Channel {
    let number: UInt64
    let account: UInt32
    let uses: SigningUses
    let key: SigningKey
    /// The first packet on each end.
    let hello: [UInt8]
    /// The tokens of its ends.
    var ends: Set<UInt64> = []
    var counts = ChannelCounts()
    private let rate: Rate?
    private var pace = Pace()

    init(_ new: NewChannel, _ key: SigningKey) {
        (number, account, uses) = (new.number, new.account, new.uses)
        self.key = key
        rate = new.rate > 0 ? Rate(perSecond: new.rate) : nil
        let schemes = key.schemes.filter(new.uses.permit)
        hello = ChannelReply.hello(schemes: schemes.map(\.rawValue), publicKey: key.publicKey).packet
    }

    /// Whether it signs in this way.
    func offers(_ scheme: SignatureScheme) -> Bool { key.schemes.contains(scheme) && uses.permit(scheme) }

    /// Counts one signature and returns nil if there may be one now. Else returns how long to wait.
    func waitBeforeSignature() -> Duration? { rate.flatMap { pace.take($0, .now) } }
}

/// One end of a channel.
final class ChannelEnd {
    private var socket: SeqpacketSocket?
    private let place: Place
    let channel: Channel
    let token: UInt64
    /// A packet that the client's queue had no room for. Nothing is read before it is sent.
    var unsent: [UInt8]?

    init(_ socket: consuming SeqpacketSocket, at place: consuming Place, of channel: Channel, token: UInt64) {
        self.socket = .some(consume socket)
        self.place = place
        self.channel = channel
        self.token = token
    }

    /// Fails if the socket was taken.
    func withSocket<R: ~Copyable>(
        _ body: (borrowing SeqpacketSocket) throws(Failure) -> R
    ) throws(Failure) -> R {
        switch socket {
        case .some(let socket): return try body(socket)
        case .none: throw Failure("recvmsg", code: Failure.brokenPipe)
        }
    }

    /// The socket, to be closed.
    func takeSocket() -> SeqpacketSocket? { socket.take() }
}
