// keybroker audit show: which records it shows, and how.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct AuditShowTests {
    private let desk = Desk("show")
    private var folder: TemporaryFolder { desk.folder }

    @Test func recordsAreShownInColumns() throws {
        let daemon = try desk.log()
        let (status, output, errors) = try desk.tool(["audit", "show", "--audit", daemon.audit])
        #expect(status == 0, "\(errors)")
        let lines = output.split(separator: "\n").map(String.init)
        #expect(lines.count == 7)
        #expect(lines.first?.hasPrefix("seq     time") == true)
        let columns = try #require(lines.first).ranges(of: #/\S+/#).map(\.lowerBound)
        #expect(columns.count == 8)
        // Each column begins where its heading begins.
        for line in lines.dropFirst() {
            for column in columns.dropFirst() {
                let offset = lines[0].distance(from: lines[0].startIndex, to: column)
                #expect(line.dropFirst(offset - 1).first == " ", "\(line)")
                #expect(line.dropFirst(offset).first != " ", "\(line)")
            }
        }
        #expect(lines[2].contains("get      granted      k"))
        #expect(lines[2].contains("policy:3 (python3["))
        #expect(lines[5].contains("denied       nope"))
        #expect(lines[5].contains("unknown-key"))
        #expect(!output.contains("\u{1B}"))
    }

    private func forged(_ units: [String]) throws -> String {
        let lines = units.enumerated().map { index, unit in
            #"{"seq":\#(index + 1),"time":"2026-11-24T00:00:00.000000Z","event":"request","verb":"get","decision":"granted","#
                + #""reason":"permitted","key":"k","uid":5,"gid":5,"groups":[],"unit":"\#(unit)","chain":"x"}"#
        }
        try folder.write("forged", lines.map { $0 + "\n" }.joined())
        return folder["forged"]
    }

    /// A unit may have a name of 255 bytes, in the last record as well as in the first.
    @Test func columnsStayAlignedWithLongUnits() throws {
        let long = String(repeating: "u", count: 247) + ".service"
        let log = try forged(["a.service", "a-unit-with-a-long-name.service", "b.service", long, "c.service"])
        let lines = try desk.tool(["audit", "show", "--audit", log]).output.split(separator: "\n").map(String.init)
        #expect(lines.count == 6)
        let why = try #require(lines.first?.range(of: "why")?.lowerBound)
        let offset = lines[0].distance(from: lines[0].startIndex, to: why)
        for line in lines.dropFirst() {
            #expect(line.dropFirst(offset).hasPrefix("permitted"), "\(line)")
            #expect(line.dropFirst(offset - 2).hasPrefix("  "), "\(line)")
        }
        // Very many records are aligned in parts, and a part with wider columns has a heading of its own.
        let many = try forged(Array(repeating: "a.service", count: 5000) + [long])
        let all = try desk.tool(["audit", "show", "--audit", many]).output.split(separator: "\n").map(String.init)
        #expect(all.count == 5003)
        #expect(all.indices.filter { all[$0].hasPrefix("seq ") } == [0, 4097])
    }

    @Test func theLastRecords() throws {
        let daemon = try desk.log()
        func numbers(_ arguments: String...) throws -> [Int] {
            let result = try desk.tool(["audit", "show", "--format", "json", "--audit", daemon.audit] + arguments)
            #expect(result.status == 0, "\(result.errors)")
            return result.output.split(separator: "\n").compactMap { Int($0.dropFirst(7).prefix(while: \.isNumber)) }
        }
        #expect(try numbers("-n", "2") == [5, 6])
        #expect(try numbers("--lines", "2", "--key", "k") == [4, 6])
        #expect(try numbers("-n2", "--user", "61001") == [4, 5])
        #expect(try numbers("-n", "0") == [])
        #expect(try numbers("-n", "99") == [1, 2, 3, 4, 5, 6])
        #expect(try numbers("-n", "all") == [1, 2, 3, 4, 5, 6])
        #expect(try desk.tool(["audit", "show", "-n", "few", "--audit", daemon.audit]).status == 64)
        let follower = try Program(
            Program.built("keybroker"),
            ["audit", "show", "--follow", "-n", "1", "--format", "json", "--audit", daemon.audit])
        _ = try follower.wait(forLines: 1)
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "D")
        let lines = try follower.wait(forLines: 2)
        #expect(lines.map { Int($0.dropFirst(7).prefix(while: \.isNumber)) } == [6, 7])
        follower.signal(SIGKILL)
        _ = try follower.waitForExit()
    }

    @Test func filtersAreAllToMatch() throws {
        let daemon = try desk.log()
        func numbers(_ filters: String...) throws -> [Int] {
            let (status, output, errors) = try desk.tool(
                ["audit", "show", "--format", "json", "--audit", daemon.audit] + filters)
            #expect(status == 0, "\(errors)")
            return try output.split(separator: "\n").compactMap {
                try (JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?["seq"] as? Int
            }
        }
        #expect(try numbers() == [1, 2, 3, 4, 5, 6])
        #expect(try numbers("--key", "k") == [2, 3, 4, 6])
        #expect(try numbers("--key", "k", "--decision", "denied") == [6])
        #expect(try numbers("--user", "61001") == [2, 3, 4, 5])
        #expect(try numbers("--seq", "3") == [3])
        #expect(try numbers("--seq", "3-5", "--user", "61001", "--decision", "granted") == [3, 4])
        #expect(try numbers("--since", "today", "--until", "today").isEmpty == false)
        #expect(try numbers("--since", "-1h") == [1, 2, 3, 4, 5, 6])
        #expect(try numbers("--until", "-1h").isEmpty)
        #expect(try numbers("--since", "now").isEmpty)
        #expect(try numbers("--unit", "*.service", "--key", "k").isEmpty)
        let third = try #require(try daemon.record(3)["time"] as? String)
        #expect(try numbers("--since", third).first == 3)
        #expect(try numbers("--until", third) == [1, 2])
    }

    @Test(arguments: [
        (["--since", "soon"], "--since: 'soon' is no time"), (["--seq", "x"], "--seq: 'x' is no number"),
        (["--seq", "9-3"], "--seq: '9-3'"), (["--key", "No"], "--key: a key name is made of"),
        (["--unit", "x"], "--unit: a unit that holds processes"), (["--decision", "maybe"], "maybe"),
        (["--since", "\u{1B}[2J"], "\\u{1b}"),
    ])
    func wrongInputGetsOneClearLine(_ arguments: [String], _ words: String) throws {
        try folder.write("empty", "")
        let (status, output, errors) = try desk.tool(["audit", "show", "--audit", folder["empty"]] + arguments)
        #expect(status == 64)
        #expect(output.isEmpty)
        #expect(errors.contains(words), "\(errors)")
        #expect(!errors.contains("\u{1B}"))
    }

    /// Colour is used only on a terminal, and not if NO_COLOR forbids it.
    @Test func decisionsHaveAColourOnATerminal() throws {
        let daemon = try desk.log()
        func shown(_ environment: [String: String]) throws -> String {
            let command = "\(Program.built("keybroker")) audit show --no-pager --audit \(daemon.audit)"
            let (status, output, _) = try Program.run(
                installed("script") ?? "script", ["-qec", command, "/dev/null"],
                environment: ["TERM": "xterm", "PATH": "/usr/bin:/bin"].merging(environment) { $1 })
            #expect(status == 0)
            return output
        }
        let coloured = try shown([:])
        #expect(coloured.contains("\u{1B}[32mgranted\u{1B}[0m"))
        #expect(coloured.contains("\u{1B}[31mdenied\u{1B}[0m"))
        #expect(try !shown(["NO_COLOR": "1"]).contains("\u{1B}["))
        #expect(try !shown(["TERM": "dumb"]).contains("\u{1B}["))
        // Times are in the reader's time zone.
        #expect(try shown(["TZ": "Asia/Kolkata"]).contains("+05:30"))
        // This zone is given by its rules and not by its name.
        #expect(try shown(["TZ": "XST-5:45"]).contains("+05:45"))
    }

    @Test func aBrokenChainIsToldAndTheRestIsShown() throws {
        let daemon = try desk.log()
        try daemon.stop()
        try folder.shell("sed -i '3s/61001/61009/' log/audit.jsonl")
        let (status, output, errors) = try desk.tool(["audit", "show", "--audit", daemon.audit])
        #expect(status == 74)
        #expect(output.split(separator: "\n").count == 8)
        #expect(errors.contains("audit.jsonl:3: record 3 was changed"))
        #expect(errors.contains("from here on nothing is verified"))
        #expect(
            try desk.tool(["audit", "summary", "--audit", daemon.audit, "--policy", folder["policy"]]).status == 74)
        #expect(try desk.tool(["audit", "show", "--audit", folder["none"]]).status == 74)
    }
}
