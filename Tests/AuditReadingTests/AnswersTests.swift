// What the tools say of a log that is easily told wrongly: requests that nobody decided, callers that are only counted, numbers
// that change hands, files that are there twice, times that clocks show twice.

import AuditReading
import Foundation
import Kernel
import TestSupport
import Testing

struct AnswersTests {
    private let folder = TemporaryFolder("answers")
    private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

    private func record(_ number: Int, _ fields: String, at time: String = "2026-11-24T08:00:00.000000Z") -> String {
        #""seq":\#(number),"time":"\#(time)",\#(fields)"#
    }

    private func granted(_ number: Int, _ uid: Int, _ more: String = "") -> String {
        record(
            number,
            #""event":"request","verb":"get","decision":"granted","reason":"permitted","key":"k","uid":\#(uid),"gid":9"#
                + more)
    }

    private func suggestion(_ records: [String]) throws -> (lines: [String], unsayable: [UInt32]) {
        let suggestion = Suggestion(try requests(records, in: folder), unmapped: unmapped)
        return (suggestion.lines { "\($0)" }, suggestion.unsayable.map(\.uid))
    }

    private func tool(_ arguments: String..., zone: String = "UTC") throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.run(
            Program.built("keybroker"), ["audit"] + arguments, environment: ["TZ": zone], directory: folder.path)
    }

    // MARK: Suggestions

    /// Nobody was permitted anything while no policy was in force.
    @Test func withoutAPolicyNothingWasPermitted() throws {
        let records = ["get", "sign", "watch"].enumerated().map { index, verb in
            record(
                index + 1,
                #""event":"request","verb":"\#(verb)","decision":"unavailable","reason":"policy-faulty","key":"k","uid":5,"gid":9"#
            )
        }
        #expect(try suggestion(records).lines.isEmpty)
        let outcomes = try requests(records, in: folder).all.map(\.outcome)
        #expect(outcomes.allSatisfy { $0.unavailable == 1 && $0.permitted == 0 && $0.used == 0 })
        // A key that cannot be opened was permitted.
        #expect(try suggestion(records.map { $0.replacing("policy-faulty", with: "file-missing") }).lines.count == 2)
    }

    /// A number of `DynamicUser=` is another service's at the next start, but not if it is a person's.
    @Test func numbersThatChangeHands() throws {
        #expect(try suggestion([granted(1, 62_000, #","unit":"a.service""#)]).lines == ["permit unit:a.service key k"])
        let bare = try suggestion([granted(1, 62_000)])
        #expect(bare.lines.isEmpty && bare.unsayable == [62_000])
        #expect(
            try suggestion([granted(1, 62_000, #","unit":"session-3.scope""#)]).lines == [
                "permit 62000 unit session-*.scope key k"
            ])
        #expect(
            try suggestion([granted(1, 62_000, #","unit":"user@62000.service""#)]).lines == [
                "permit 62000 unit user@62000.service key k"
            ])
        #expect(
            try suggestion([granted(1, 62_000, #","user":"bob","unit":"a.service""#)]).lines == [
                "permit 62000 unit a.service key k"
            ])
    }

    // MARK: Summaries

    @Test func whoIsOnlyCountedIsCounted() throws {
        let records = [
            granted(1, 5),
            record(2, #""event":"limit","decision":"denied","reason":"folded","suppressed":5000"#),
            record(
                3,
                #""event":"limit","decision":"busy","reason":"limit-connection-rate","suppressed":30,"unit":"a.service""#
            ),
            record(4, #""event":"limit","decision":"unavailable","reason":"audit-unavailable","suppressed":70"#),
        ]
        try folder.write("log", chainedText(records))
        try folder.write("policy", "key k /k\npermit 5 key k\n")
        let text = try tool("summary", "--audit", "log", "--policy", "policy")
        #expect(text.status == 0, "\(text.errors)")
        #expect(text.output.hasPrefix("5101 requests, "))
        #expect(text.output.contains("\nNobody was denied whom the log names.\n"))
        #expect(
            text.output.contains(
                "\nRequests that the log only counts, without their callers: 5000 denied, 70 unavailable, 30 busy.\n"))
        let json = try tool("summary", "--audit", "log", "--policy", "policy", "--format", "json")
        #expect(
            json.output.contains(
                #"{"kind":"unnamed","granted":0,"denied":5000,"unavailable":70,"busy":30,"malformed":0}"#),
            "\(json.output)")
    }

    /// A log can have any numbers, and their sum no end.
    @Test func numbersWithoutASum() throws {
        let records = ["granted", "busy", "denied"].enumerated().map { index, decision in
            record(
                index + 1,
                #""event":"request","verb":"get","decision":"\#(decision)","reason":"unknown-key","key":"k","uid":5,"#
                    + #""gid":9,"suppressed":9223372036854775807"#)
        }
        try folder.write("log", chainedText(records))
        try folder.write("policy", "key k /k\n")
        let text = try tool("summary", "--audit", "log", "--policy", "policy")
        #expect(text.status == 0 && text.output.hasPrefix("9223372036854775807 requests, "), "\(text.errors)")
    }

    /// The reason is that of the last denial, and a key that was there at one of them is in the first table.
    @Test func theReasonOfTheLastDenial() throws {
        func denied(_ number: Int, _ reason: String, _ gid: Int, _ hour: String) -> String {
            record(
                number,
                #""event":"request","verb":"get","decision":"denied","reason":"\#(reason)","key":"k","uid":5,"gid":\#(gid)"#,
                at: "2026-11-24T\(hour):00:00.000000Z")
        }
        try folder.write("policy", "key other /k\n")
        for records in [
            [denied(1, "no-rule", 9, "11"), denied(2, "unknown-key", 10, "12")],
            [denied(1, "unknown-key", 10, "11"), denied(2, "no-rule", 9, "12")],
        ] {
            try folder.write("log", chainedText(records))
            let lines = try tool("summary", "--audit", "log", "--policy", "policy", "--format", "json").output
                .split(separator: "\n")
            let last = records[1].contains("no-rule") ? "no-rule" : "unknown-key"
            #expect(lines.contains { $0.contains(#""kind":"denial""#) && $0.contains(#""reason":"\#(last)""#) })
            #expect(lines.contains { $0.contains(#""kind":"use""#) && $0.contains(#""key":"k""#) }, "\(lines)")
        }
    }

    /// A user whose account is gone is looked for in the log, with a policy as without.
    @Test func aUserWhoIsGone() throws {
        try folder.write("log", chainedText([granted(1, 70_001, #","user":"gone-from-here""#)]))
        try folder.write("policy", "key k /k\npermit 5 key k\n")
        let known = try tool("summary", "--audit", "log", "--policy", "policy", "--user", "gone-from-here")
        #expect(known.status == 0 && known.output.contains("gone-from-here(70001)"), "\(known.errors)")
        #expect(try tool("summary", "--audit", "log", "--policy", "policy", "--user", "never-here").status == 64)
    }

    /// What is lost was last permitted then, whatever came after it.
    @Test func aReplayTellsTheLastRequestOfItsKind() throws {
        let records = [
            granted(1, 5),
            record(
                2, #""event":"request","verb":"get","decision":"denied","reason":"no-rule","key":"k","uid":5,"gid":9"#,
                at: "2026-11-24T11:00:00.000000Z"),
        ]
        try folder.write("log", chainedText(records))
        try folder.write("policy", "key k /k\n")
        let replay = try Program.run(
            Program.built("keybroker"),
            ["policy", "replay", "--policy", "policy", "--audit", "log", "--format", "json"],
            environment: ["TZ": "UTC"], directory: folder.path)
        #expect(replay.output.contains(#""last":"2026-11-24T08:00:00Z""#), "\(replay.output) \(replay.errors)")
    }

    // MARK: Files and times

    /// Files that were rotated away take the head with them that somebody kept. The oldest record still names it.
    @Test func aHeadBeforeTheOldestRecord() throws {
        let lines = chained((1...4).map { granted($0, 5) })
        func head(_ line: String) -> String { String(line.dropLast(2).suffix(64)) }
        let third = granted(3, 5, #","previous":"\#(head(lines[1]))""#)
        let rest = chained([third, granted(4, 5)], after: head(lines[1]))
        try folder.write("log", rest.map { $0 + "\n" }.joined())
        #expect(try tool("verify", "log", "--expect", head(lines[1])).status == 0)
        #expect(try tool("verify", "log", "--expect", head(rest[0])).status == 0)
        #expect(try tool("verify", "log", "--expect", head(lines[0])).status == 74)
    }

    @Test func aCopyBesideTheLog() throws {
        try folder.write("audit.jsonl", chainedText((1...4).map { granted($0, 5) }))
        try folder.write("audit.jsonl.save", chainedText((1...3).map { granted($0, 5) }))
        var reader = LogReader(try LogFiles(of: folder["audit.jsonl"]))
        do throws(Unverified) {
            while try reader.next() != nil {}
            Issue.record("no error")
        } catch {
            #expect(error.kind == .inserted)
            #expect(
                error.description.hasSuffix(
                    "audit.jsonl:1: begins with record 1, but record 3 was read before it: one of the files is a copy, or "
                        + "was put in; move it away from the log"), "\(error)")
        }
    }

    @Test func aFileThatCannotBeReadMakesTheLogPartial() throws {
        try folder.write("audit.jsonl", chainedText([granted(1, 5)]))
        #expect(!LogReader(try LogFiles(of: folder["audit.jsonl"])).isPartial)
        try folder.write("audit.jsonl.1.xz", "\u{FD}7zXZ")
        #expect(LogReader(try LogFiles(of: folder["audit.jsonl"])).isPartial)
    }

    /// At the end of summer time, 02:30 is twice: the period begins with the first and ends with the last.
    @Test func timesThatClocksShowTwice() throws {
        let times = ["2026-10-25T00:15:00.000000Z", "2026-10-25T00:45:00.000000Z", "2026-10-25T01:15:00.000000Z"]
        try folder.write(
            "log",
            chainedText(
                times.enumerated().map { index, time in
                    record(
                        index + 1,
                        #""event":"request","verb":"get","decision":"granted","reason":"permitted","key":"k","uid":5,"gid":9"#,
                        at: time)
                }))
        func numbers(_ option: String, _ time: String) throws -> [Int] {
            let shown = try tool("show", "--audit", "log", "--format", "json", option, time, zone: "Europe/Berlin")
            return shown.output.matches(of: /"seq":(\d+)/).compactMap { Int($0.1) }
        }
        #expect(try numbers("--since", "2026-10-25 02:30") == [2, 3])
        #expect(try numbers("--until", "2026-10-25 02:30") == [1, 2, 3])
        #expect(try numbers("--since", "2026-10-25 03:00") == [])
        // In spring, 02:30 is on no clock.
        #expect(try numbers("--since", "2026-03-29 02:30") == [1, 2, 3])
    }
}
