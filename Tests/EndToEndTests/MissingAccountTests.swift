// An account that is deleted costs its own line, and everybody is told. What `never` lines exclude cannot come into force.

import Foundation
import TestSupport
import Testing

struct MissingAccountTests {
    private let folder = TemporaryFolder("missing")
    private let missing = "no such user: 'no-such-user-here'; this line permits nobody"

    private func policy(_ more: String = "") throws -> String {
        try folder.write("key", "KEY", mode: 0o600)
        return "key k \(folder["key"])\npermit \(geteuid()) key k\n\(more)"
    }

    private func tool(_ arguments: [String], environment: [String: String] = [:]) throws -> (
        status: Int32, output: String, errors: String
    ) {
        try Program.run(
            Program.built("keybroker"), arguments, environment: environment, directory: folder.path)
    }

    @Test func oneLineThatNamesNobodyCostsOneLine() throws {
        let daemon = try Daemon(folder, policy: try policy("permit no-such-user-here key k\n"))
        #expect(try tool(["get", "k", "--socket", daemon.socket]).output == "KEY")
        // The daemon says so at the start, at each reload, and for as long as it is so.
        let said = daemon.program.text(.error)
        #expect(said.contains("policy:3:8: warning: \(missing)\n"))
        #expect(said.contains(", 1 account is not found\n"))
        #expect(try daemon.reload().contains("policy:3:8: warning: \(missing)\n"))
        #expect(try daemon.reload().contains("policy:3:8: warning: \(missing)\n"))
        let status = try tool(["status", "--socket", daemon.socket]).output
        #expect(status.contains("warning: 1 account not found:\n             \(folder["policy"]):3: \(missing)\n"))
        let metrics = try tool(["status", "--format", "openmetrics", "--socket", daemon.socket]).output
        #expect(metrics.contains("\nkeybroker_policy_missing_accounts 1\n"))
        let reload = try tool(["reload", "--socket", daemon.socket, "--policy", "policy"])
        #expect(reload.status == 0 && reload.errors.contains("policy:3:8: warning: \(missing)"))
        let unchecked = try tool(["reload", "--socket", daemon.socket])
        #expect(unchecked.status == 0 && unchecked.errors.contains("warning: \(folder["policy"]):3: \(missing)"))
        #expect(
            try daemon.records().last { $0["event"] as? String == "reload" }?["detail"] as? String
                == "1 account is not found")
        #expect((try daemon.records().first?["detail"] as? String)?.hasSuffix("; 1 account is not found") == true)
        try daemon.stop()

        let check = try tool(["policy", "check", "policy"])
        #expect(check.status == 0 && check.errors.contains("policy:3:8: warning: \(missing)"))
        let strict = try tool(["policy", "check", "--strict", "policy"])
        #expect(
            strict.status == 78
                && strict.errors.contains("keybroker: 1 warning, and with --strict a warning is an error"))
        try folder.write("policy", try policy())
        #expect(try tool(["policy", "check", "--strict", "policy"]).status == 0)
    }

    /// An answer is not taken for a full one. What goes to standard output stays as it was, for programs.
    @Test func theToolsSayWhichLinesPermitNobody() throws {
        try folder.write("base", try policy())
        try folder.write("p", try policy("permit no-such-user-here key k\n"))
        try folder.write("expectations", "expect 61009 key k denied\n")
        let daemon = try Daemon(folder, policy: try policy())
        #expect(try tool(["get", "k", "--socket", daemon.socket]).status == 0)
        try daemon.stop()
        let log = ["--audit", daemon.audit]
        for command in [
            ["policy", "diff", "base", "p"], ["policy", "diff", "base", "p", "--format", "json"],
            ["policy", "show", "--policy", "p"], ["policy", "test", "expectations", "--policy", "p"],
            ["policy", "explain", "--user", "\(geteuid())", "--key", "k", "--format", "json", "--policy", "p"],
            ["policy", "replay", "--policy", "p"] + log, ["policy", "suggest", "--policy", "p"] + log,
            ["audit", "summary", "--policy", "p"] + log,
        ] {
            let (status, output, errors) = try tool(command)
            #expect(status == 0, "\(command)")
            #expect(errors == "keybroker: warning: p:3: \(missing)\n", "\(command)")
            #expect(!output.contains("no-such-user-here"), "\(command)")
        }
        // A policy that is written for another machine may be full of them.
        try folder.write("p", try policy((0..<12).map { "permit no-such-user-\($0) key k\n" }.joined()))
        let many = try tool(["policy", "show", "--policy", "p"]).errors.split(separator: "\n")
        #expect(many.count == 11, "\(many)")
        #expect(
            many.last == "keybroker: warning: and 2 more accounts not found; see: keybroker policy check", "\(many)")
    }

    /// Root is in each /etc/passwd.
    @Test func aMisspeltNameIsShouted() throws {
        try folder.write("p", "limit rot connections 2\nlimit :rooot connections 2\n")
        let check = try tool(["policy", "check", "p"])
        #expect(check.errors.contains("no such user: 'rot'; this line limits nobody; did you mean 'root'?"))
        #expect(check.errors.contains("no such group: 'rooot'; this line limits nobody; did you mean ':root'?"))
    }

    @Test func aReloadCannotBreakWhatMustNeverBe() throws {
        let never = "never anyone key k unless \(geteuid()) 61001\n"
        let daemon = try Daemon(folder, policy: try policy(never))
        try folder.write("policy", try policy(never + "permit 61001 key k\n"))
        #expect(try daemon.reload().contains("read anew"))
        try folder.write("policy", try policy(never + "permit 61002 key k\n"))
        let said = try daemon.reload()
        #expect(said.contains("policy:4:18: error: 'k' for 61002 is excluded by \(folder["policy"]):3\n"))
        #expect(said.contains("policy:3:18: note: the line that excludes it"))
        #expect(said.contains("(1 faults); the old one stays in force"))
        #expect(try PeerProcess(daemon.socket, uid: isRoot ? 61001 : nil).ask("1Gk").status == "K")
        let check = try tool(["policy", "check", "policy"])
        #expect(check.status == 78 && check.errors.contains("keybroker: 1 error, 0 warnings"))
        try daemon.stop()
        try folder.write("policy", try policy(never))
        let denied = try tool(["policy", "explain", "--user", "61002", "--key", "k", "--policy", "policy"])
        #expect(denied.status == 77)
        #expect(denied.output.hasSuffix("  policy:3: \(never)      so no line can permit it\n"))
    }

    /// The process that opens keys outside of the sandbox looks up no names, so it must not judge by them.
    @Test func aKeyThatIsNewToTheSandboxIsServedBesideNeverLines() throws {
        guard geteuid() == 0 else { return print("skipped: the policy names root") }
        let never = "never anyone key k new unless root\n"
        let daemon = try Daemon(folder, policy: try policy("never anyone key k unless root\n"))
        try folder.directory("elsewhere")
        try folder.write("elsewhere/new", "NEW", mode: 0o600)
        try folder.write("policy", try policy("key new \(folder["elsewhere/new"])\npermit 0 key new\n\(never)"))
        #expect(try daemon.reload().contains("read anew: 2 keys"))
        #expect(try tool(["get", "new", "--wait", "20", "--socket", daemon.socket]).output == "NEW")
        try daemon.stop()
    }

    /// Only the daemon knows its credentials.
    @Test func aCheckDoesNotWarnOfCredentials() throws {
        try folder.write("p", "key k credential:web.pem certificate credential:web.crt\npermit 61001 key k\n")
        try folder.directory("other")
        for environment in [[:], ["CREDENTIALS_DIRECTORY": folder["other"]]] {
            let check = try tool(["policy", "check", "--strict", "p"], environment: environment)
            #expect(check.status == 0 && check.errors.isEmpty, "\(check.errors)")
        }
        // The daemon does.
        let daemon = try Daemon(folder, policy: "key k credential:web.pem\npermit 61001 key k\n")
        #expect(daemon.program.text(.error).contains("warning: no credential can be found: $CREDENTIALS_DIRECTORY"))
        try daemon.stop()
    }
}
