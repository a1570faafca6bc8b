// What the log says of another policy: keybroker policy suggest and policy replay.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct SuggestTests {
    private let desk = Desk("suggest")
    private var folder: TemporaryFolder { desk.folder }

    /// Under the policy that is suggested nothing is lost, and the files of the keys are those of the policy, or those
    /// of the records.
    @Test func aPolicyIsSuggested() throws {
        let daemon = try desk.log()
        func suggest(_ more: String...) throws -> (status: Int32, output: String, errors: String) {
            try desk.tool(["policy", "suggest", "--audit", daemon.audit] + more)
        }
        let expected = ["key k \(folder["key"])", "permit 61001 key k"]
        for more in [[], ["--policy", folder["policy"]]] {
            let (status, output, errors) = try desk.tool(["policy", "suggest", "--audit", daemon.audit] + more)
            #expect(status == 0, "\(errors)")
            let lines = output.split(separator: "\n").map(String.init)
            #expect(Array(lines.dropFirst()) == expected)
            #expect(lines[0].hasPrefix("# what was permitted in 5 requests, "))
            try folder.write("suggested", output)
            let replayed = try desk.tool(["policy", "replay", "--policy", folder["suggested"], "--audit", daemon.audit])
            #expect(replayed.output.split(separator: "\n").count == 1)
        }
        // The policy in force is preferred, as its names stay when a link leads to another file.
        try folder.write("links", "key k /etc/by-name.pem certificate /etc/by-name.crt\npermit 1 key k\n")
        #expect(
            try suggest("--policy", folder["links"]).output.contains(
                "key k /etc/by-name.pem certificate /etc/by-name.crt\n"))
        #expect(try suggest("--since", "now").output == "# nothing was granted in that time\n")
        try folder.write("old", try folder.text("log/audit.jsonl").replacing(#""path":"/"#, with: #""path":""#))
        let unknown = try desk.tool(["policy", "suggest", "--audit", folder["old"]])
        #expect(unknown.errors.contains("the file of key 'k' is in no policy and in no record"))
        #expect([74, 78].contains(unknown.status))
        #expect(try suggest("--policy", folder["none"]).status == 78)
    }

    @Test func aReplayListsWhatWouldChange() throws {
        let daemon = try desk.log()
        try folder.write("new.policy", "key k \(folder["key"])\npermit 61002 key k\nkey nope \(folder["key"])\n")
        func replay(_ policy: String) throws -> [[String]] {
            let (status, output, errors) = try desk.tool(
                ["policy", "replay", "--policy", folder[policy], "--audit", daemon.audit])
            #expect(status == 0, "\(errors)")
            return output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        }
        let changes = try replay("new.policy")
        #expect(changes[0] == ["change", "key", "user", "unit", "requests", "last", "line"])
        #expect(
            changes.dropFirst().map { [$0[0], $0[1], $0[2], $0[4]] } == [
                ["loses", "k", "61001", "3"], ["gains", "k", "61002", "1"],
            ])
        #expect(changes[1].last == "\(folder["policy"]):3")
        #expect(changes[2].last == "\(folder["new.policy"]):2")
        // With the policy in force nothing changes, so only the heading is printed.
        #expect(try replay("policy").count == 1)
        try folder.write("bad.policy", "nonsense\n")
        #expect(
            try desk.tool(["policy", "replay", "--policy", folder["bad.policy"], "--audit", daemon.audit]).status == 78)
        #expect(try desk.tool(["policy", "replay", "--audit", daemon.audit]).status == 64)
    }
}
