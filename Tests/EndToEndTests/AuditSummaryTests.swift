// keybroker audit summary: an access review of all, or of one key, user or unit.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct AuditSummaryTests {
    private let desk = Desk("summary")
    private var folder: TemporaryFolder { desk.folder }

    @Test func aSummaryAnswersAnAccessReview() throws {
        let daemon = try desk.log()
        let (status, output, errors) = try desk.tool(
            ["audit", "summary", "--format", "json", "--audit", daemon.audit, "--policy", folder["policy"]])
        #expect(status == 0, "\(errors)")
        let objects = try output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        func rows(_ kind: String) -> [[String: Any]] { objects.filter { $0["kind"] as? String == kind } }
        let use = try #require(rows("use").first { $0["user"] as? String == "61001" })
        #expect(use["key"] as? String == "k")
        #expect(use["granted"] as? Int == 3)
        #expect(use["last-grant"] != nil)
        #expect(rows("use").count == 2)
        #expect(rows("denial").compactMap { $0["reason"] as? String } == ["unknown-key", "no-rule"])
        #expect(rows("unused-key").compactMap { $0["key"] as? String } == ["idle"])
        #expect(rows("unused-permit").compactMap { $0["key"] as? String } == ["idle", "k"])
        #expect(rows("unused-permit").allSatisfy { ($0["line"] as? String)?.hasSuffix("policy:4") == true })

        let text = try desk.tool(["audit", "summary", "--audit", daemon.audit, "--policy", folder["policy"]]).output
        #expect(text.contains("Keys that nobody got:"))
        #expect(text.hasPrefix("5 requests, records from 20"))
        let none = try desk.tool(
            ["audit", "summary", "--audit", daemon.audit, "--policy", folder["policy"], "--until", "-1h"])
        #expect(none.output == "no records in that period\n")
    }

    @Test func aSummaryOfAKeyOrAUserOrAUnit() throws {
        let daemon = try desk.log()
        func objects(_ arguments: String...) throws -> [[String: Any]] {
            let result = try desk.tool(
                ["audit", "summary", "--format", "json", "--audit", daemon.audit, "--policy", folder["policy"]]
                    + arguments)
            #expect(result.status == 0, "\(result.errors)")
            return try result.output.split(separator: "\n").compactMap {
                try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            }
        }
        func kinds(_ objects: [[String: Any]]) -> [String] {
            objects.map { "\($0["kind"] ?? "") \($0["user"] ?? $0["permitted"] ?? "") \($0["key"] ?? "")" }
        }
        #expect(try kinds(objects("--user", "61002")) == ["use 61002 k", "denial 61002 k"])
        #expect(
            try kinds(objects("--key", "k")) == [
                "use 61001 k", "use 61002 k", "denial 61002 k", "unused-permit 61003 k",
            ])
        // What the user may have, and did not use.
        #expect(try kinds(objects("--user", "61003")) == ["unused-permit 61003 idle", "unused-permit 61003 k"])
        #expect(try kinds(objects("--unit", "x*.service")) == [])
        #expect(try kinds(objects("--key", "idle")) == ["unused-key  idle", "unused-permit 61003 idle"])
    }
}
