// What a client may send that is no request, and what that costs.

import Foundation
import Kernel
import SignerControl
import TestSupport
import Testing
import Wire

@Suite(.enabled(if: installed("openssl") != nil, "needs openssl: it makes keys"))
struct HostileClientTests {
    private static let p256: UInt16 = 0x0403

    private func end() throws -> Descriptor? {
        var pair = try SeqpacketSocket.pair()
        return pair.takeSecond()
    }

    /// Who does not speak the protocol is told, and left.
    @Test func packetsThatAreNoRequests() throws {
        let bench = try Bench("hostile")
        let key = try bench.makeECKey()
        let sign = ChannelRequest.sign(sequence: 5, scheme: Self.p256, message: [1]).packet
        let clone = ChannelRequest.clone(sequence: 5).packet
        let packets: [(packet: [UInt8], descriptors: Int)] = [
            ([0x31], 0), (Array("GET / HTTP/1.1\r\n\r\n".utf8), 0), (Array("1Gweb".utf8), 0),
            ([0x32] + sign.dropFirst(), 0),
            (Array(sign.prefix(7)), 0), (clone + [0], 0), ([UInt8](repeating: 0, count: 60_000), 0), (sign, 1),
            (sign, 2),
            (Array("1H".utf8) + [0, 0], 0), (Array("1K".utf8) + [0, 0, 0, 1, 9], 0),
        ]
        for (packet, descriptors) in packets {
            let (number, client) = try bench.open(key)
            try client.socket.send(
                packet, with: descriptors > 0 ? try end() : nil, and: descriptors > 1 ? try end() : nil)
            guard case .malformed? = try client.receive() else {
                Issue.record("\(packet.prefix(20)) is served")
                continue
            }
            #expect(try client.receive() == nil, "\(packet.prefix(20))")
            #expect(try bench.report() == .ended(channel: number, ChannelCounts(refused: 1)))
        }
        // An empty packet is the end.
        let (number, client) = try bench.open(key)
        try client.socket.send([])
        #expect(try client.receive() == nil)
        #expect(try bench.report() == .ended(channel: number, ChannelCounts()))
    }

    /// Requests that are understood, but cannot be served. The channel goes on.
    @Test func requestsThatAreRefused() throws {
        let bench = try Bench("refused")
        let (number, client) = try bench.open(try bench.makeECKey())
        func isRefused(
            _ packet: [UInt8], _ descriptor: consuming Descriptor? = nil, _ more: consuming Descriptor? = nil
        ) throws {
            try client.socket.send(packet, with: descriptor, and: more)
            guard case .malformed(5, _)? = try client.receive() else {
                Issue.record("\(packet.prefix(20)) is served")
                return
            }
        }
        let clone = ChannelRequest.clone(sequence: 5).packet
        try isRefused(
            ChannelRequest.sign(sequence: 5, scheme: Self.p256, message: .init(repeating: 0, count: 16385)).packet)
        try isRefused(
            ChannelRequest.sign(sequence: 5, scheme: Self.p256, message: .init(repeating: 0, count: 90_000)).packet)
        try isRefused(ChannelRequest.sign(sequence: 5, scheme: 0xFFFF, message: [1]).packet)
        try isRefused(clone)
        try isRefused(clone, try end(), try end())
        try isRefused(clone, try Descriptor.forReading("/dev/null"))
        try isRefused(clone, try Descriptor.forReading(bench.folder["ec"]))
        try isRefused(clone, Descriptor(taking: Int32(socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))))
        try isRefused(clone, Descriptor(taking: Int32(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))))
        let listener = try SeqpacketSocket.bound(to: bench.folder["listener"])
        try listener.listen(backlog: 1)
        try isRefused(clone, listener.intoDescriptor())
        // One whose other end is gone already is taken, and left at once.
        try client.socket.send(clone, with: try end())
        _ = try client.signature([1], Self.p256)
        bench.signer.end(number)
        #expect(try bench.report() == .ended(channel: number, ChannelCounts(signatures: 1, refused: 10, clones: 1)))
    }

    /// Both ends of a pair, and an end of the channel itself: the signer would talk to itself for ever.
    @Test func aChannelThatEndsInItself() throws {
        let bench = try Bench("loop")
        let (number, client) = try bench.open(try bench.makeECKey())
        var pair = try SeqpacketSocket.pair()
        let clone = ChannelRequest.clone(sequence: 5).packet
        try client.socket.send(clone, with: pair.takeFirst())
        try client.socket.send(clone, with: pair.takeSecond())
        try client.socket.send(clone, with: try client.socket.descriptor.duplicate())
        // None of these is left, so the channel ends with the client.
        _ = consume client
        guard case .ended(channel: number, let counts) = try bench.report() else {
            Issue.record("it goes on")
            return
        }
        #expect(counts.clones == 3)
    }

    /// Processes that have inherited an end ask for further ones on it, and none of them reads from it. The end serves them
    /// still, however many were refused.
    @Test func refusalsThatNobodyReads() throws {
        let bench = try Bench("unread-refusals")
        let (number, client) = try bench.open(try bench.makeECKey())
        var clones = try (0..<Limits.channelClones).map { _ in try client.clone() }
        let refused = 600
        for _ in 0..<refused {
            var pair = try SeqpacketSocket.pair()
            try client.socket.send(ChannelRequest.clone(sequence: 0).packet, with: pair.takeSecond())
            guard let ours = pair.first.take() else { return }
            #expect(try ChannelClient(ours).receive(seconds: 5) == nil)
        }
        // One that is given up makes room for another.
        clones.removeLast()
        _ = try clones[0].signature([1], Self.p256)
        var pair = try SeqpacketSocket.pair()
        try client.socket.send(ChannelRequest.clone(sequence: 0).packet, with: pair.takeSecond())
        guard let ours = pair.first.take() else { return }
        try ChannelClient(ours).greet()
        bench.signer.end(number)
        let counts = ChannelCounts(signatures: 1, refused: UInt64(refused), clones: UInt64(Limits.channelClones) + 1)
        #expect(try bench.report() == .ended(channel: number, counts))
    }

    /// Closing such a socket takes as long as its owner likes: half a minute here. Nobody else waits for that.
    @Test(
        .enabled(if: installed("python3") != nil, "needs python3"),
        .disabled(if: Program.missesLocks, "ThreadSanitizer does not see the locks of the signer's threads"))
    func descriptorsThatAreSlowToClose() throws {
        let bench = try Bench("linger")
        let client = testsFolder.appendingPathComponent("SignerTests/Peers/linger.py").path
        let result = try Program.run(
            installed("python3") ?? "python3", [client, Program.built("keybroker-signer"), try bench.makeECKey()])
        #expect(result.status == 0, "\(result.errors)")
    }

    /// Thousands of random packets, whatever they mean. The signer survives, and keeps no descriptor.
    @Test func randomPackets() throws {
        let bench = try Bench("random")
        let key = try bench.makeECKey()
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = Seeded(state: seed)
        let worker = try bench.worker()
        func descriptors() -> Int {
            (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(worker)/fd").count) ?? -1
        }
        let before = descriptors()
        for _ in 0..<300 {
            let (number, client) = try bench.open(key, .tlsServer)
            for _ in 0..<8 {
                var packet: [UInt8] = [0x31, [0x53, 0x43, 0x48, 0].randomElement(using: &random) ?? 0]
                packet += (0..<Int.random(in: 0..<200, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                packet.removeFirst(Int.random(in: 0...1, using: &random))
                let descriptor = Bool.random(using: &random) ? try end() : nil
                do throws(Failure) { try client.socket.send(packet, with: descriptor) } catch { break }
            }
            _ = consume client
            guard case .ended(channel: number, let counts) = try bench.report(), counts.signatures == 0 else {
                Issue.record("seed \(seed)")
                return
            }
        }
        let (number, client) = try bench.open(key)
        _ = try client.signature([1], Self.p256)
        bench.signer.end(number)
        _ = try bench.report()
        // A thread of its own closes what clients sent when it gets to run.
        let deadline = Date() + 20
        while descriptors() != before, Date() < deadline { usleep(10_000) }
        #expect(descriptors() == before, "seed \(seed)")
    }
}
