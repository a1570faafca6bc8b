// Signers that say what is none of the protocol.

import Foundation
import KeyBrokerClient
import TestSupport
import Testing
import Wire

extension SignerTests {
    @Test(
        arguments: [
            [], Array("1".utf8), Array("1H".utf8), Array("1H\0".utf8), Array("1H\0\0".utf8),
            Array("1H\0\u{1}\u{4}\u{3}".utf8),
            Array("1H\0\0x".utf8), Array("2H\0\0\u{30}".utf8), Array("1K\0\0\0\u{1}x".utf8),
            Array("1H".utf8) + [0xFF, 0xFF] + [UInt8](repeating: 0x30, count: 4000), Array("1Dno".utf8),
            Array("1H\0\0".utf8) + [UInt8](repeating: 0x30, count: 4093),
        ] as [[UInt8]])
    func aFirstPacketThatIsNone(_ packet: [UInt8]) throws {
        let fake = try fake(granting: { _ in .channel([packet]) })
        defer { fake.end() }
        let error = failure { () throws(KeyBrokerError) in _ = try broker.signer("k") }
        if packet.isEmpty {
            // An empty packet is the end.
            #expect(error == .cannotSign(key: "k", reason: "the channel ended before it signed; try again"))
        } else {
            #expect(error == .protocolViolation("the first packet on the signing channel is malformed"))
        }
    }

    @Test func whatIsNoChannel() throws {
        let fake = try fake(granting: { $0 == 1 ? .file : $0 == 2 ? .channel([]) : .refusal(.version("1")) })
        defer { fake.end() }
        let file = failure { () throws(KeyBrokerError) in _ = try broker.signer("k") }
        #expect(file == .protocolViolation("what was handed over is not a channel"))
        // A signer that says nothing.
        let silent = failure { () throws(KeyBrokerError) in _ = try broker.signer("k") }
        #expect(silent == .noSignature(key: "k", after: .seconds(1)))
        let other = failure { () throws(KeyBrokerError) in _ = try broker.signer("k") }
        #expect(other == .protocolViolation("the reply is to another request"))
        #expect(failure { () throws(KeyBrokerError) in _ = try broker.signer("K") }?.exitStatus == 64)
    }

    /// Whatever comes is an error, or passed over; it is never a signature.
    @Test func randomBytes() throws {
        let fake = try fake { request, channel, turn in
            var random = Seeded(state: UInt64(channel * 10_000 + turn))
            let count = Int.random(in: 1..<60, using: &random)
            var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            // Half of them begin as replies do.
            if (channel + turn) % 2 == 0 {
                bytes = Array("1".utf8) + [Array("HKDEB".utf8).randomElement(using: &random) ?? 0] + bytes
            }
            let isWithDescriptor = turn % 7 == 0
            return [isWithDescriptor ? .sendDescriptor(bytes) : .send(bytes), .send(signature(request))]
        }
        defer { fake.end() }
        var signer = try broker.signer("k")
        var outcomes = [0, 0]
        for _ in 0..<2000 {
            do throws(KeyBrokerError) {
                #expect(try signer.sign([7, 8, 9], scheme: p256) == signed)
                outcomes[0] += 1
            } catch {
                guard case .protocolViolation = error else { throw Waited(description: "\(error)") }
                outcomes[1] += 1
            }
        }
        #expect(outcomes[0] > 100 && outcomes[1] > 100, "\(outcomes)")
    }
}
