// Channels: what they permit, their clones, their rate and their end.

import Foundation
import Kernel
import SignerControl
import TestSupport
import Testing
import Wire

@Suite(.enabled(if: installed("openssl") != nil, "needs openssl: it makes keys"))
struct ChannelUseTests {
    private static let p256: UInt16 = 0x0403

    /// How many messages are tried. KEYBROKER_SIGNER_MESSAGES sets another number.
    private static let messages =
        ProcessInfo.processInfo.environment["KEYBROKER_SIGNER_MESSAGES"].flatMap { Int($0) } ?? 20_000

    /// Messages that are no handshake of a TLS 1.3 server: random ones, some that nearly are, and what else is signed
    /// with such keys.
    private struct Forger {
        var random: Seeded
        let others: [[UInt8]]

        init(seed: UInt64, request: [UInt8]) {
            random = Seeded(state: seed)
            let jwt = Array("eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJyb290IiwiYWRtaW4iOnRydWV9".utf8)
            // ServerKeyExchange of TLS 1.2: two random numbers, and a point on P-256.
            let old = [UInt8](repeating: 0x20, count: 64) + [3, 0, 23, 65, 4] + [UInt8](repeating: 9, count: 64)
            others = [request, jwt, old, [], handshake(role: "client"), Array(handshake().reversed())]
        }

        private mutating func bytes(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        }

        mutating func next() -> [UInt8] {
            let length = [32, 48, 64].randomElement(using: &random) ?? 32
            var message = handshake(bytes(length))
            let beginning = 98
            switch Int.random(in: 0..<7, using: &random) {
            case 0:
                message[Int.random(in: 0..<beginning, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1: message.remove(at: Int.random(in: 0..<message.count, using: &random))
            case 2: message.insert(0x20, at: Int.random(in: 0...message.count, using: &random))
            case 3: message = bytes(Int.random(in: 0..<300, using: &random))
            case 4: message = others.randomElement(using: &random) ?? []
            case 5: message += message
            default: message.removeFirst(Int.random(in: 1...64, using: &random))
            }
            return message
        }
    }

    @Test func aBoundChannelSignsNothingElse() throws {
        let bench = try Bench("forger")
        let key = try bench.makeECKey()
        let made = try Program.run(
            installed("openssl") ?? "openssl",
            ["req", "-new", "-key", key, "-subj", "/CN=x", "-outform", "DER", "-out", bench.folder["csr"]])
        #expect(made.status == 0, "\(made.errors)")
        let seed = UInt64.random(in: 0...UInt64.max)
        var forger = Forger(
            seed: seed, request: Array(try Data(contentsOf: URL(fileURLWithPath: bench.folder["csr"]))))
        let (number, client) = try bench.open(key, .tlsServer)
        var refused = 0
        // Several at a time, as long as the queues have room.
        while refused < Self.messages {
            for _ in 0..<8 {
                let request = ChannelRequest.sign(
                    sequence: client.next(), scheme: Self.p256, message: forger.next()[...])
                try client.socket.send(request.packet)
            }
            for _ in 0..<8 {
                guard case .denied? = try client.receive() else {
                    Issue.record("seed \(seed): request \(refused) is not denied")
                    return
                }
                refused += 1
            }
        }
        #expect(try client.signature(handshake(), Self.p256).count > 60)
        bench.signer.end(number)
        #expect(
            try bench.report()
                == .ended(channel: number, ChannelCounts(signatures: 1, refused: UInt64(refused), clones: 0)))
    }

    @Test func clonesShareWhatTheChannelHas() throws {
        let bench = try Bench("clones")
        let (number, first) = try bench.open(try bench.makeECKey(), .tlsServer)
        let second = try first.clone()
        let third = try second.clone()
        #expect(third.publicKey == first.publicKey && third.schemes == first.schemes)
        for client in [third, first, second] {
            _ = try client.signature(handshake(), Self.p256)
            guard case .denied? = try client.sign([1], Self.p256) else {
                Issue.record("a clone signs more")
                return
            }
        }
        // The channel lives as long as one of its ends.
        _ = consume first
        _ = try second.signature(handshake(), Self.p256)
        bench.signer.end(number)
        #expect(try second.receive() == nil && third.receive() == nil)
        #expect(try bench.report() == .ended(channel: number, ChannelCounts(signatures: 4, refused: 3, clones: 2)))
    }

    @Test func clonesAreBounded() throws {
        let bench = try Bench("many")
        let (number, client) = try bench.open(try bench.makeECKey())
        var clones = try (0..<Limits.channelClones).map { _ in try client.clone() }
        var pair = try SeqpacketSocket.pair()
        try client.socket.send(
            ChannelRequest.clone(sequence: 99).packet, with: pair.takeSecond())
        guard case .malformed(sequence: 99, reason: let reason)? = try client.receive(), reason.contains("64") else {
            Issue.record("one too many")
            return
        }
        // The end that was refused is closed.
        guard let ours = pair.first.take() else { return }
        let refused = ChannelClient(ours)
        #expect(try refused.receive() == nil)
        // One that is given up makes room for another.
        clones.removeLast()
        _ = try client.signature([1], Self.p256)
        clones.append(try client.clone())
        clones = []
        _ = consume client
        guard case .ended(channel: number, let counts) = try bench.report() else {
            Issue.record("it goes on")
            return
        }
        #expect(counts == ChannelCounts(signatures: 1, refused: 1, clones: UInt64(Limits.channelClones) + 1))
    }

    @Test func theRateIsTheChannels() throws {
        let bench = try Bench("rate")
        let (number, client) = try bench.open(try bench.makeECKey(), rate: 3)
        let clone = try client.clone()
        var (signed, busy) = (0, 0)
        for _ in 0..<10 {
            for end in [client, clone] {
                switch try end.sign([1], Self.p256) {
                case .signature: signed += 1
                case .busy(_, let milliseconds, _):
                    #expect((1...334).contains(milliseconds))
                    busy += 1
                default: Issue.record("neither")
                }
            }
        }
        #expect(signed >= 3 && signed < 20 && busy == 20 - signed)
        // What is refused for another reason does not count.
        guard case .malformed? = try client.sign([1], 0x0804) else {
            Issue.record("another scheme")
            return
        }
        bench.signer.end(number)
        #expect(
            try bench.report()
                == .ended(
                    channel: number, ChannelCounts(signatures: UInt64(signed), refused: UInt64(busy) + 1, clones: 1)))
    }

    @Test func repliesComeInTheOrderOfTheRequests() throws {
        let bench = try Bench("order")
        let (_, client) = try bench.open(try bench.makeECKey(), .tlsServer)
        for number in 1...40 as ClosedRange<UInt32> {
            let message = number % 3 == 0 ? [1] : handshake()
            try client.socket.send(
                ChannelRequest.sign(sequence: number, scheme: Self.p256, message: message[...]).packet)
        }
        for number in 1...40 as ClosedRange<UInt32> {
            switch try client.receive() {
            case .signature(let sequence, _): #expect(sequence == number && number % 3 != 0)
            case .denied(let sequence, _): #expect(sequence == number && number % 3 == 0)
            default: Issue.record("\(number)")
            }
        }
    }

    /// Who does not read its replies gets no more of them, and costs no other channel anything.
    @Test func whoDoesNotReadWaits() throws {
        let bench = try Bench("unread")
        let key = try bench.makeECKey()
        let (number, silent) = try bench.open(key, account: 1)
        var asked: UInt32 = 0
        // Until the signer reads no more, as it has no room for replies.
        let deadline = Instant.now.after(.seconds(60))
        var lastTaken = Instant.now
        while Instant.now < deadline, lastTaken.until(.now) < .milliseconds(300) {
            do throws(Failure) {
                // The numbers of schemes that nobody knows cost nothing.
                try silent.socket.send(ChannelRequest.sign(sequence: asked + 1, scheme: 0, message: [1]).packet)
                asked += 1
                lastTaken = .now
            } catch {
                guard error.code == Failure.wouldBlock else { throw error }
                _ = try pause(until: Instant.now.after(.milliseconds(5)))
            }
        }
        let (_, other) = try bench.open(key, account: 1)
        for _ in 0..<20 { _ = try other.signature([1], Self.p256) }
        // Then it reads all of them.
        for number in 1...asked {
            guard case .malformed(number, _)? = try silent.receive() else {
                Issue.record("\(number) of \(asked) is missing")
                return
            }
        }
        _ = try silent.signature([1], Self.p256)
        bench.signer.end(number)
        guard case .ended(channel: number, let counts) = try bench.report() else {
            Issue.record("it goes on")
            return
        }
        #expect(counts.refused == UInt64(asked))
    }

    /// A flood of one account, and the requests of another in between.
    @Test func whoFloodsWaitsForItself() throws {
        let bench = try Bench("flood")
        // A signature of this key takes long enough for its queue to stay full.
        let slow = try bench.makeKey("slow", "RSA", "rsa_keygen_bits:4096")
        let quick = try bench.makeECKey()
        let (_, flood) = try bench.open(slow, account: 1)
        let floods = [flood] + (try (0..<9).map { _ in try flood.clone() })
        let (_, other) = try bench.open(quick, account: 2)
        for client in floods {
            for _ in 0..<8 {
                try client.socket.send(
                    ChannelRequest.sign(sequence: client.next(), scheme: 0x0804, message: [1]).packet)
            }
        }
        for _ in 0..<4 { _ = try other.signature([1], Self.p256) }
        // At most one of its signatures was made for each of the other's, and the rest waits.
        var done = 0
        for client in floods {
            while case .packet = try client.socket.receiveQuietly() { done += 1 }
        }
        #expect(done < 60, "\(done) of 80 were served first")
    }

    @Test func aSignerThatDiesIsReplaced() throws {
        let bench = try Bench("dies")
        let key = try bench.makeECKey()
        let (_, client) = try bench.open(key)
        kill(try bench.worker(), SIGKILL)
        #expect(try bench.report() == .started(generation: 2))
        #expect(try client.receive() == nil)
        let (_, next) = try bench.open(key)
        _ = try next.signature([1], Self.p256)
    }

    @Test func itEndsWithTheDaemon() throws {
        var bench: Bench? = try Bench("ends")
        let pid = try #require(bench?.signer.processID)
        let worker = try #require(try bench?.worker())
        let client = try bench.map { try $0.open(try $0.makeECKey()).client }
        bench = nil
        #expect(try client?.receive() == nil)
        var status: Int32 = -1
        // Safety: the call fills the one number.
        let waited = unsafe waitpid(pid, &status, 0)
        #expect(waited == pid && status == 0)
        #expect(kill(worker, 0) == -1 && errno == ESRCH)
    }

    @Test func itIsNotStartedByHand() throws {
        let result = try Program.run(Program.built("keybroker-signer"), ["61950", "61950"])
        #expect(result.status == 64 && result.errors.contains("keybrokerd"), "\(result.errors)")
        let asRoot = try Program.run(Program.built("keybroker-signer"), ["0", "0"])
        #expect(asRoot.status == 64)
    }
}

extension SeqpacketSocket {
    fileprivate borrowing func receiveQuietly() throws(Failure) -> Received {
        var buffer = [UInt8](repeating: 0, count: 8192)
        return try receive(into: &buffer)
    }
}
