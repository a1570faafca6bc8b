// The pager that long output goes through on a terminal.
//
// Must never run a pager of this machine's: each is made here, or is less.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: it becomes other accounts"))
struct PagerTests {
    private let desk = Desk("pager")
    private var folder: TemporaryFolder { desk.folder }

    /// On a terminal long output goes through a pager, as with journalctl.
    @Test(.enabled(if: installed("script") != nil, "needs script"))
    func aPagerShowsItOnATerminal() throws {
        let daemon = try desk.log()
        try folder.write("pager", "#!/bin/sh\nsed 's/^/PAGED /'\necho \"LESS is $LESS\"\n", mode: 0o755)
        func shown(_ environment: [String: String], _ more: String = "") throws -> (status: Int32, output: String) {
            let command = "\(Program.built("keybroker")) audit show --audit \(daemon.audit) \(more)"
            let result = try Program.run(
                installed("script") ?? "script", ["-qec", command, "/dev/null"],
                environment: ["TERM": "xterm", "PATH": "/usr/bin:/bin"].merging(environment) { $1 })
            return (result.status, result.output)
        }
        let pager = folder["pager"]
        let paged = try shown(["KEYBROKER_PAGER": pager, "PAGER": "false"])
        #expect(paged.status == 0)
        #expect(paged.output.contains("PAGED seq "))
        #expect(paged.output.contains("PAGED 6 "))
        #expect(paged.output.contains("LESS is FRSXMK"))
        #expect(paged.output.contains("\u{1B}[32mgranted"))
        #expect(try shown(["PAGER": pager]).output.contains("PAGED seq "))
        #expect(try shown(["PAGER": pager, "LESS": "X"]).output.contains("LESS is X"))
        for none in [["KEYBROKER_PAGER": "", "PAGER": pager], ["KEYBROKER_PAGER": "cat"]] {
            #expect(try !shown(none).output.contains("PAGED"))
        }
        #expect(try !shown(["PAGER": pager], "--no-pager").output.contains("PAGED"))
        // A pager that ends early is no error, and one that is not there is.
        #expect(try shown(["PAGER": "head -n 1"]).status == 0)
        #expect(try shown(["PAGER": folder["none"]]).status == 71)
        // The status of a damaged log is not lost, and what is said of it stands in the pager.
        try daemon.stop()
        try folder.shell("sed -i '3s/61001/61009/' log/audit.jsonl")
        let broken = try shown(["PAGER": pager])
        #expect(broken.status == 74)
        #expect(broken.output.contains("PAGED keybroker: "))
    }

    /// Under sudo the person's environment does not say what root runs, and the pager runs no shell.
    @Test(.enabled(if: installed("script") != nil && installed("less") != nil, "needs script and less"))
    func borrowedRightsGetAPagerThatRunsNothing() throws {
        let daemon = try desk.log()
        try folder.write("pager", "#!/bin/sh\ntouch \(folder["ran"])\n", mode: 0o755)
        // On a terminal that is wide enough for all, less ends by itself.
        let command = "stty cols 300 rows 50; \(Program.built("keybroker")) audit show --audit \(daemon.audit)"
        let result = try Program.run(
            installed("script") ?? "script", ["-qec", command, "/dev/null"],
            environment: [
                "TERM": "xterm", "PATH": folder.path + ":/usr/bin:/bin", "SUDO_UID": "1000", "PAGER": folder["pager"],
                "KEYBROKER_PAGER": folder["pager"], "LESSOPEN": "|\(folder["pager"]) %s", "LESSEDIT": folder["pager"],
            ])
        #expect(result.status == 0)
        #expect(result.output.contains("granted"))
        #expect(!FileManager.default.fileExists(atPath: folder["ran"]))
    }
}
