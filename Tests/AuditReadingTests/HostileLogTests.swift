// Logs that were made to harm their reader. The tool reports what is wrong with them, and exits as it should.

import Audit
import AuditReading
import Foundation
import Kernel
import TestSupport
import Testing

struct HostileLogTests {
    private let folder = TemporaryFolder("hostile")

    private static let previous = String(repeating: "a", count: 64)
    private static let largest = "18446744073709551615"

    private static func record(_ seq: String, _ rest: String = "") -> String {
        #""seq":\#(seq),"time":"2026-11-23T13:28:05.500000Z","event":"request","verb":"get","decision":"granted","#
            + #""reason":"permitted","key":"k","uid":5,"gid":5,"groups":[]"# + rest
    }

    /// Logs and the expected report; nil if nothing is wrong.
    static let logs: [(records: [String], says: String?)] = [
        ([record("0")], "number is not from 1"),
        ([record("0", #","previous":"\#(previous)""#)], "number is not from 1"),
        ([record(largest, #","previous":"\#(previous)""#)], "number is not from 1"),
        ([record(largest, #","previous":"\#(previous)""#), record("1")], "number is not from 1"),
        ([record("9223372036854775808", #","previous":"\#(previous)""#)], "number is not from 1"),
        ([record("18446744073709551616")], "not a record"),
        ([record("01")], "not a record"),
        ([record("1.5")], "not a record"),
        ([record("1"), record(largest)], "number is not from 1"),
        ([record("9223372036854775807")], "records 1 to 9223372036854775806 are missing"),
        ([record("1"), record("3")], "record 2 is missing"),
        ([record("1", #","previous":"\#(previous)""#)], "record 1 names a record before it"),
        (
            [
                record("9223372036854775806", #","previous":"\#(previous)""#), record("9223372036854775807"),
                record("9223372036854775807"),
            ], "was put in"
        ),
        ([record("1", #","suppressed":\#(largest)"#), record("2", #","suppressed":\#(largest)"#)], nil),
        ([record("1", #","suppressed":9223372036854775807"#), record("2"), record("3")], nil),
        ([record("1", #","suppressed":18446744073709551616"#)], "as the broker writes one"),
        ([record("1", #","x":"\\#u{1B}[2J""#)], "as the broker writes one"),
        ([record("1", #","x":"\q""#)], "as the broker writes one"),
        ([record("1", #","key":"twice""#)], "as the broker writes one"),
    ]

    private func text(_ records: [String]) -> String {
        // Records that name a link before them are chained to it.
        let isLater = records[0].contains(Self.previous) && !records[0].contains("\"seq\":1,")
        return (isLater ? chained(records, after: Self.previous) : chained(records)).map { $0 + "\n" }.joined()
    }

    @Test(arguments: logs.indices)
    func theReaderSaysWhatIsWrong(_ index: Int) throws {
        let (records, says) = Self.logs[index]
        try folder.write("log", text(records))
        var requests = Requests()
        var reader = LogReader([folder["log"]], goesOn: true)
        while let record = try reader.next() { requests.add(record) }
        #expect(requests.count >= 0)
        #expect((reader.fault == nil) == (says == nil), "\(String(describing: reader.fault))")
        if let says { #expect(reader.fault?.description.contains(says) == true, "\(String(describing: reader.fault))") }
        _ = try LogFiles(of: folder["log"])
        _ = try LogFiles(named: [folder["log"]])
    }

    /// Every command exits with 0 or 74, reports the fault in words, and prints no byte that a terminal would act on.
    @Test(arguments: logs.indices)
    func theToolSaysWhatIsWrong(_ index: Int) throws {
        let (records, says) = Self.logs[index]
        try folder.write("log", text(records))
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("policy", "key k \(folder["key"])\npermit 6 key k\n")
        let commands = [
            ["audit", "verify"], ["audit", "show"], ["audit", "show", "--format", "json"],
            ["audit", "summary", "--policy", folder["policy"]],
            ["audit", "summary", "--format", "json", "--policy", folder["policy"]],
            ["policy", "replay", "--policy", folder["policy"]],
        ]
        for command in commands {
            let (status, output, errors) = try Program.run(
                Program.built("keybroker"), command + ["--audit", folder["log"]])
            #expect(status == (says == nil ? 0 : 74), "\(command): \(errors)")
            if let says { #expect(errors.contains(says), "\(command): \(errors)") }
            #expect((output + errors).utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x0A }, "\(command)")
        }
    }

    /// The daemon does not continue after a number that is too large.
    @Test func theDaemonDoesNotGoOnAfterTheLastNumber() throws {
        for number in ["0", "9223372036854775808", Self.largest] {
            try folder.write("log", text([Self.record(number, #","previous":"\#(Self.previous)""#)]))
            #expect(throws: LogError.self) { try AuditLog(folder["log"], syncs: false) }
        }
        try folder.write("log", text([Self.record("9223372036854775807", #","previous":"\#(Self.previous)""#)]))
        let log = try AuditLog(folder["log"], syncs: false)
        #expect(log.stage(Record(.start)) == 9_223_372_036_854_775_808)
        #expect(log.stage(Record(.stop)) == 9_223_372_036_854_775_809)
    }

    /// A file is not left out because its first record is damaged.
    @Test func aDamagedFirstRecordHidesNoFile() throws {
        let lines = chained([Self.record("1"), Self.record("2"), Self.record("3", #","previous":"?""#)])
        try folder.write("log.1", lines[0].replacing("\"seq\":1", with: "\"seq\":0") + "\n" + lines[1] + "\n")
        let link = String(lines[1].dropLast(2).suffix(64))
        let next = chained([Self.record("3", #","previous":"\#(link)""#)], after: link)
        try folder.write("log", next[0] + "\n")
        let files = try LogFiles(of: folder["log"])
        #expect(files.paths == [folder["log.1"], folder["log"]])
        #expect(throws: Unverified.self) {
            var reader = LogReader(files.paths)
            _ = try reader.next()
        }
    }

    /// A very long text widens only its own row.
    @Test func aLongTextWidensNoOtherRow() throws {
        let long = String(repeating: "k", count: 20_000)
        let records = [Self.record("1").replacing("\"key\":\"k\"", with: "\"key\":\"\(long)\""), Self.record("2")]
        try folder.write("log", chainedText(records))
        let shown = try Program.run(Program.built("keybroker"), ["audit", "show", "--audit", folder["log"]])
        #expect(shown.status == 0)
        let lines = shown.output.split(separator: "\n")
        #expect(lines.count == 3)
        #expect((lines.last?.utf8.count ?? 0) < 300)
    }
}
