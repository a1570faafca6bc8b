// Keys that stay with the broker: what the library makes of a signer that is slow, refuses, ends, or lies.

import Foundation
import Kernel
import KeyBrokerClient
import Synchronization
import TestSupport
import Testing
import Wire

@Suite struct SignerTests {
    typealias Scheme = KeyBrokerClient.SignatureScheme
    let folder = TemporaryFolder("signer")
    let p256 = Scheme.ecdsaP256SHA256

    /// What `body` throws, or nil.
    func failure(_ body: () throws(KeyBrokerError) -> Void) -> KeyBrokerError? {
        do throws(KeyBrokerError) {
            try body()
            return nil
        } catch { return error }
    }

    static let signs: FakeSigner.Script = { request, _, _ in
        if case .clone = request { return [] }
        return [.send(signature(request))]
    }
    static let greets: FakeSigner.Granting = { _ in .channel([FakeSigner.hello]) }

    func fake(_ script: @escaping FakeSigner.Script) throws -> FakeSigner {
        try FakeSigner(at: folder["s"], certificate: nil, granting: Self.greets, script)
    }

    func fake(
        certificate: String? = nil, granting: @escaping FakeSigner.Granting,
        _ script: @escaping FakeSigner.Script = signs
    ) throws -> FakeSigner {
        try FakeSigner(at: folder["s"], certificate: certificate, granting: granting, script)
    }

    var broker: KeyBroker { KeyBroker(socketPath: folder["s"]) }
    let signed: [UInt8] = [0x04, 0x03, 3, 7]

    @Test func whatIsKnownOfAKeyThatIsNotHere() throws {
        try folder.write("crt", "THE CERTIFICATE")
        let fake = try fake(certificate: folder["crt"], granting: Self.greets)
        defer { fake.end() }
        var signer = try broker.signer("k")
        #expect(signer.name == "k")
        #expect(signer.publicKey == FakeSigner.publicKey)
        // The one that nobody knows is left out.
        #expect(signer.schemes == [.ecdsaP256SHA256, .ed25519])
        #expect(signer.decision == 101)
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(try signer.sign(([7, 8, 9] as [UInt8]).span, scheme: p256) == signed)
        #expect(signer.hasCertificate == true)
        #expect(signer.withCertificateDescriptor { $0 } != nil)
        switch try signer.readCertificate() {
        case .some(let bytes): #expect(bytes.copiedBytes() == Array("THE CERTIFICATE".utf8))
        case .none: Issue.record("no certificate")
        }
    }

    @Test func theAsynchronousForm() async throws {
        let fake = try fake(Self.signs)
        defer { fake.end() }
        var signer = try await broker.signer("k")
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        await #expect(throws: KeyBrokerError.self) { _ = try await broker.signer("other") }
    }

    @Test func whatItCannotSignIsNotSent() throws {
        let fake = try fake(Self.signs)
        defer { fake.end() }
        var signer = try broker.signer("k")
        #expect(signer.hasCertificate == false)
        let long = failure { () throws(KeyBrokerError) in
            _ = try signer.sign([UInt8](repeating: 1, count: 16_385), scheme: p256)
        }
        #expect(
            long == .cannotSign(key: "k", reason: "a message has at most 16384 bytes, this one has 16385"))
        let span = failure { () throws(KeyBrokerError) in
            _ = try signer.sign([UInt8](repeating: 1, count: 99_999).span, scheme: p256)
        }
        #expect(span == .cannotSign(key: "k", reason: "a message has at most 16384 bytes, this one has 99999"))
        let scheme = failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: .ed448) }
        #expect(
            scheme?.description
                == "key 'k': not signed: it does not sign with ed448, but with ecdsa_secp256r1_sha256, ed25519")
        // The longest one that may be sent arrives.
        #expect(
            try signer.sign([UInt8](repeating: 7, count: 16_384), scheme: p256) == [0x04, 0x03, 0, 7])
    }

    /// Otherwise each signature after a time-out would be that of the request before.
    @Test func aLateReplyIsNotTakenForTheNext() throws {
        let fake = try fake { request, _, turn in
            if turn == 1 { return [] }
            guard turn == 2 else { return [.send(signature(request))] }
            let late = ChannelReply.signature(sequence: request.number - 1, [9, 9])
            let refusal = ChannelReply.denied(sequence: request.number - 1, reason: "late")
            return [.send(late.packet), .send(refusal.packet), .send(signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        let began = ContinuousClock.now
        let late = failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: p256) }
        #expect(late == .noSignature(key: "k", after: .seconds(1)))
        #expect(late?.exitStatus == 69)
        #expect(began.duration(to: .now) >= .seconds(1))
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(fake.asked == 1)
    }

    @Test func aRateIsWaitedForIfItIsShort() throws {
        let fake = try fake { request, _, turn in
            guard let wait: UInt32 = [1: 20, 2: 20, 4: 60_000][turn] else { return [.send(signature(request))] }
            return [.send(ChannelReply.busy(sequence: request.number, milliseconds: wait, reason: "rate").packet)]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        let busy = failure { () throws(KeyBrokerError) in _ = try signer.sign([7, 8, 9], scheme: p256) }
        #expect(busy == .tooManySignatures(key: "k", retryAfter: .seconds(60)))
        #expect(busy?.exitStatus == 75)
    }

    @Test func whatIsRefusedIsTyped() throws {
        let fake = try fake { request, _, turn in
            let denial = ChannelReply.denied(sequence: request.number, reason: "not of the use")
            let refusal = ChannelReply.malformed(sequence: request.number, reason: "not now")
            return [.send(turn == 1 ? denial.packet : turn == 2 ? refusal.packet : signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        let denied = failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: p256) }
        #expect(denied == .messageDenied(key: "k", decision: 101, reason: "not of the use"))
        #expect(denied?.exitStatus == 77)
        #expect(denied?.description.hasSuffix("keybroker audit show --seq 101") == true)
        let malformed = failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: p256) }
        #expect(malformed == .cannotSign(key: "k", reason: "not now"))
        // Neither ends the channel.
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(fake.asked == 1)
    }

    /// Without its caller noticing: the broker was restarted, or its policy was reloaded.
    @Test func aChannelThatHasEndedIsAskedForAnew() throws {
        let fake = try fake { request, channel, turn in
            let ends = channel == 1 || channel == 2 && turn == 2
            return ends ? [.close] : [.send(signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        for decision: UInt64 in [102, 103, 103] {
            #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
            #expect(signer.decision == decision)
        }
        #expect(fake.asked == 3)
    }

    @Test func itIsAskedForOnce() throws {
        let fake = try fake { _, _, _ in [.close] }
        defer { fake.end() }
        var signer = try broker.signer("k")
        let ended = failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: p256) }
        #expect(ended == .cannotSign(key: "k", reason: "the channel ended again before it signed; try again"))
        #expect(fake.asked == 2)
    }

    @Test(arguments: [
        (Reply.denied(decision: 9), KeyBrokerError.denied(key: "k", decision: 9)),
        (
            .unavailable(decision: 9, reason: "signer-unavailable"),
            .unavailable(key: "k", decision: 9, reason: "signer-unavailable")
        ),
        (.busy(decision: 9, milliseconds: 5000), .busy(decision: 9, retryAfter: .seconds(5))),
    ])
    func aPermissionThatHasEnded(_ reply: Reply, _ error: KeyBrokerError) throws {
        let fake = try fake(granting: { $0 == 2 ? .refusal(reply) : .channel([FakeSigner.hello]) }) {
            request, channel, _ in
            channel == 1 ? [.close] : [.send(signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        #expect(failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: p256) } == error)
        // The next one asks again.
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(fake.asked == 3)
    }

    @Test func anotherKeyOfThatNameIsNotUsed() throws {
        let other = ChannelReply.hello(schemes: [0x0403], publicKey: [0x30, 1, 0]).packet
        let fake = try fake(granting: { .channel([$0 == 1 ? FakeSigner.hello : other]) }) { request, channel, _ in
            channel == 1 ? [.close] : [.send(signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        for _ in 0..<2 {
            let changed = failure { () throws(KeyBrokerError) in _ = try signer.sign([7], scheme: p256) }
            #expect(changed == .keyChanged(key: "k"))
        }
        var next = try broker.signer("k")
        #expect(next.publicKey == [0x30, 1, 0])
        #expect(try next.sign([7, 8, 9], scheme: p256) == signed)
    }

    /// A signer of one thread, for the threads of a test.
    private final class Shared: Sendable {
        private let signer: Mutex<Signer>
        init(_ signer: consuming Signer) { self.signer = Mutex(signer) }

        func sign(_ message: [UInt8], _ scheme: Scheme) throws(KeyBrokerError) -> [UInt8] {
            try signer.withLock { (signer) throws(KeyBrokerError) in try signer.sign(message, scheme: scheme) }
        }
    }

    @Test func eachThreadHasAnEndOfItsOwn() async throws {
        try folder.write("crt", "THE CERTIFICATE")
        let fake = try fake(certificate: folder["crt"], granting: Self.greets)
        defer { fake.end() }
        var signer = try await broker.signer("k")
        let clone = try signer.clone()
        #expect(clone.publicKey == signer.publicKey && clone.schemes == signer.schemes)
        #expect(clone.decision == 101 && clone.hasCertificate == true)
        let both = [Shared(signer), Shared(clone)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, one) in both.enumerated() {
                group.addTask {
                    for byte: UInt8 in 0..<100 {
                        let message = [byte, 0] + [UInt8](repeating: 0, count: index)
                        let made = try one.sign(message, .ed25519)
                        #expect(made == [0x08, 0x07, UInt8(2 + index), byte])
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(fake.asked == 1 && fake.clones == 1)
    }

    @Test func aCloneThatIsRefused() throws {
        let fake = try fake { request, channel, _ in
            guard case .clone = request else { return [.send(signature(request))] }
            return channel == 1
                ? [.send(ChannelReply.malformed(sequence: request.number, reason: "there are too many").packet)] : []
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        let refused = failure { () throws(KeyBrokerError) in _ = try signer.clone() }
        #expect(refused == .cannotSign(key: "k", reason: "there are too many"))
        // The channel is as it was.
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(fake.asked == 1)
    }

    @Test func aCloneOfAChannelThatHasEnded() throws {
        let fake = try fake { request, channel, _ in
            if channel == 1 { return [.close] }
            if case .clone = request { return [] }
            return [.send(signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        var clone = try signer.clone()
        #expect(clone.decision == 102)
        #expect(try clone.sign([7, 8, 9], scheme: p256) == signed)
        #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
        #expect(fake.asked == 2)
    }

    /// The public list is the signer's.
    @Test func theSchemesAreThoseOfTheSigner() {
        #expect(Set(Scheme.allCases.map(\.rawValue)) == Set(Wire.SignatureScheme.allCases.map(\.rawValue)))
        for scheme in Scheme.allCases {
            let isForHandshakes = Wire.SignatureScheme(rawValue: scheme.rawValue)?.isForHandshakes
            #expect(scheme.description.hasPrefix("rsa_pkcs1") == (isForHandshakes == false))
        }
    }
}
