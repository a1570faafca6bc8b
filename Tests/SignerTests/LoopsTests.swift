// The two loops of the signer: one for quick keys, and one that reads keys and signs with the slow ones.

import Foundation
import Kernel
import SignerControl
import TestSupport
import Testing
import Wire

@Suite(.enabled(if: installed("openssl") != nil, "needs openssl to make keys"))
struct LoopsTests {
    /// Who waits for a signature of a quick key does not wait for one of a slow key, as another thread makes that.
    @Test(.enabled(if: isRoot && installed("strace") != nil, "needs root and strace"))
    func quickAndSlowKeysHaveThreadsOfTheirOwn() throws {
        let bench = try Bench("threads")
        let keys: [(file: String, scheme: UInt16, isQuick: Bool)] = [
            (try bench.makeECKey(), 0x0403, true), (try bench.makeKey("ed", "ED25519"), 0x0807, true),
            (try bench.makeKey("rsa", "RSA", "rsa_keygen_bits:2048"), 0x0804, false),
            (try bench.makeECKey("p384", "P-384"), 0x0503, false),
        ]
        let clients = try keys.map { try bench.open($0.file).client }
        var threads: [Bool: Set<Substring>] = [:]
        for (key, client) in zip(keys, clients) {
            let lines = try Trace.lines(of: try bench.worker(), options: ["-f"]) {
                _ = try client.signature(handshake(), key.scheme)
            }
            for line in lines where line.hasPrefix("[pid") && line.contains("sendmsg(") {
                threads[key.isQuick, default: []].insert(line.prefix { $0 != "]" })
            }
        }
        let quick = try #require(threads[true])
        let slow = try #require(threads[false])
        #expect(quick.count == 1 && slow.count == 1 && quick != slow, "\(threads)")
    }

    /// The end of a permission is never lost between the loops: not even if the key was not read yet.
    @Test(arguments: [("ec", "P-256"), ("slow", "P-384")])
    func anEndThatOvertakesTheOpeningCounts(_ name: String, _ curve: String) throws {
        let bench = try Bench("early-end")
        let file = try bench.makeECKey(name, curve)
        for _ in 0..<200 {
            let (number, client) = try bench.request(file)
            bench.signer.end(number)
            #expect(try bench.report() == .opened(channel: number))
            #expect(try bench.report() == .ended(channel: number, ChannelCounts()))
            // The first packet may have been sent before.
            while let reply = try client.receive() {
                guard case .hello = reply else {
                    Issue.record("\(reply)")
                    break
                }
            }
        }
    }

    /// More orders than the queue between the loops has room for are all obeyed, and answered in their order.
    @Test func ordersThatHaveNoRoomWait() throws {
        let bench = try Bench("many-orders")
        let files = [try bench.makeKey("rsa", "RSA", "rsa_keygen_bits:2048"), try bench.makeECKey()]
        var asked: [(number: UInt64, client: ChannelClient)] = []
        // The first loop takes orders faster than the second one reads keys. So if it takes no more, the second has no room.
        while let next = try bench.requestIfTaken(files[asked.count % 2], account: UInt32(asked.count % 7)) {
            asked.append(next)
            guard asked.count < 3000 else { throw Waited(description: "the queues are never full") }
        }
        for (number, _) in asked { #expect(try bench.report() == .opened(channel: number)) }
        for (index, (_, client)) in asked.enumerated() {
            try client.greet()
            _ = try client.signature(handshake(), index % 2 == 0 ? 0x0804 : 0x0403)
        }
        for (number, _) in asked { bench.signer.end(number) }
        var ended: Set<UInt64> = []
        while ended.count < asked.count {
            guard case .ended(let number, ChannelCounts(signatures: 1, refused: 0, clones: 0)) = try bench.report()
            else {
                Issue.record("another report")
                return
            }
            ended.insert(number)
        }
        #expect(ended == Set(asked.map(\.number)))
    }

    /// The bound of one account is one for both loops.
    @Test func bothLoopsCountTheSameEnds() throws {
        let bench = try Bench("places")
        let files = [try bench.makeECKey(), try bench.makeECKey("slow", "P-384")]
        var clients: [ChannelClient] = []
        while clients.count < Limits.channelEndsPerUser {
            let (number, client) = try bench.request(files[clients.count % 2])
            guard try bench.report() == .opened(channel: number) else {
                Issue.record("channel \(clients.count) was not opened")
                return
            }
            clients.append(client)
        }
        for file in files {
            let (number, _) = try bench.request(file)
            #expect(try bench.report() == .unusable(channel: number, reason: "there are too many channels"))
        }
        // A place that becomes free in one is free for the other.
        for file in [files[1], files[0]] {
            clients.removeFirst()
            guard case .ended = try bench.report() else {
                Issue.record("it goes on")
                return
            }
            let (number, client) = try bench.request(file)
            #expect(try bench.report() == .opened(channel: number))
            clients.append(client)
        }
    }
}
