// Who may ask for the status, what that costs others, and what of it is in the log.

import Audit
import Kernel
import Testing
import Wire

@testable import Broker

struct StatusQueriesTests {
    private let start = Instant(sinceBoot: .seconds(1000))
    private let day = Limits.statusFolding

    private func page(_ packet: String, _ bench: Bench, _ peer: FakePeer = FakePeer(uid: 0)) throws -> StatusPage {
        let reply = try bench.reply(packet, peer)
        let page: StatusPage? = if case .status(let page) = reply { page } else { nil }
        return try #require(page, "\(reply)")
    }

    // MARK: Folding

    @Test func aCallerHasOneRecordAndThenOneADay() {
        var queries = StatusQueries()
        var records = 0
        // Every fifteen seconds, for three days.
        for step in 0..<(3 * 5760) {
            let now = start.after(.seconds(15 * step))
            let collected = queries.collect(now: now)
            #expect(collected.allSatisfy { $0.count == (step == 5760 ? 5759 : 5760) })
            records += collected.count
            if queries.add(.status, of: 0, inCrowd: false, now: now) { records += 1 }
            queries.commit()
        }
        #expect(records == 1 + 2)
        // Who asks no more is forgotten after two days at the latest, and nothing that was counted is lost.
        #expect(queries.collect(now: start.after(day * 3)).map(\.count) == [5760])
        #expect(queries.collect(now: start.after(day * 4)).isEmpty)
        #expect(queries.nextEnd == nil)
        let isNew = queries.add(.status, of: 0, inCrowd: false, now: start.after(day * 5))
        #expect(isNew)
    }

    @Test func theQueriesOfBothVerbsAreCountedApart() {
        var queries = StatusQueries()
        for _ in 0..<3 {
            _ = queries.add(.status, of: 0, inCrowd: false, now: start)
            _ = queries.add(.rotation, of: 0, inCrowd: false, now: start)
            _ = queries.add(.status, of: 1, inCrowd: false, now: start)
        }
        let counted = queries.collect(now: start, all: true)
        #expect(counted.count == 3)
        #expect(counted.allSatisfy { $0.count == 2 })
    }

    /// One person can have any number of uids in one of their groups.
    @Test func manyCallersOfACrowdAreCountedTogether() {
        var queries = StatusQueries()
        var records = 0
        for uid in 1000..<11_000 as Range<UInt32> {
            for _ in 0..<2 where queries.add(.status, of: uid, inCrowd: true, now: start) { records += 1 }
        }
        #expect(records == Limits.statusCallers)
        // Somebody whom a line names is counted alone nevertheless.
        let isAlone = queries.add(.status, of: 1, inCrowd: false, now: start)
        #expect(isAlone)
        let counted = queries.collect(now: start.after(day))
        #expect(counted.count == Limits.statusCallers + 1)
        #expect(counted.first { $0.subject == .others }?.count == 2 * (10_000 - Limits.statusCallers))
        #expect(counted.reduce(0) { $0 + $1.count } + records == 20_000)
        // Their places are free again for those who come after them.
        #expect(queries.collect(now: start.after(day * 2)).isEmpty)
        let isNew = queries.add(.status, of: 5, inCrowd: true, now: start.after(day * 2))
        #expect(isNew)
    }

    @Test func whatWasNotWrittenIsUndone() {
        var queries = StatusQueries()
        let first = queries.add(.status, of: 7, inCrowd: true, now: start)
        #expect(first)
        queries.undo()
        #expect(queries.nextEnd == nil)
        let again = queries.add(.status, of: 7, inCrowd: true, now: start)
        #expect(again)
        queries.commit()
        _ = queries.add(.status, of: 7, inCrowd: true, now: start)
        queries.commit()
        #expect(queries.collect(now: start.after(day)).map(\.count) == [1])
        queries.undo()
        #expect(queries.collect(now: start.after(day)).map(\.count) == [1])
        queries.commit()
        #expect(queries.collect(now: start.after(day * 2)).isEmpty)
    }

    // MARK: The log

    @Test func theLogHasOneFoldedRecordOfAllQueries() throws {
        let bench = try Bench(Bench.policy)
        for _ in 0..<40 {
            _ = try page("1S", bench)
            _ = try page("1R", bench)
        }
        #expect(bench.log.records.map(\.record.verb) == [.status, .rotation])
        let due = try #require(bench.broker.ledger.nextSettling)
        #expect(Instant.now.until(due) > .seconds(86_000))
        bench.broker.ledger.settle(now: due, policy: "p")
        _ = bench.broker.ledger.commit([])
        let folded = bench.log.records.dropFirst(2).map(\.record)
        #expect(folded.count == 2)
        #expect(folded.allSatisfy { $0.suppressed == 39 && $0.uid == 0 && $0.reason == .folded })
        #expect(folded.allSatisfy { $0.decision == .granted && $0.event == .request })
        #expect(Set(folded.map(\.verb)) == [.status, .rotation])
        // The status counts each of them.
        let page = try self.page("1S", bench)
        #expect(page.values(.requests).contains("status granted permitted 40"))
        #expect(page.values(.requests).contains("rotation granted permitted 40"))
        // What was counted until the end is in the log, too.
        try bench.broker.stop()
        #expect(bench.log.records.suffix(2).map(\.record.suppressed) == [1, nil])
    }

    /// While the log cannot be written, each query tries it again, so that the status says when it can.
    @Test func aQueryFindsOutThatTheLogIsWrittenAgain() throws {
        let bench = try Bench(Bench.policy)
        func audit() throws -> [String] {
            try page("1S", bench).values(.audit)
        }
        #expect(try audit() == ["written"])
        bench.log.isFull = true
        _ = try bench.reply("1Gweb", FakePeer(uid: 1001))
        for _ in 0..<3 { #expect(try audit() == ["failing"]) }
        bench.log.isFull = false
        // The answer was made before its record was written.
        #expect(try audit() == ["failing"])
        #expect(try audit() == ["written"])
    }

    // MARK: Who may ask

    @Test func aLinePermitsTheStatusAndNothingElse() throws {
        let bench = try Bench(
            Bench.policy + "permit 1005 status\npermit :2005 status\npermit unit:node.service status\n")
        let callers = [
            (FakePeer(uid: 1005), 5), (FakePeer(uid: 7000, groups: [2005]), 6),
            (FakePeer(uid: 7001, unit: "node.service"), 7),
        ]
        for (peer, line) in callers {
            let page = try self.page("1S", bench, peer)
            #expect(page.values(.policyKeys) == ["2"])
            let record = try #require(bench.log.records.last?.record)
            #expect(record.rule?.hasSuffix("policy:\(line + 1)") == true, "\(record.rule ?? "")")
            // Who holds what is for administrators.
            #expect(try bench.reply("1R", peer).isDenied)
            #expect(bench.log.records.last?.record.reason == .notAdministrator)
            #expect(try bench.reply("1Gweb", peer).isDenied)
        }
        // Who has a key has no status by that, and the overflow uid has nothing.
        #expect(try bench.reply("1S", FakePeer(uid: 1001)).isDenied)
        #expect(try bench.reply("1S", FakePeer(uid: 65_534, groups: [2005], unit: "node.service")).isDenied)
        // A reload takes it away.
        try bench.reload(Bench.policy)
        #expect(try bench.reply("1S", FakePeer(uid: 1005)).isDenied)
    }

    /// The status makes no group and no unit known, so none of their uids has a better place than a stranger.
    @Test func aStatusCostsNobodyAPlace() throws {
        let bench = try Bench(Bench.policy + "permit :2005 status\npermit unit:node.service status\n")
        let member = FakePeer(uid: 7000, groups: [2005])
        let client = try #require(try bench.admit(member))
        #expect(client.standing == .stranger)
        #expect(try bench.admit(member) == nil)
        let service = FakePeer(uid: 7001, unit: "node.service")
        #expect(try #require(try bench.admit(service)).standing == .stranger)
        // Asking for the status keeps a connection open for administrators only.
        #expect(try !bench.ask("1S", client, member).isUse)
        let root = FakePeer(uid: 0)
        #expect(try bench.ask("1S", #require(try bench.admit(root)), root).isUse)
    }

    @Test func aMonitorHasItsRateAndNoMore() throws {
        let bench = try Bench(Bench.policy + "permit 1005 status\n")
        let peer = FakePeer(uid: 1005)
        let client = try #require(try bench.admit(peer))
        var served = 0
        let (rate, bound) = (Limits.requestsPerSecond, RateBound())
        while case .status = try bench.ask("1S", client, peer).reply { served += 1 }
        #expect((rate...bound.most(rate)).contains(served))
    }

    /// A page costs what it shows, and not what all keys cost.
    @Test func thePagesOfAStatusAreInOrder() throws {
        let names = (0..<300).map { "k\($0)" }
        let bench = try Bench(
            names.map { "key \($0) /k/\($0)\npermit 1001 key \($0)\n" }.joined() + "limit each-user requests 10000\n")
        for name in names { _ = try bench.reply("1G\(name)", FakePeer(uid: 1001)) }
        var shown: [String] = []
        var next = ""
        while true {
            let page = try self.page("1S\(next)", bench)
            shown += page.values(.key).map { String($0.prefix { $0 != " " }) }
            guard let more = page.next else { break }
            next = more.description
        }
        #expect(shown == names.sorted())
    }

    // MARK: Accounts that are not found

    @Test func theStatusNamesAccountsThatAreNotFound() throws {
        let bench = try Bench(Bench.policy + "permit no-such-user-here key web\nlimit :no-such-group-here requests 3\n")
        let page = try self.page("1S", bench)
        #expect(page.values(.missingAccounts) == ["2"])
        #expect(page.values(.missingAccount).count == 2)
        #expect(
            page.values(.missingAccount)[0].hasSuffix("no such user: 'no-such-user-here'; this line permits nobody"))
        // All other lines hold.
        #expect(try bench.reply("1Gweb", FakePeer(uid: 1001)).decision != nil)
        try bench.reload(Bench.policy + "permit no-such-user-here key web\n")
        _ = bench.broker.commit([])
        #expect(bench.log.records.last?.record.detail == "1 account is not found")
    }
}

extension Reply {
    fileprivate var isDenied: Bool { if case .denied = self { true } else { false } }
}
