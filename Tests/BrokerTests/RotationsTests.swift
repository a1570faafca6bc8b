// When a rotation is announced, and to whom: with keys that are a file of the test, and a clock that the test moves.

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
        let watch = Watch(client, rotations.key(name, with: try content()))
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
        try change("MORE")
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

    /// A watch that begins between a change and its announcement has the new content already.
    @Test func whoComesLaterHasTheSameGeneration() throws {
        let first = try watch(1)
        _ = look(0)
        try change("NEXT")
        let second = try watch(2)
        #expect(second.told == 1)
        #expect(rotations.takeDue(now: after(0)).map(\.number) == [first.number])
        rotations.end(first)
        rotations.end(second)
        #expect(rotations.count == 0)
        #expect(rotations.nextDue == nil || rotations.nextDue != .boot)
    }
}
