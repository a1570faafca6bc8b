// When a rotation is announced, and to whom: with keys that are a file of the test, and a clock that the test moves.

import Audit
import Foundation
import Kernel
import Keys
import Policy
import PolicyLoading
import TestSupport
import Testing
import Wire

@testable import Broker

struct RotationsTests {
    private let bench: Bench
    private let rotations = Rotations()
    private let name: KeyName
    private let start = Instant.now

    init() throws {
        bench = try Bench(Bench.policy)
        name = try #require(KeyName("web"))
    }

    private func content() throws -> Content {
        let key = try #require(bench.broker.policy.policy.keys[name])
        return Content(of: try bench.keys.handOut(key))
    }

    private func change(_ text: String) throws { try bench.folder.write("key", text, mode: 0o600) }

    private func after(_ milliseconds: Int) -> Instant { start.after(.milliseconds(milliseconds)) }

    /// Looks, and returns the generation of the watches that are then due.
    private func look(_ milliseconds: Int, isFollowed: Bool = true) -> [UInt64] {
        rotations.look(now: after(milliseconds)) { _ throws(TrustError) in
            guard let key = bench.broker.policy.policy.keys[name] else { return nil }
            return Sighting(content: Content(of: try bench.keys.handOut(key)), isFollowed: isFollowed)
        }
        return rotations.takeDue(now: after(milliseconds)).map(\.key.generation)
    }

    private func watch(_ number: UInt64) throws -> Watch {
        let client = try #require(try bench.admit(FakePeer(uid: 1001)))
        let watch = Watch(client, rotations.key(name, with: try content(), now: start))
        rotations.noteTold(watch, watch.key.generation, on: number, now: start)
        return watch
    }

    @Test func aChangeIsAnnouncedWhenItHasSettled() throws {
        _ = try watch(1)
        #expect(look(0).isEmpty)
        try change("NEXT")
        rotations.noteChange(now: after(0))
        #expect(rotations.isSettling)
        #expect(look(99).isEmpty)
        rotations.noteChange(now: after(99))
        #expect(look(150).isEmpty)
        #expect(look(199) == [1])
        #expect(!rotations.isSettling)
        #expect(look(200).isEmpty)
    }

    @Test func aKeyThatNeverSettlesIsAnnouncedAllTheSame() throws {
        _ = try watch(1)
        _ = look(0)
        var announced: [UInt64] = []
        for milliseconds in stride(from: 10, through: 1200, by: 50) {
            try change("KEY \(milliseconds)")
            rotations.noteChange(now: after(milliseconds))
            announced += look(milliseconds + 40)
        }
        #expect(announced == [1, 2])
    }

    /// Any user can be able to mount something, again and again. Keys are looked at at once, but only now and then.
    @Test func aChangeOfMountsIsOneLookAndNoSignOfAChange() throws {
        _ = try watch(1)
        #expect(look(0).isEmpty)
        try change("MOUNTED")
        rotations.noteMounts(now: after(5))
        #expect(look(5) == [1])
        try change("CHANGING")
        for milliseconds in stride(from: 10, through: 9_990, by: 10) { rotations.noteMounts(now: after(milliseconds)) }
        #expect(look(9_990).isEmpty)
        // What is being changed has time to settle.
        rotations.noteChange(now: after(10_010))
        rotations.noteMounts(now: after(10_020))
        #expect(look(10_020).isEmpty)
        #expect(rotations.nextDue == after(10_110))
        #expect(look(10_110) == [2])
    }

    /// What was reported but is the same as before is no rotation, and what cannot be handed out is none either.
    @Test func onlyAnotherContentIsARotation() throws {
        let watch = try watch(1)
        _ = look(0)
        rotations.noteChange(now: after(0))
        #expect(look(100).isEmpty)
        try change("NEXT")
        bench.keys.fault = TrustError(.missing, "away")
        rotations.noteChange(now: after(200))
        #expect(look(300).isEmpty)
        #expect(watch.key.fault == "away")
        bench.keys.fault = nil
        // It is looked at every second, as nothing says whether its end will be reported.
        #expect(look(1299).isEmpty)
        #expect(look(1300) == [1])
        #expect(watch.key.fault == nil)
    }

    @Test func whatInotifyCannotFollowIsLookedAtEachSecond() throws {
        _ = try watch(1)
        #expect(look(0, isFollowed: false).isEmpty)
        try change("NEXT")
        #expect(look(999, isFollowed: false).isEmpty)
        #expect(look(1000, isFollowed: true) == [1])
        try change("ONE MORE")
        #expect(look(10_999).isEmpty)
        #expect(look(11_000) == [2])
    }

    @Test func aWatchThatCannotBeToldIsTriedLessAndLessOften() throws {
        let watch = try watch(1)
        _ = look(0)
        try change("NEXT")
        rotations.noteChange(now: after(0))
        #expect(look(100) == [1])
        var (now, tries) = (100, [Int]())
        while now < 5_000 {
            rotations.postpone(watch, now: after(now))
            while look(now).isEmpty { now += 1 }
            tries.append(now)
        }
        let pauses = zip(tries, tries.dropFirst()).map { $1 - $0 }
        #expect(tries.first == 110)
        #expect(pauses.prefix(7) == [20, 40, 80, 160, 320, 640, 1000])
    }

    /// Regression: whoever asked for a watch at that moment had a rotation announced to all, half of it or not.
    @Test func aRequestDoesNotHastenAnAnnouncement() throws {
        let first = try watch(1)
        _ = look(0)
        try change("NEXT")
        let second = try watch(2)
        #expect(second.told == 0)
        #expect(rotations.takeDue(now: after(0)).isEmpty)
        #expect(look(99).isEmpty)
        try change("LAST")
        rotations.noteChange(now: after(99))
        #expect(look(150).isEmpty)
        #expect(look(199) == [1, 1])
        #expect(first.key.generation == 1)
        rotations.end(first)
        rotations.end(second)
        #expect(rotations.count == 0)
    }

    /// Who comes when nobody else watches has the newest generation at once.
    @Test func whoComesFirstDisturbsNobody() throws {
        let first = try watch(1)
        _ = look(0)
        rotations.end(first)
        try change("NEXT")
        #expect(try watch(2).told == 1)
    }

    @Test func onlyWhatWasAnnouncedIsHandedOut() throws {
        let watch = try watch(1)
        _ = look(0)
        let announced = try content()
        #expect(rotations.mayHandOut(announced, of: watch.key, now: after(0)))
        try change("NEXT")
        #expect(!rotations.mayHandOut(try content(), of: watch.key, now: after(0)))
        // It is looked at, as if its change had been reported.
        #expect(look(100) == [1])
    }

    /// Regression: the newest came first, so that those who waited longest were never told.
    @Test func whoWaitsLongestIsToldFirst() throws {
        let client = try #require(try bench.admit(FakePeer(uid: 1001)))
        let key = rotations.key(name, with: try content(), now: start)
        var watches: [Watch] = []
        for number in 1...UInt64(Limits.watchersPerTurn + 2) {
            watches.append(Watch(client, key))
            rotations.noteTold(watches[watches.count - 1], 0, on: number, now: start)
        }
        _ = look(0)
        try change("NEXT")
        rotations.noteChange(now: after(0))
        #expect(look(100).count == Limits.watchersPerTurn)
        let newest = Watch(client, key)
        rotations.noteTold(newest, 0, on: 1_000, now: after(100))
        let next = rotations.takeDue(now: after(100)).map(\.number)
        #expect(next.count == 3)
        #expect(next.last == 1_000)
    }

    // MARK: The end of a watch

    @Test func aWatchEndsWithTheProcessThatAskedForIt() throws {
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        let answer = try bench.ask("1Wweb", client, peer)
        _ = bench.broker.commit([answer])
        let watch = try #require(answer.watch)
        bench.broker.noteTold(watch, 0, on: 7)
        try change("NEXT")
        #expect(watch.key.note(try content()))
        peer.hasEnded = true
        guard case .leave = try bench.broker.renewal(of: watch, from: peer, hasRead: true) else {
            throw Waited(description: "it goes on")
        }
        _ = bench.broker.commit([])
        #expect(bench.log[bench.log.lastNumber]?.reason == .callerEnded)
        #expect(bench.log[bench.log.lastNumber]?.key == "web")
    }

    /// Regression: if the log was full, the end of a watch had no record.
    @Test func theEndOfAWatchIsRecordedAsSoonAsItCanBe() throws {
        let peer = FakePeer(uid: 1001)
        let client = try #require(try bench.admit(peer))
        let answer = try bench.ask("1Wweb", client, peer)
        _ = bench.broker.commit([answer])
        let watch = try #require(answer.watch)
        bench.broker.noteTold(watch, 0, on: 7)
        try bench.reload("key web /k/web\n")
        _ = bench.broker.commit([])
        bench.log.isFull = true
        guard case .answer(let end) = try bench.broker.renewal(of: watch, from: peer, hasRead: false) else {
            throw Waited(description: "it goes on")
        }
        _ = bench.broker.commit([end])
        #expect(end.reply == .watchEnded(decision: 0, reason: "no-rule"))
        bench.log.isFull = false
        bench.broker.ledger.settle(now: Instant.now.after(Limits.retry), policy: "")
        _ = bench.broker.commit([])
        #expect(bench.log.records.contains { $0.record.verb == .watch && $0.record.decision == .denied })
    }
}
