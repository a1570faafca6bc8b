// The program keybroker-signer, a test in the place of the daemon, and clients with ends of channels.

import Foundation
import Kernel
import SignerControl
import TestSupport
import Testing
import Wire

/// A signer of its own for one test. It ends with this object.
final class Bench {
    let folder: TemporaryFolder
    let signer: SignerProcess
    private var lastNumber: UInt64 = 0

    init(_ name: String) throws {
        folder = TemporaryFolder(name)
        signer = try SignerProcess(
            Program.built("keybroker-signer"), becoming: isRoot ? (uid: 61_950, gid: 61_950) : nil)
        #expect(try report() == .started(generation: 1))
    }

    /// What the signer says next.
    /// - Parameter askingAgain: true to do what the daemon does while it has something to tell: it asks without being told.
    func report(askingAgain: Bool = false) throws -> SignerReport {
        let poller = try Poller(capacity: 1)
        try signer.register(with: poller, as: 1)
        let deadline = Instant.now.after(.seconds(30))
        while Instant.now < deadline {
            if let report = signer.next() { return report }
            guard signer.isRunning else { throw Waited(description: "the signer has ended") }
            _ = try poller.wait(atMost: askingAgain ? Limits.signerLook : .seconds(1))
        }
        throw Waited(description: "the signer says nothing")
    }

    /// The process that signs.
    func worker() throws -> Int32 { try #require(OtherProcess.children(of: signer.processID).first) }

    // MARK: Keys

    /// Makes a key with the openssl program.
    @discardableResult
    func makeKey(_ name: String, _ algorithm: String, _ options: String...) throws -> String {
        let (status, _, errors) = try Program.run(
            installed("openssl") ?? "openssl",
            ["genpkey", "-algorithm", algorithm, "-out", folder[name]] + options.flatMap { ["-pkeyopt", $0] })
        guard status == 0 else { throw Waited(description: "openssl genpkey: \(errors)") }
        return folder[name]
    }

    @discardableResult
    func makeECKey(_ name: String = "ec", _ curve: String = "P-256") throws -> String {
        try makeKey(name, "EC", "ec_paramgen_curve:\(curve)")
    }

    // MARK: Channels

    /// Asks for a channel, and returns its number and the client's end of it.
    func request(
        _ file: String, _ uses: SigningUses = .anything, rate: Int = 0, account: UInt32 = 1
    ) throws -> (number: UInt64, client: ChannelClient) {
        var pair = try SeqpacketSocket.pair()
        guard let first = pair.first.take(), let second = pair.second.take() else {
            throw Waited(description: "no pair")
        }
        lastNumber += 1
        let channel = NewChannel(number: lastNumber, account: account, rate: rate, uses: uses)
        #expect(signer.open(channel, key: try Descriptor.forReading(file), end: second))
        return (lastNumber, ChannelClient(first))
    }

    /// Asks for a channel of which nobody holds the other end, as soon as the signer takes the order. Returns its number.
    func requestWaiting(_ file: String, account: UInt32) throws -> UInt64 {
        lastNumber += 1
        let channel = NewChannel(number: lastNumber, account: account, rate: 0, uses: .anything)
        let deadline = Instant.now.after(.seconds(30))
        while Instant.now < deadline {
            var pair = try SeqpacketSocket.pair()
            guard let end = pair.second.take() else { throw Waited(description: "no pair") }
            if signer.open(channel, key: try Descriptor.forReading(file), end: end) { return lastNumber }
            sched_yield()
        }
        throw Waited(description: "the signer takes no order")
    }

    /// The same for a key that can be used. The client has got its first packet.
    func open(
        _ file: String, _ uses: SigningUses = .anything, rate: Int = 0, account: UInt32 = 1
    ) throws -> (number: UInt64, client: ChannelClient) {
        let opened = try request(file, uses, rate: rate, account: account)
        #expect(try report() == .opened(channel: opened.number))
        try opened.client.greet()
        return opened
    }
}

/// The client's end of a channel.
final class ChannelClient {
    let socket: SeqpacketSocket
    private(set) var schemes: [UInt16] = []
    private(set) var publicKey: [UInt8] = []
    private var sequence: UInt32 = 0

    init(_ socket: consuming SeqpacketSocket) { self.socket = socket }

    /// Receives the first packet.
    func greet() throws {
        guard case .hello(let schemes, let key)? = try receive() else { throw Waited(description: "no first packet") }
        (self.schemes, publicKey) = (schemes, key)
    }

    /// The next packet; nil at the end of the channel.
    func receive(seconds: Int = 30) throws -> ChannelReply? {
        guard try waitUntilReadable(socket.descriptor, until: Instant.now.after(.seconds(seconds))) == .ready else {
            throw Waited(description: "no packet came")
        }
        var buffer = [UInt8](repeating: 0, count: 8192)
        let received: SeqpacketSocket.Received
        do throws(Failure) { received = try socket.receive(into: &buffer) } catch {
            if error.code == Failure.connectionReset { return nil }
            throw error
        }
        switch consume received {
        case .packet(let length, _, let broughtDescriptors):
            #expect(!broughtDescriptors)
            return try ChannelReply(Array(buffer[..<length]))
        case .nothing: return nil
        case .wouldBlock: throw Waited(description: "nothing is there")
        }
    }

    func next() -> UInt32 {
        sequence += 1
        return sequence
    }

    /// Asks and waits for the reply, which must have the same number.
    func sign(_ message: [UInt8], _ scheme: UInt16) throws -> ChannelReply? {
        let number = next()
        try socket.send(ChannelRequest.sign(sequence: number, scheme: scheme, message: message[...]).packet)
        let reply = try receive()
        switch reply {
        case .signature(number, _), .denied(number, _), .malformed(number, _), .busy(number, _, _), nil: break
        default: Issue.record("another request's reply: \(String(describing: reply))")
        }
        return reply
    }

    /// The same on a channel that may be closed already.
    func signUnlessEnded(_ message: [UInt8], _ scheme: UInt16) throws -> ChannelReply? {
        do { return try sign(message, scheme) } catch let failure as Failure where failure.code == Failure.brokenPipe {
            return try receive()
        }
    }

    func signature(_ message: [UInt8], _ scheme: UInt16) throws -> [UInt8] {
        guard case .signature(_, let bytes)? = try sign(message, scheme) else {
            throw Waited(description: "no signature")
        }
        return bytes
    }

    /// Makes another end of the channel.
    func clone() throws -> ChannelClient {
        var pair = try SeqpacketSocket.pair()
        try socket.send(ChannelRequest.clone(sequence: next()).packet, with: pair.takeSecond())
        guard let ours = pair.first.take() else { throw Waited(description: "no pair") }
        let client = ChannelClient(ours)
        try client.greet()
        return client
    }
}

/// What a TLS 1.3 server signs.
func handshake(_ hash: [UInt8] = [UInt8](repeating: 7, count: 32), role: String = "server") -> [UInt8] {
    [UInt8](repeating: 0x20, count: 64) + "TLS 1.3, \(role) CertificateVerify".utf8 + [0] + hash
}

extension SeqpacketSocket.Pair {
    /// As something that can be sent.
    mutating func takeFirst() -> Descriptor? {
        switch first.take() {
        case .some(let socket): socket.intoDescriptor()
        case .none: nil
        }
    }

    mutating func takeSecond() -> Descriptor? {
        switch second.take() {
        case .some(let socket): socket.intoDescriptor()
        case .none: nil
        }
    }
}
