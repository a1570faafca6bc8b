// The way to the broker: one connection, one request, one reply.
//
// Must never connect where somebody else could have put a socket, take more descriptors than the reply
// announces, or wait without an end.

internal import Kernel
internal import Wire

/// The broker, as a service sees it.
///
/// ```swift
/// let key = try KeyBroker().key("web-tls", waitingUpTo: .seconds(5))
/// let pem = try key.readKey()
/// ```
///
/// A value of it holds no connection: each call makes one, asks and closes it.
public struct KeyBroker: Sendable {
    /// The path of the broker's socket.
    public let socketPath: String

    /// - Parameter socketPath: an absolute path. Nil: what the environment's `KEYBROKER_SOCKET` says (read
    ///   with `secure_getenv(3)`), else `/run/keybroker/broker.sock`.
    public init(socketPath: String? = nil) {
        self.socketPath = socketPath ?? environment("KEYBROKER_SOCKET") ?? Self.defaultSocketPath
    }

    /// Where the system's broker listens.
    public static let defaultSocketPath = "/run/keybroker/broker.sock"

    /// Asks for a key.
    ///
    /// Calls `connect(2)`, `sendmsg(2)` and `recvmsg(2)` on a `SOCK_SEQPACKET` Unix socket.
    /// - Parameters:
    ///   - name: as the policy names it.
    ///   - wait: how long to wait for a broker that is still starting or is busy. Zero: not at all.
    /// - Throws: ``KeyBrokerError``.
    public func key(_ name: String, waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> KeyDescriptor {
        try key(name, Deadline(wait, calledOffBy: nil))
    }

    /// The names of the keys that the caller may get, sorted.
    /// - Parameter wait: how long to wait for a broker that is still starting or is busy.
    public func keys(waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> [String] {
        try keys(Deadline(wait, calledOffBy: nil))
    }

    /// The version of the broker's program.
    /// - Parameter wait: how long to wait for a broker that is still starting or is busy.
    public func version(waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> String {
        try version(Deadline(wait, calledOffBy: nil))
    }

    // MARK: The requests

    func key(_ name: String, _ patience: Deadline) throws(KeyBrokerError) -> KeyDescriptor {
        guard let key = KeyName(name) else {
            throw .invalidName(name, reason: KeyName.fault(in: Array(name.utf8)[...]) ?? "not a key name")
        }
        var exchange = try exchange(.get(key), patience)
        guard case .granted(let decision) = exchange.answer.reply else { throw exchange.answer.error(asking: name) }
        return KeyDescriptor(
            name: name, decision: decision, key: try exchange.answer.takeKey(),
            certificate: try exchange.answer.takeCertificate())
    }

    func keys(_ patience: Deadline) throws(KeyBrokerError) -> [String] {
        var exchange = try exchange(.list, patience)
        guard case .names = exchange.answer.reply else { throw exchange.answer.error(asking: nil) }
        var all: [String] = []
        var last: KeyName?
        while case .names(let names) = exchange.answer.reply, !names.isEmpty {
            // Names that only go up come to an end, and nobody is shown one twice.
            for name in names {
                if let last, name <= last { throw .protocolViolation("the names are not in their order") }
                last = name
            }
            guard all.count + names.count <= Limits.listedNames else {
                throw .protocolViolation("there are more than \(Limits.listedNames) names")
            }
            all.append(contentsOf: names.map(\.description))
            exchange.answer = try exchange.connection.nextAnswer(patience, by: exchange.end)
        }
        // A list ends with no names, and with nothing else.
        guard case .names = exchange.answer.reply else { throw exchange.answer.error(asking: nil) }
        return all
    }

    func version(_ patience: Deadline) throws(KeyBrokerError) -> String {
        let exchange = try exchange(.version, patience)
        guard case .version(let text) = exchange.answer.reply else { throw exchange.answer.error(asking: nil) }
        return text
    }

    /// The first answer to a request that is not "busy" or the end of a broker, as long as `patience` lasts.
    func exchange(_ request: Request, _ patience: Deadline) throws(KeyBrokerError) -> Exchange {
        var pause = Deadline.firstPause
        while true {
            do throws(KeyBrokerError) {
                let connection = try Connection(to: socketPath)
                let end = patience.answerEnd
                let answer = try connection.answer(to: request, patience, by: end)
                guard case .busy(_, let milliseconds) = answer.reply else {
                    return Exchange(connection: connection, answer: answer, end: end)
                }
                try patience.pause(.milliseconds(max(milliseconds, 1)), orThrow: answer.error(asking: nil))
            } catch {
                guard case .notRunning = error else { throw error }
                try patience.pause(pause, orThrow: error)
                pause = min(pause * 2, Deadline.longestPause)
            }
        }
    }
}

/// A connection and what was answered on it last.
struct Exchange: ~Copyable {
    let connection: Connection
    var answer: ReceivedReply
    /// When all of the answer must have come.
    let end: Instant
}
