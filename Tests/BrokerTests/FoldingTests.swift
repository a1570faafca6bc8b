// Which events are recorded and which are only counted, tested with a clock that the test controls.

import Audit
import Kernel
import Testing
import Wire

@testable import Broker

struct FoldingTests {
    private let start = Instant(sinceBoot: .seconds(1000))

    /// Adds events of one uid. Returns how many of them got a record of their own.
    private func add(
        _ count: Int, _ kind: Folding.Kind, of uid: UInt32 = 1, to folding: inout Folding,
        in crowd: Folding.Crowd? = nil,
        at now: Instant, number: inout UInt64
    ) -> Int {
        var records = 0
        for _ in 0..<count {
            switch folding.add(kind, of: .uid(uid), in: crowd, now: now) {
            case .folded: break
            case .ownRecord:
                (number, records) = (number + 1, records + 1)
                folding.recorded(kind, of: .uid(uid), number: number)
            case .beginsToFold(let crowd):
                (number, records) = (number + 1, records + 1)
                folding.foldsInto(number, crowd)
            }
        }
        return records
    }

    @Test func refusalsOfAKindAreFoldedAndCollected() {
        var folding = Folding()
        var number: UInt64 = 0
        let records = add(15, .denied, to: &folding, at: start, number: &number)
        #expect(records == 12)
        #expect(folding.add(.denied, of: .uid(1), in: nil, now: start) == .folded(into: 12))
        // Other uids still get records of their own.
        #expect(folding.add(.denied, of: .uid(2), in: nil, now: start) == .ownRecord)
        // An event of a kind without a record is known by the number of the last record of the uid.
        #expect(folding.add(.unavailable, of: .uid(1), in: nil, now: start) == .folded(into: 12))
        #expect(folding.nextCollection == start.after(.milliseconds(1000)))
        #expect(folding.collect(now: start.after(.milliseconds(999))).isEmpty)
        let folded = folding.collect(now: start.after(.milliseconds(1000)))
        #expect(
            folded == [
                Folding.Folded(subject: .uid(1), kind: .denied, count: 4),
                Folding.Folded(subject: .uid(1), kind: .unavailable, count: 1),
            ])
        // One more record is free each second, and all are free after the uid was quiet for long enough. It is
        // forgotten then.
        let later = start.after(.milliseconds(2000))
        let more = add(5, .denied, to: &folding, at: later, number: &number)
        #expect(more == 2)
        _ = folding.collect(now: start.after(.milliseconds(30_000)))
        #expect(folding.nextCollection == nil)
    }

    /// A flood of other events leaves room for records of the keys that the uid was refused.
    @Test func keysHaveAShareOfTheirOwn() {
        var folding = Folding()
        var number: UInt64 = 0
        let others = add(1000, .version, to: &folding, at: start, number: &number)
        #expect(others == 6)
        let keys = add(1000, .denied, to: &folding, at: start, number: &number)
        #expect(keys == 6)
        var later = 0
        for second in 1...100 {
            let now = start.after(.milliseconds(1000 * second))
            _ = add(100, .version, to: &folding, at: now, number: &number)
            later += add(1, .denied, to: &folding, at: now, number: &number)
        }
        #expect(later >= 49)
    }

    /// An attacker found this: after a second was over and before the counts were collected, nothing was folded.
    @Test func aLateCollectionLetsNothingThrough() {
        var folding = Folding()
        var number: UInt64 = 0
        var records = 0
        for second in 0..<5 {
            let now = start.after(.milliseconds(1000 * second + 1))
            records += add(1000, .denied, to: &folding, at: now, number: &number)
        }
        #expect(records == 12 + 4)
        let counts = folding.collect(now: start.after(.milliseconds(10_000))).map(\.count)
        #expect(counts.reduce(0, +) == 5000 - records)
    }

    /// The ends of many uids are all over the second. They are collected a few at a time, not each by a look at all.
    @Test func manyUsersAreLookedAtTogether() {
        var folding = Folding()
        var number: UInt64 = 0
        var looks = 0
        var counted: [Folding.Subject: Int] = [:]
        for step in 0..<2200 {
            let now = start.after(.milliseconds(step))
            if step < 1000 { _ = add(20, .denied, of: UInt32(step), to: &folding, at: now, number: &number) }
            guard let due = folding.nextCollection, due <= now else { continue }
            looks += 1
            for folded in folding.collect(now: now) {
                counted[folded.subject, default: 0] += folded.count
                guard case .uid(let uid) = folded.subject else { continue }
                #expect((1000...1100).contains(step - Int(uid)))
            }
        }
        #expect(counted.count == 1000 && counted.values.allSatisfy { $0 == 8 })
        #expect(looks <= 12)
        // A look that is not due yet is none.
        _ = add(20, .denied, to: &folding, at: start.after(.milliseconds(2200)), number: &number)
        #expect(folding.collect(now: start.after(.milliseconds(2201))).isEmpty)
    }

    /// This holds for any second, whenever it begins.
    @Test func oneUserNeverHasMoreThanTwentyInASecond() {
        var folding = Folding()
        var number: UInt64 = 0
        var times: [Int] = []
        for step in 0..<400 {
            let now = start.after(.milliseconds(10 * step))
            if let due = folding.nextCollection, due <= now {
                times += folding.collect(now: now).map { _ in 10 * step }
            }
            for kind in Folding.Kind.allCases.shuffled() {
                let records = add(10, kind, to: &folding, at: now, number: &number)
                times += [Int](repeating: 10 * step, count: records)
            }
        }
        for time in times {
            let inASecond = times.count { (time..<time + 1000).contains($0) }
            #expect(inASecond <= 20)
        }
    }

    @Test func strangersTogetherAreBounded() {
        var folding = Folding()
        var number: UInt64 = 0
        var records = 0
        for uid in 100..<1100 as Range<UInt32> {
            records += add(20, .denied, of: uid, to: &folding, in: .strangers, at: start, number: &number)
        }
        // There is one more record: it says that they are counted from here on.
        #expect(records == Limits.crowdRecordsAtOnce + 1)
        #expect(folding.add(.denied, of: .uid(5000), in: .strangers, now: start) == .folded(into: number))
        // Uids that a group makes known are not strangers, and neither are uids that a line names.
        #expect(folding.add(.denied, of: .uid(5002), in: .groups, now: start) == .ownRecord)
        #expect(folding.add(.denied, of: .uid(5001), in: nil, now: start) == .ownRecord)
        let folded = folding.collect(now: start.after(Limits.crowdFolding))
        let ofStrangers = folded.filter { $0.subject == .crowd(.strangers) }.map(\.count).reduce(0, +)
        // The first 16 uids got twelve records each, as any uid may, and the next one got eight.
        #expect(ofStrangers == 20 * 983 + 12 + 1)
        // Every event is in a record or in a count.
        let counted = folded.map(\.count).reduce(0, +)
        #expect(counted + Limits.crowdRecordsAtOnce == 20_001)
        // Five minutes of this.
        records = 0
        for second in 61..<361 {
            let now = start.after(.milliseconds(1000 * second))
            for uid in 0..<10 as Range<UInt32> {
                let user = UInt32(second) * 10 + uid
                records += add(1, .denied, of: user, to: &folding, in: .strangers, at: now, number: &number)
            }
            records += folding.collect(now: now).count
        }
        let bound = Limits.crowdRecordsAtOnce + 300 * Limits.crowdRecordsPerSecond + 2 * 5
        #expect(records <= bound)
    }

    @Test func whatWasNotWrittenIsUndone() {
        var folding = Folding()
        var number: UInt64 = 0
        _ = add(15, .denied, to: &folding, at: start, number: &number)
        folding.commit()
        // The records of this turn cannot be written.
        _ = add(20, .denied, to: &folding, at: start, number: &number)
        _ = add(3, .denied, of: 2, to: &folding, at: start, number: &number)
        folding.undo()
        #expect(folding.add(.denied, of: .uid(1), in: nil, now: start) == .folded(into: 12))
        folding.undo()
        // Earlier counts are not lost with the turn, and counts that were collected in vain are collected again.
        let over = start.after(.milliseconds(1000))
        #expect(folding.collect(now: over) == [Folding.Folded(subject: .uid(1), kind: .denied, count: 3)])
        folding.undo()
        #expect(folding.nextCollection == over)
        #expect(folding.collect(now: over) == [Folding.Folded(subject: .uid(1), kind: .denied, count: 3)])
        folding.commit()
        #expect(folding.collect(now: over).isEmpty)
    }

    @Test func manyEventsAtOnceGetOneRecordAndOneCount() {
        var folding = Folding()
        #expect(folding.add(.busy, of: .uid(1), in: nil, times: 100, now: start) == .ownRecord)
        folding.recorded(.busy, of: .uid(1), number: 7)
        #expect(folding.collect(now: start, all: true).map(\.count) == [99])
        // The crowd's records are used up: the events are counted with those of the crowd.
        for uid in 0..<300 as Range<UInt32> {
            _ = folding.add(.busy, of: .uid(uid), in: .strangers, times: 10, now: start)
        }
        #expect(folding.collect(now: start, all: true).map(\.count).reduce(0, +) == 3000 - 200)
    }
}
