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
        try key(name, Patience(wait, calledOffBy: nil))
    }

    /// The names of the keys that the caller may get, sorted.
    /// - Parameter wait: how long to wait for a broker that is still starting or is busy.
    public func keys(waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> [String] {
        try keys(Patience(wait, calledOffBy: nil))
    }

    /// The version of the broker's program.
    /// - Parameter wait: how long to wait for a broker that is still starting or is busy.
    public func version(waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> String {
        try version(Patience(wait, calledOffBy: nil))
    }

    // MARK: The requests

    func key(_ name: String, _ patience: Patience) throws(KeyBrokerError) -> KeyDescriptor {
        guard let key = KeyName(name) else {
            throw .invalidName(name, reason: KeyName.fault(in: Array(name.utf8)) ?? "not a key name")
        }
        while true {
            let connection = try Connection(to: socketPath, patience)
            var answer = try connection.answer(to: .get(key), patience)
            guard case .granted(let decision) = answer.reply else {
                try patience.wait(ifBusy: answer.reply, orThrow: answer.error(asking: name))
                continue
            }
            return KeyDescriptor(
                name: name, decision: decision, key: try answer.takeKey(), certificate: try answer.takeCertificate())
        }
    }

    func keys(_ patience: Patience) throws(KeyBrokerError) -> [String] {
        while true {
            let connection = try Connection(to: socketPath, patience)
            var answer = try connection.answer(to: .list, patience)
            guard case .names = answer.reply else {
                try patience.wait(ifBusy: answer.reply, orThrow: answer.error(asking: nil))
                continue
            }
            var all: [String] = []
            while case .names(let names) = answer.reply, !names.isEmpty {
                all.append(contentsOf: names.map(\.description))
                answer = try connection.nextAnswer(patience)
            }
            return all
        }
    }

    func version(_ patience: Patience) throws(KeyBrokerError) -> String {
        while true {
            let connection = try Connection(to: socketPath, patience)
            let answer = try connection.answer(to: .version, patience)
            if case .version(let text) = answer.reply { return text }
            try patience.wait(ifBusy: answer.reply, orThrow: answer.error(asking: nil))
        }
    }
}
