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
            let lines = try Trace.lines(
                of: try bench.worker(), options: ["-f"], until: { $0.contains("] sendmsg(") }
            ) {
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
            switch try bench.report() {
            case .opened(number): #expect(try bench.report() == .ended(channel: number, ChannelCounts()))
            case .unusable(number, let reason): #expect(reason == "its end was ordered before it was opened")
            case let other: Issue.record("\(other)")
            }
            // The first packet may have been sent before.
            while let reply = try client.receive() {
                guard case .hello = reply else {
                    Issue.record("\(reply)")
                    break
                }
            }
        }
    }

    /// What is asked for after the end of the permission was sent is not signed, whichever loop runs first.
    @Test(arguments: [("ec", "P-256", 0x0403), ("slow", "P-384", 0x0503)] as [(String, String, UInt16)])
    func nothingIsSignedAfterTheEndWasSent(_ name: String, _ curve: String, _ scheme: UInt16) throws {
        let bench = try Bench("ended")
        let file = try bench.makeECKey(name, curve)
        for _ in 0..<300 {
            let (number, client) = try bench.open(file)
            bench.signer.end(number)
            #expect(try client.signUnlessEnded(handshake(), scheme) == nil)
            #expect(try bench.report() == .ended(channel: number, ChannelCounts()))
        }
    }

    /// Also if many orders before that end were withdrawn.
    @Test func nothingIsSignedAfterManyEnds() throws {
        let bench = try Bench("many-ends")
        let slow = try bench.makeKey("rsa", "RSA", "rsa_keygen_bits:2048")
        let (number, client) = try bench.open(slow, account: 2)
        let waiting = try (0..<Limits.channelOrdersPerUser).map { _ in try bench.requestWaiting(slow, account: 1) }
        for channel in waiting { bench.signer.end(channel) }
        bench.signer.end(number)
        while bench.signer.hasUntold { _ = bench.signer.next() }
        #expect(try client.signUnlessEnded(handshake(), 0x0804) == nil)
    }

    /// However many keys wait to be read, of others or of the same user, a permission ends at once. The keys of each user
    /// are read in turn.
    @Test func nobodyWaitsForTheKeysOfOthers() throws {
        let bench = try Bench("many-orders")
        let slow = try bench.makeKey("rsa", "RSA", "rsa_keygen_bits:2048")
        let (quick, quickClient) = try bench.open(try bench.makeECKey(), account: 1)
        let (other, otherClient) = try bench.open(slow, account: 2)
        // Several seconds of work.
        var asked: [UInt64: UInt32] = [:]
        for index in 0..<600 {
            let account = 3 + UInt32(index % 6)
            asked[try bench.requestWaiting(slow, account: account)] = account
        }
        let last = try bench.requestWaiting(slow, account: 9)
        bench.signer.end(quick)
        bench.signer.end(other)
        var opened = 0
        var refused: Set<UInt64> = []
        var left: Set = [quick, other]
        while !left.isEmpty {
            switch try bench.report() {
            case .opened(let number): opened += asked[number] == nil ? 0 : 1
            case .unusable(let number, _): refused.insert(number)
            case .ended(let number, _): left.remove(number)
            case .started: Issue.record("it began again")
            }
        }
        #expect(try quickClient.receive() == nil && otherClient.receive() == nil)
        #expect(opened < asked.count / 2, "too few keys were waiting")
        // Whoever asks for the first time waits for one key of each of the others.
        var before = 0
        while true {
            let report = try bench.report()
            if report == .opened(channel: last) { break }
            if case .opened = report { before += 1 }
        }
        #expect(before < 50, "\(before) others came first")
        #expect(refused.isEmpty)
    }

    /// Who has too many keys waiting is told so.
    @Test func tooManyWaitingKeysAreRefused() throws {
        let bench = try Bench("too-many")
        let slow = try bench.makeKey("rsa", "RSA", "rsa_keygen_bits:2048")
        let count = 3 * Limits.channelOrdersPerUser
        for _ in 0..<count { _ = try bench.requestWaiting(slow, account: 1) }
        var opened = 0
        var refused = 0
        while opened + refused < count {
            switch try bench.report() {
            case .opened: opened += 1
            case .unusable(_, let reason):
                refused += 1
                #expect(reason == "too many keys wait to be read; try again later")
            // Nobody holds the other end.
            case .ended: break
            case .started: Issue.record("it began again")
            }
        }
        #expect(refused > 0 && opened >= Limits.channelOrdersPerUser)
    }

    /// An end for which the signer has no room is told later, though the signer says nothing in between.
    @Test func endsThatHaveNoRoomAreToldLater() throws {
        let bench = try Bench("untold")
        let (number, client) = try bench.open(try bench.makeECKey())
        let worker = try bench.worker()
        try OtherProcess.stop(worker)
        // There are no such channels, so nothing answers.
        var absent: UInt64 = 1 << 40
        while !bench.signer.hasUntold {
            absent += 1
            bench.signer.end(absent)
        }
        bench.signer.end(number)
        kill(worker, SIGCONT)
        #expect(try bench.report(askingAgain: true) == .ended(channel: number, ChannelCounts()))
        #expect(!bench.signer.hasUntold)
        #expect(try client.receive() == nil)
    }

    /// The bound of one account is one for both loops.
    @Test func bothLoopsCountTheSameEnds() throws {
        let bench = try Bench("places")
        let files = [try bench.makeECKey(), try bench.makeECKey("slow", "P-384")]
        var single = try files.map { try bench.open($0).client }
        // Most of the ends are clones, as a channel takes longer.
        var clients: [ChannelClient] = []
        let most = Limits.channelEndsPerUser - single.count
        while clients.count < most {
            let client = try bench.open(files[clients.count % 2]).client
            clients.append(client)
            for _ in 0..<min(Limits.channelClones, most - clients.count) { clients.append(try client.clone()) }
        }
        for file in files {
            let (number, _) = try bench.request(file)
            #expect(try bench.report() == .unusable(channel: number, reason: "there are too many channels"))
        }
        // A place that becomes free in one is free for the other.
        for file in [files[1], files[0]] {
            single.removeFirst()
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
