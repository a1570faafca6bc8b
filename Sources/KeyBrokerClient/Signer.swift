// A key that stays with the broker, and signs.
//
// Must never hash or change a message. Must never go on with another key than the one that it began with. Must never let a
// signer that hangs cost more than the time of one signature.

internal import ClientKernel
internal import Kernel
internal import Wire

extension KeyBroker {
    /// Asks for the right to have a key sign, without getting the key.
    ///
    /// Calls `connect(2)`, `sendmsg(2)` and `recvmsg(2)` on `SOCK_SEQPACKET` Unix sockets.
    /// - Parameters:
    ///   - name: the key's name in the policy, which permits it by `permit USER sign NAME`.
    ///   - wait: how long to wait for a broker that is still starting or is busy. Zero means no wait.
    /// - Throws: ``KeyBrokerError``.
    public func signer(_ name: String, waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> Signer {
        try signer(name, Deadline(wait, calledOffBy: nil))
    }

    func signer(_ name: String, _ patience: Deadline) throws(KeyBrokerError) -> Signer {
        let channel = try channel(name, patience)
        let end = ChannelEnd(channel.socket)
        let hello = try end.hello(of: name, until: Instant.now.after(Limits.signature))
        return Signer(self, name, channel.decision, end, hello, channel.certificate)
    }
}

/// A private key that stays with the broker. This process gets signatures, and never the key.
///
/// ```swift
/// var signer = try KeyBroker().signer("web-tls")
/// let signature = try signer.sign(message, scheme: .ecdsaP256SHA256)
/// ```
///
/// If the policy permits the key for handshakes alone (`for tls-server`), any other message is refused with
/// ``KeyBrokerError/messageDenied(key:decision:reason:)``. If the policy takes the permission away, the channel to the key
/// ends at once. A channel that has ended, also because the broker was restarted, is asked for anew by the next call, and is
/// used if it is still of the same key.
///
/// A signer makes one signature at a time, and has one owner. A thread that signs at the same time has one of its own: see
/// ``clone()``. If the process forks, both processes can go on with it: the child makes an end of the channel for itself
/// when it signs first.
public struct Signer: ~Copyable, Sendable {
    /// The name that was asked for.
    public let name: String
    /// The public key: SubjectPublicKeyInfo in DER (RFC 5280, 4.1).
    public let publicKey: [UInt8]
    /// How the key can sign, as far as the policy permits it, in the signer's order of preference.
    public let schemes: [SignatureScheme]
    /// The number of the decision by which the channel in use was granted: the `seq` of its record in the audit log.
    public private(set) var decision: UInt64

    private let broker: KeyBroker
    private var certificate: Descriptor?
    /// Nil if it has ended.
    private var end: ChannelEnd?
    private var sequence = ChannelEnd.sequenceOfClones

    fileprivate init(
        _ broker: KeyBroker, _ name: String, _ decision: UInt64, _ end: consuming ChannelEnd, _ hello: ChannelHello,
        _ certificate: consuming Descriptor?
    ) {
        (self.broker, self.name, self.decision) = (broker, name, decision)
        (publicKey, schemes) = (hello.publicKey, hello.schemes)
        self.end = .some(consume end)
        self.certificate = certificate
    }

    // MARK: The certificate

    /// Whether there is a certificate. The broker hands one over if the policy names one for the key.
    public var hasCertificate: Bool {
        switch certificate {
        case .some: true
        case .none: false
        }
    }

    /// The current content of the certificate file, at most 1 MiB, or nil if there is no certificate. See
    /// ``KeyDescriptor/readCertificate()``.
    public borrowing func readCertificate() throws(KeyBrokerError) -> SecretBytes? {
        try certificate.contents(of: name)
    }

    /// Passes the certificate's descriptor number to `body`, or nil if there is no certificate. It is valid only while
    /// `body` runs.
    public borrowing func withCertificateDescriptor<R: ~Copyable, E: Error>(
        _ body: (Int32?) throws(E) -> R
    ) throws(E) -> R {
        try certificate.withNumber(body)
    }

    // MARK: Signatures

    /// Has the key sign a message, and returns the signature in the form that it has in TLS.
    ///
    /// Calls `sendmsg(2)`, `poll(2)` and `recvmsg(2)`; if the channel has ended, also `connect(2)` to ask for another. It
    /// takes one second at most. A limit of signatures per second is waited for if that is possible in this time.
    /// - Parameters:
    ///   - message: the whole message, not its hash: at most 16384 bytes.
    ///   - scheme: one of ``schemes``.
    /// - Throws: ``KeyBrokerError/messageDenied(key:decision:reason:)`` if the policy does not permit such a message;
    ///   ``KeyBrokerError/denied(key:decision:)`` if it does not permit the key any more;
    ///   ``KeyBrokerError/tooManySignatures(key:retryAfter:)``; ``KeyBrokerError/noSignature(key:after:)``;
    ///   ``KeyBrokerError/keyChanged(key:)`` if the key was rotated; ``KeyBrokerError/cannotSign(key:reason:)``.
    public mutating func sign(
        _ message: some Collection<UInt8>, scheme: SignatureScheme
    ) throws(KeyBrokerError) -> [UInt8] {
        try checkLength(message.count)
        guard schemes.contains(scheme) else {
            let known = schemes.map(\.description).joined(separator: ", ")
            throw .cannotSign(key: name, reason: "it does not sign with \(scheme), but with \(known)")
        }
        let end = Instant.now.after(Limits.signature)
        return try onceMore(until: end) { (signer) throws(KeyBrokerError) in
            try signer.signature(of: Array(message)[...], scheme, until: end)
        }
    }

    /// The same for a message in memory of another owner.
    public mutating func sign(_ message: Span<UInt8>, scheme: SignatureScheme) throws(KeyBrokerError) -> [UInt8] {
        try checkLength(message.count)
        var copy: [UInt8] = []
        for index in message.indices { copy.append(message[index]) }
        return try sign(copy, scheme: scheme)
    }

    private borrowing func checkLength(_ length: Int) throws(KeyBrokerError) {
        let most = Limits.channelMessageBytes
        guard length <= most else {
            throw .cannotSign(key: name, reason: "a message has at most \(most) bytes, this one has \(length)")
        }
    }

    /// Makes another signer of the same permission, for another thread. The signer permits 64 at a time for each grant.
    ///
    /// Calls `socketpair(2)`, and sends one end over the channel. The broker is not asked, so the audit log counts it as
    /// `clones` where the channel ends. It takes one second at most.
    /// - Throws: ``KeyBrokerError/cannotSign(key:reason:)`` with what the signer said; otherwise as for a signature.
    public mutating func clone() throws(KeyBrokerError) -> Signer {
        let until = Instant.now.after(Limits.signature)
        return try onceMore(until: until) { (signer) throws(KeyBrokerError) in try signer.another(until: until) }
    }

    /// Runs `body`. If it finds that the channel has ended, asks for another one, once, and runs it again.
    private mutating func onceMore<R: ~Copyable>(
        until end: Instant, _ body: (inout Signer) throws(KeyBrokerError) -> R?
    ) throws(KeyBrokerError) -> R {
        try takeOwnEnd(until: end)
        if let result = try body(&self) { return result }
        self.end = nil
        try askAnew(until: end)
        if let result = try body(&self) { return result }
        self.end = nil
        throw .cannotSign(key: name, reason: "the channel ended again before it signed; try again")
    }

    /// The signature, or nil if the channel has ended.
    private mutating func signature(
        of message: ArraySlice<UInt8>, _ scheme: SignatureScheme, until end: Instant
    ) throws(KeyBrokerError) -> [UInt8]? {
        while true {
            switch try reply(to: message, scheme, until: end) {
            case .ended: return nil
            case .late: throw .noSignature(key: name, after: Limits.signature)
            case .strange: throw violation("a packet on the signing channel is malformed")
            case .reply(.hello): throw violation("the reply is to another request")
            case .reply(.signature(_, let signature)): return signature
            case .reply(.denied(_, let reason)):
                throw .messageDenied(key: name, decision: decision, reason: reason)
            case .reply(.malformed(_, let reason)): throw .cannotSign(key: name, reason: reason)
            case .reply(.busy(_, let milliseconds, _)):
                let wait = Duration.milliseconds(max(milliseconds, 1))
                let again = Instant.now.after(wait)
                guard again < end else { throw .tooManySignatures(key: name, retryAfter: wait) }
                _ = try calling(try Kernel.pause(until: again))
            }
        }
    }

    private mutating func reply(
        to message: ArraySlice<UInt8>, _ scheme: SignatureScheme, until: Instant
    ) throws(KeyBrokerError) -> ChannelEnd.Arrival {
        sequence = sequence == .max ? ChannelEnd.sequenceOfClones + 1 : sequence + 1
        let request = ChannelRequest.sign(sequence: sequence, scheme: scheme.rawValue, message: message)
        switch end {
        case .some(let end): return try calling(try end.reply(to: request, sequence: sequence, until: until))
        case .none: return .ended
        }
    }

    /// The error for a signer that does not keep to the protocol. The channel is not used any more.
    private mutating func violation(_ what: String) -> KeyBrokerError {
        end = nil
        return .protocolViolation(what)
    }

    // MARK: Ends of the channel

    /// Another signer, or nil if the channel has ended.
    private borrowing func another(until limit: Instant) throws(KeyBrokerError) -> Signer? {
        switch end {
        case .some(let end):
            guard let made = try end.another(of: name, until: limit) else { return nil }
            let hello = ChannelHello(publicKey: publicKey, schemes: schemes)
            return Signer(broker, name, decision, made, hello, try duplicateOfCertificate())
        case .none: return nil
        }
    }

    private borrowing func duplicateOfCertificate() throws(KeyBrokerError) -> Descriptor? {
        switch certificate {
        case .some(let file): try calling(try file.duplicate())
        case .none: nil
        }
    }

    /// Asks for a channel if there is none. In a process that was forked, makes an end of its own: replies on the inherited
    /// one could be the parent's.
    private mutating func takeOwnEnd(until limit: Instant) throws(KeyBrokerError) {
        let own: ChannelEnd?
        switch end {
        case .some(let end):
            if end.isOwn { return }
            own = try end.another(of: name, until: limit)
        case .none: own = nil
        }
        if let own { end = .some(own) } else { try askAnew(until: limit) }
    }

    /// Asks the broker for a channel in the place of the one that has ended.
    private mutating func askAnew(until limit: Instant) throws(KeyBrokerError) {
        do throws(KeyBrokerError) {
            let channel = try broker.channel(name, Deadline(until: limit))
            let new = ChannelEnd(channel.socket)
            let hello = try new.hello(of: name, until: limit)
            guard hello.publicKey == publicKey else { throw .keyChanged(key: name) }
            decision = channel.decision
            certificate = channel.certificate
            end = .some(new)
        } catch {
            guard case .noAnswer = error else { throw error }
            throw .noSignature(key: name, after: Limits.signature)
        }
    }
}
