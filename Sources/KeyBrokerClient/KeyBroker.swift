// Asks the broker: each request has one connection.
//
// Must never connect to a socket that somebody else could have created. Must never accept more descriptors than the
// reply announces. Must never wait without a limit.

internal import Kernel
internal import Wire

/// The broker, as a service sees it.
///
/// ```swift
/// let key = try KeyBroker().key("web-tls", waitingUpTo: .seconds(5))
/// let pem = try key.readKey()
/// ```
///
/// A value of this type holds no connection. Each call connects, asks and closes the connection.
public struct KeyBroker: Sendable {
    /// The path of the broker's socket.
    public let socketPath: String
    /// How many names of a list are accepted.
    var mostNames = Limits.listedNames

    /// - Parameter socketPath: an absolute path. If it is nil, the environment variable `KEYBROKER_SOCKET` is used
    ///   (read with `secure_getenv(3)`), or else `/run/keybroker/broker.sock`.
    public init(socketPath: String? = nil) {
        self.socketPath = socketPath ?? environment("KEYBROKER_SOCKET") ?? Self.defaultSocketPath
    }

    /// Where the system's broker listens.
    public static let defaultSocketPath = "/run/keybroker/broker.sock"

    /// Asks for a key.
    ///
    /// Calls `connect(2)`, `sendmsg(2)` and `recvmsg(2)` on a `SOCK_SEQPACKET` Unix socket.
    /// - Parameters:
    ///   - name: the key's name in the policy.
    ///   - wait: how long to wait for a broker that is still starting or is busy. Zero means no wait.
    /// - Throws: ``KeyBrokerError``.
    public func key(_ name: String, waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> KeyDescriptor {
        try key(name, Deadline(wait, calledOffBy: nil))
    }

    /// Watches a key: gives its current content, and then each later one as soon as it is in place.
    ///
    /// Nothing is sent before the first call on the result. For tasks, see ``rotations(of:)``.
    /// - Parameter name: the key's name in the policy.
    /// - Throws: ``KeyBrokerError/invalidName(_:reason:)``.
    public func watch(_ name: String) throws(KeyBrokerError) -> KeyWatch { try KeyWatch(name, self) }

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
        var exchange = try exchange(.get(try KeyName(checking: name)), patience)
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
            // If each name must be larger than the last, a lying broker cannot send names for ever, or one of them
            // twice.
            for name in names {
                if let last, name <= last { throw .protocolViolation("the names are not in their order") }
                last = name
            }
            guard all.count + names.count <= mostNames else {
                throw .protocolViolation("there are more than \(mostNames) names")
            }
            all.append(contentsOf: names.map(\.description))
            exchange.answer = try exchange.connection.nextAnswer(patience, by: exchange.end)
        }
        // The only valid end of a list is a reply without names.
        guard case .names = exchange.answer.reply else { throw exchange.answer.error(asking: nil) }
        return all
    }

    func version(_ patience: Deadline) throws(KeyBrokerError) -> String {
        let exchange = try exchange(.version, patience)
        guard case .version(let text) = exchange.answer.reply else { throw exchange.answer.error(asking: nil) }
        return text
    }

    /// The first answer to a request. Tries again if the broker is busy, does not run or ends, as long as `patience`
    /// permits.
    func exchange(_ request: Request, _ patience: Deadline) throws(KeyBrokerError) -> Exchange {
        var pause = Deadline.firstPause
        while true {
            do throws(KeyBrokerError) {
                let connection = try Connection(
                    to: socketPath, waitingUntil: patience.answerEnd, calledOffBy: patience.wakeUp)
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

extension KeyName {
    init(checking name: String) throws(KeyBrokerError) {
        guard let key = KeyName(name) else {
            throw .invalidName(name, reason: KeyName.fault(in: Array(name.utf8)[...]) ?? "not a key name")
        }
        self = key
    }
}

/// A connection and the last answer on it.
struct Exchange: ~Copyable {
    let connection: Connection
    var answer: ReceivedReply
    /// When the whole answer must have arrived.
    let end: Instant
}
