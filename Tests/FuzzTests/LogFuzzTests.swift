// Whole logs in several files, changed at random, as an attacker who can write to them could. For many, the chain is
// computed again, so that other checks are reached too. The number of a round is its seed.
//
// Nothing may crash or run without end, only printable ASCII may be printed, and the sums must be right. After a crash,
// the log of that round is in the folder of the test.

import AuditReading
import Foundation
import Kernel
import TestSupport
import Testing
import Wire

@testable import Audit
@testable import Policy
@testable import keybroker

struct LogFuzzTests {
    private let folder = TemporaryFolder("logfuzz")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

    /// A log as files of lines without their chains.
    private typealias Files = [[[UInt8]]]

    // MARK: Good logs

    private func good() -> Files {
        var number: UInt64 = 0
        func record(_ change: (inout Record) -> Void, _ event: Record.Event = .request) -> [UInt8] {
            var record = Record(event)
            record.policy = "digest"
            change(&record)
            number += 1
            let time = WallTime(seconds: 1_795_440_485 + Int(number), nanoseconds: 500_000_000)
            return record.line(number: number, time: time, previous: nil)
        }
        func asked(
            _ decision: Record.Decision, _ key: String, uid: UInt32 = 5, _ more: (inout Record) -> Void = { _ in }
        )
            -> [UInt8]
        {
            record {
                ($0.verb, $0.decision, $0.reason, $0.key) = (.get, decision, .permitted, key)
                $0.peer = Peer(
                    uid: uid, gid: uid, groups: [7, uid], pid: 12, comm: "co\u{1B}\"mm🔑", unit: "a@1.service")
                if decision == .granted { $0.rule = "/etc/p:\(number % 3)" }
                more(&$0)
            }
        }
        func file() -> [[UInt8]] {
            var lines = [
                record({ $0.detail = "keybrokerd" }, .start), asked(.granted, "k"), asked(.granted, "k"),
            ]
            let grant = number
            lines += [
                asked(.unavailable, "k") {
                    ($0.reason, $0.of, $0.detail) = (.notDelivered, grant, "decision \(grant) was not delivered: x")
                },
                asked(.busy, "k") { $0.detail = "decision \(grant - 1) was not delivered: sendmsg: Broken pipe" },
                asked(.denied, "nope", uid: 6) { $0.reason = .unknownKey }, asked(.granted, "other", uid: 7),
                record { ($0.decision, $0.reason, $0.uid, $0.suppressed) = (.busy, .folded, 5, 12) },
                record { ($0.verb, $0.decision, $0.uid, $0.suppressed) = (.list, .granted, 5, 3) },
                record({ ($0.decision, $0.uid, $0.pid) = (.applied, 0, 1) }, .reload),
            ]
            // A record as a daemon writes it that names only the groups in its policy.
            let named = String(decoding: asked(.denied, "k", uid: 8), as: UTF8.self)
            return lines + [Array(named.replacing(#","pid""#, with: #","other-groups":2,"pid""#).utf8)]
        }
        return [file(), file(), file()]
    }

    /// The lines with their chains, and with `previous` if a file follows another.
    private func chained(_ files: Files) -> Files {
        var link = Link.beginning
        return files.enumerated().map { index, lines in
            lines.enumerated().map { number, line in
                var line = line
                if index > 0, number == 0 {
                    line += Array(",\"previous\":\"".utf8) + link.digits + [UInt8(ascii: "\"")]
                }
                link = link.next(over: line[...])
                link.close(&line)
                return line
            }
        }
    }

    // MARK: Bad logs

    private static let numbers = [
        "0", "1", "00", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
        "18446744073709551615", "18446744073709551616", "-1", "1e9", "",
    ]
    private static let pieces = [
        "\\\u{1B}[2J", "\u{1B}", "\\u001b", "\\ud800", "\\", "\"", "\\q", ",\"key\":\"k\"", ",\"of\":2", "[", "}",
        "\u{0}",
        ",\"suppressed\":18446744073709551615", ",\"previous\":\"", "ü", "\n", "\\u0000",
    ]

    private func change(_ line: inout [UInt8], _ random: inout Seeded) {
        let position = Int.random(in: 0...line.count, using: &random)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: if position < line.count { line[position] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
        case 1: line.insert(contentsOf: Self.pieces.randomElement(using: &random)?.utf8 ?? "".utf8, at: position)
        case 2: line.removeSubrange(position..<min(position + 9, line.count))
        default:
            // Replaces a number by another one.
            let digits = line.indices.filter { (0x30...0x39).contains(line[$0]) }
            guard let first = digits.randomElement(using: &random) else { return }
            let end = line[first...].firstIndex { !(0x30...0x39).contains($0) } ?? line.endIndex
            line.replaceSubrange(first..<end, with: Self.numbers.randomElement(using: &random)?.utf8 ?? "".utf8)
        }
    }

    private func change(_ files: inout Files, _ random: inout Seeded) {
        let file = Int.random(in: 0..<files.count, using: &random)
        guard let line = files[file].indices.randomElement(using: &random) else { return }
        switch Int.random(in: 0..<10, using: &random) {
        case 0: files[file].remove(at: line)
        case 1: files[file].insert(files[file][line], at: Int.random(in: 0...line, using: &random))
        case 2: files[file].swapAt(line, Int.random(in: 0...line, using: &random))
        case 3: files.swapAt(file, 0)
        case 4: files[file].removeSubrange(line...)
        default: change(&files[file][line], &random)
        }
    }

    /// Writes the log of a round in three files. Returns true if it is still valid.
    private func write(round: Int) throws -> Bool {
        var random = Seeded(state: UInt64(round))
        var files = good()
        let changes = Int.random(in: 0...4, using: &random)
        let isChainedAfter = Int.random(in: 0..<4, using: &random) > 0
        if !isChainedAfter { files = chained(files) }
        for _ in 0..<changes { change(&files, &random) }
        if isChainedAfter { files = chained(files) }
        for (name, lines) in zip(["log.2", "log.1", "log"], files) { try folder.write(name, Data(lines.joined())) }
        return changes == 0
    }

    // MARK: What must be true

    private func isPrintable(_ bytes: some Sequence<UInt8>) -> Bool {
        bytes.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A }
    }

    private func policy() throws -> Policy {
        let resolver = Resolver(
            overflowUID: 65_534, overflowGID: 65_534, user: { _ in .unknown }, group: { _ in .unknown },
            fault: { _ in nil })
        let text =
            "key k /k\nkey other /o\npermit 5 key k\npermit :8 unit a@*.service key k other\npermit :9 key other\n"
        return try #require(read([PolicyText(file: "p", bytes: Array(text.utf8))], in: resolver).policy)
    }

    @Test func wholeLogs() throws {
        let policy = try policy()
        let moment = WallTime(seconds: 1_795_440_495, nanoseconds: 0)
        let selections = [
            Selection(key: "k", decision: "granted"), Selection(since: moment),
            Selection(until: moment, numbers: 3...20),
            Selection(user: .init(uid: 5, name: "www"), unit: UnitPattern(Array("a@*.service".utf8))),
        ]
        for round in 0..<rounds / 16 {
            let isGood = try write(round: round)
            let files = try LogFiles(of: folder["log"]).paths
            _ = try LogFiles(named: files)
            var (requests, count) = (Requests(), 0)
            var rows = [RecordRows(.text, colours: false), RecordRows(.json, colours: false)]
            var reader = LogReader(files, goesOn: true)
            while let record = try reader.next() {
                count += 1
                requests.add(record)
                #expect(isPrintable(record.line), "seed \(round)")
                for index in rows.indices {
                    rows[index].append(record)
                    #expect(isPrintable(rows[index].taken()), "seed \(round)")
                }
                _ = selections.filter { $0.includes(record) }
            }
            if isGood { #expect(reader.fault == nil && count == reader.verifier.records, "seed \(round)") }
            if let fault = reader.fault { #expect(isPrintable(fault.description.utf8), "seed \(round)") }
            stopsAtTheFault(files, reader.fault, seed: round)
            addsUp(requests, seed: round)
            prints(requests, policy, seed: round)
        }
    }

    /// A reader that stops at the fault reports the same.
    private func stopsAtTheFault(_ files: [String], _ fault: Unverified?, seed: Int) {
        var found: Unverified?
        do throws(Unverified) {
            var reader = LogReader(files)
            while try reader.next() != nil {}
            _ = try reader.verifier.recordsSinceExpected()
        } catch { found = error }
        #expect(found == fault, "seed \(seed)")
    }

    private func addsUp(_ requests: Requests, seed: Int) {
        var sum = 0
        for outcome in requests.all.map(\.outcome) + [requests.unnamed] {
            let counts = outcome.results.map(\.count)
            #expect(counts.allSatisfy { $0 >= 0 } && outcome.used >= 0, "seed \(seed)")
            #expect(outcome.used <= outcome.permitted && outcome.granted <= outcome.permitted, "seed \(seed)")
            for count in counts { sum = sum.plus(count) }
        }
        #expect(requests.count == sum, "seed \(seed)")
    }

    private func prints(_ requests: Requests, _ policy: Policy, seed: Int) {
        let unused = requests.unused(of: policy, unmapped: unmapped)
        let ofStatus = requests.unusedStatusPermits(of: policy, unmapped: unmapped)
        let review = Review(requests, (unused.keys, unused.rules, ofStatus))
        let table = ReplayTable(requests, under: policy, digest: "digest", unmapped: unmapped)
        let other = ReplayTable(requests, under: policy, digest: nil, unmapped: unmapped)
        for lines in [review.text, review.objects, table.lines, table.objects, other.lines, other.objects] {
            for line in lines { #expect(isPrintable(line.utf8) && !line.contains("\n"), "seed \(seed)") }
        }
    }
}
