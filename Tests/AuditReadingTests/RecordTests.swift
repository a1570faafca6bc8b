// A record is read as it was written, whatever its texts contain. A JSON parser by somebody else finds the same in it.

import Audit
import AuditReading
import Foundation
import Kernel
import LocalTime
import TestSupport
import Testing
import Wire

struct LoggedRecordTests {
    private let folder = TemporaryFolder("records")

    private func lines(_ records: [Record]) throws -> [[UInt8]] {
        let log = try AuditLog(folder["log"], syncs: false)
        for record in records { _ = log.stage(record) }
        try log.commit()
        return try folder.text("log").split(separator: "\n").map { Array($0.utf8) }
    }

    private func record(_ text: String) -> Record {
        var record = Record(.request)
        record.verb = .get
        record.decision = .denied
        record.reason = .noRule
        record.detail = text
        record.key = text
        record.peer = Peer(
            uid: .max - 1, gid: 0, groups: [1, .max, 7], pid: 12, comm: text, unit: "a\\x2db@1.service")
        record.rule = "/etc/\(text):7"
        return record
    }

    @Test func aJSONParserFindsTheSame() throws {
        let texts = [
            "", "plain", #"quo"te\back"#, ",\"chain\":\"", "tab\tnul\0 bell\u{7}", "ümlaut 🔑 \u{2028}", "]}[{,:",
        ]
        let lines = try lines(texts.map(record))
        for (text, line) in zip(texts, lines) {
            let object = try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
            let record = try #require(LoggedRecord(line))
            for field in LoggedRecord.Field.allCases {
                let theirs = object[field.rawValue]
                #expect((record[field] == nil) == (theirs == nil), "\(field)")
                if let theirs = theirs as? String { #expect(record.text(field) == theirs) }
                if let theirs = theirs as? UInt64 { #expect(record.number(field) == theirs) }
            }
            #expect(record.text(.detail) == text)
            #expect(record.text(.unit) == "a\\x2db@1.service")
            #expect(record.numbers(.groups) == [1, .max, 7])
            #expect(record.number(.uid) == UInt64(UInt32.max - 1))
            #expect(record.says(.reason, Array("no-rule".utf8)))
            #expect(!record.says(.reason, Array("no-rul".utf8)))
        }
    }

    /// Fields of later brokers are skipped, wherever they are.
    @Test func fieldsThatAreNotKnown() throws {
        let line = #"{"seq":7,"later":{"a":[-1,"x",{}]},"key":"k","later":[],"uid":5}"#
        let record = try #require(LoggedRecord(Array(line.utf8)))
        #expect(record.text(.key) == "k")
        #expect(record.number(.uid) == 5)
    }

    /// A field is found even if it is not at the broker's usual place.
    @Test func fieldsInAnyOrder() throws {
        let record = try #require(LoggedRecord(Array(#"{"uid":5,"key":"k","chain":"c","seq":1,"decision":"d"}"#.utf8)))
        #expect(record.says(.decision, Array("d".utf8)))
        #expect((record.number(.seq), record.number(.uid), record.text(.key)) == (1, 5, "k"))
    }

    /// A line that another reader could understand differently is not a record. For example, jq takes the last of two
    /// equal fields.
    @Test(arguments: [
        #"{"seq":1,"key":"a","key":"b"}"#, #"{"key":"a","seq":1,"key":"b"}"#, #"{"seq":1,"seq":2}"#,
        #"{"seq":1,"k\u0065y":"b"}"#, #"{"seq":"1"}"#, #"{"seq":01}"#, #"{"seq":1.0}"#, #"{"seq":1e3}"#,
        #"{"seq":18446744073709551616}"#, #"{"key":5}"#, #"{"uid":4294967296}"#, #"{"uid":-1}"#, #"{"groups":5}"#,
        #"{"groups":[4294967296]}"#, #"{"groups":["1"]}"#, #"{"groups":[1,[2]]}"#, #"{"file":"x"}"#, #"{"file":{"a"}}"#,
        #"{"file":{"a":1]}"#, #"{"file":[{"a":1}]}"#, #"{"a":true}"#, #"{"a":tru\u0065}"#, #"{"a":-}"#, #"{"a":[1,]}"#,
        #"{"a":[[[[[[[[[[1]]]]]]]]]]}"#, #"{"other-groups":[1]}"#, #"{"of":-2}"#, #"{"uses":["tls-server"]}"#,
        #"{"uses":"tls-server","uses":""}"#, #"{"signatures":"1"}"#, #"{"refused":-1}"#, #"{"clones":{}}"#,
        #"{"signatures":1,"signatures":2}"#,
    ])
    func whatIsAmbiguous(_ text: String) { #expect(LoggedRecord(Array(text.utf8)) == nil) }

    @Test func everyFieldAtItsPlace() throws {
        let line =
            #"{"seq":1,"time":"t","groups":[],"other-groups":3,"pid":7,"uses":"u","suppressed":2,"of":9,"signatures":4,"#
            + #""refused":5,"clones":6,"previous":"p","chain":"c"}"#
        let record = try #require(LoggedRecord(Array(line.utf8)))
        let numbers: [(LoggedRecord.Field, UInt64)] = [
            (.seq, 1), (.otherGroups, 3), (.pid, 7), (.suppressed, 2), (.of, 9), (.signatures, 4), (.refused, 5),
            (.clones, 6),
        ]
        for (field, number) in numbers { #expect(record.number(field) == number) }
        #expect(record.text(.chain) == "c" && record.text(.uses) == "u")
        #expect(record.numbers(.groups).isEmpty)
    }

    @Test(arguments: [
        "", "{", "{}", "[]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\":1", "{\"seq\":1}}", "{\"seq\":\"\u{1B}[2J\"}",
        "{\"seq\":1,\"x\":\"\\\"}", "{\"seq\":[1}", "{\"seq\":1]}", "{\"seq\": 1}", "x{\"seq\":1}", "{\"seq\":\"ü\"}",
        "{\"a\":\"b\\", "{\"a\":\"b\\\"", "{,}", "{\"\":1,,}",
    ])
    func whatIsNoRecord(_ text: String) { #expect(LoggedRecord(Array(text.utf8)) == nil) }

    /// RFC 8259, section 7. Half of a surrogate pair is not a character.
    @Test(arguments: [
        "\\\u{1B}[2J", "\\\u{7}", "\\\u{0}", "\\\u{7F}", "\\q", "\\U0041", "\\x41", "\\u", "\\u12", "\\u00zz",
        "\\u+041",
        "\\", "\u{9}", "\u{7F}", "\u{9B}", "\\ud800", "\\ud800x", "\\udc00", "\\ud800\\u0041", "\\ud800\\ud800",
        "\\ud800\\n",
        "\\ud83d\\udd1", "\\ud83d\\\u{1B}",
    ])
    func escapesThatAreNone(_ text: String) {
        for line in ["{\"key\":\"\(text)\"}", "{\"a\":[\"\(text)\"]}", "{\"file\":{\"\(text)\":1}}", "{\"\(text)\":1}"]
        {
            #expect(LoggedRecord(Array(line.utf8)) == nil, "\(line)")
        }
    }

    @Test func escapesThatAre() throws {
        let line = #"{"reason":"\u0064enied","key":"\"\\\/\b\f\n\r\t\u0041\uD83D\udD11\u0000"}"#
        let record = try #require(LoggedRecord(Array(line.utf8)))
        #expect(record.text(.key) == "\"\\/\u{8}\u{c}\n\r\tA🔑\0")
        // An unnecessary escape hides nothing from a filter.
        #expect(record.says(.reason, Array("denied".utf8)))
    }

    /// Every short line of characters with a meaning in JSON. None of them crashes, and none is long enough for a
    /// record.
    @Test func shortLines() {
        let alphabet = Array("{}\"a:1,[]\\".utf8)
        var accepted = 0
        func extend(_ line: [UInt8], _ rest: Int) {
            if let record = LoggedRecord(line) {
                accepted += 1
                _ = record.text(.seq)
            }
            if rest == 0 { return }
            for byte in alphabet { extend(line + [byte], rest - 1) }
        }
        extend([], 5)
        for value in ["\"\"", "[]", "{}", "11", "1", "[1,\"]\"]", "{\"b\":\"}\"}"] {
            #expect(LoggedRecord(Array("{\"a\":\(value)}".utf8)) != nil, "\(value)")
        }
        #expect(accepted == 0)
    }
}

struct MomentTests {
    // 2026-11-23T13:28:05.5Z
    private let now = WallTime(seconds: 1_795_440_485, nanoseconds: 500_000_000)

    private func moment(_ text: String) -> Moment? { Moment(text, now: now) }

    @Test func times() throws {
        #expect(now.rfc3339 == "2026-11-23T13:28:05.500000Z")
        #expect(moment("now")?.begin == now)
        #expect(moment("-2h")?.begin.seconds == now.seconds - 7_200)
        #expect(moment("-90s")?.begin.seconds == now.seconds - 90)
        #expect(moment("-3w")?.end.seconds == now.seconds - 3 * 604_800)
        #expect(moment("2026-11-23T13:28:05Z")?.begin == WallTime(seconds: 1_795_440_485, nanoseconds: 0))
        #expect(
            moment("2026-11-23T14:28:05.25+01:00")?.begin == WallTime(seconds: 1_795_440_485, nanoseconds: 250_000_000))
        #expect(moment("2024-02-29T00:00:00Z")?.begin.rfc3339 == "2024-02-29T00:00:00.000000Z")
    }

    /// This holds in the time zone that the tests run in, whatever it is.
    @Test func daysAreLocal() throws {
        let today = try #require(moment("today"))
        let date = try #require(now.local.prefix(10).description as String?)
        #expect(moment(date) == today)
        #expect(today.begin.local.hasPrefix("\(date)T00:00:00"))
        #expect(try #require(moment("yesterday")).end == today.begin)
        #expect((23...25).contains((today.end.seconds - today.begin.seconds) / 3600))
        #expect(moment("00:00")?.begin == today.begin)
        #expect(moment("\(date) 00:00:01")?.begin.seconds == today.begin.seconds + 1)
        #expect(moment("\(date) 13:30")?.end.local.hasPrefix("\(date)T13:30:00") == true)
        // A time that was printed can be given back as an argument.
        #expect(moment(now.local)?.begin.seconds == now.seconds)
    }

    @Test(arguments: [
        "", "soon", "-", "-h", "-2", "-2y", "-2.5h", "--2h", "+2h", "2026-11", "2026-13-01", "2026-02-29", "2026-11-31",
        "26-11-23", "2026-11-23 ", "2026-11-23 25:00", "25:00", "1:00", "12:60", "2026-11-23T13:28:05",
        "2026-11-23T13:28:05+1",
        "2026-11-23T13:28:05.Z", "1969-12-31", "99999999999999999999-01-01", "-9999999999999999999h", "today 12",
        "now 12:00",
    ])
    func whatIsNoTime(_ text: String) { #expect(moment(text) == nil) }

    /// Times from many years, formatted and parsed again.
    @Test func everyTimeReadsAsItWasWritten() {
        for seconds in stride(from: 0, to: 4_102_444_800, by: 86_399 * 13 + 7) {
            let time = WallTime(seconds: seconds, nanoseconds: seconds % 1000 * 1_000_000)
            #expect(WallTime(rfc3339: time.rfc3339) == time)
        }
    }
}
