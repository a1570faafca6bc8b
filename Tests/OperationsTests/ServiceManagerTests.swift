// The service files for OpenRC and runit, with Debian's own packages of both: installed, started, reloaded, rotated, killed,
// stopped.
//
// Must never start anything outside of the throw-away container (with-init).

import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: isRoot, "needs root: it makes a container, and accounts in it"))
struct ServiceManagerTests {
    /// Runs a script in a container. Returns what it said of each step: a status and the output.
    private func life(_ script: String) throws -> [String: String] {
        let here = testsFolder.appendingPathComponent("OperationsTests")
        // Those that are installed have the Swift runtime inside: the toolchain may be on another mount, which an overlay
        // does not show.
        let installable = projectFolder.appendingPathComponent(".build-release/release").path
        let built = URL(fileURLWithPath: Program.built("keybroker")).deletingLastPathComponent().path
        let binaries = FileManager.default.fileExists(atPath: installable + "/keybrokerd") ? installable : built
        let (_, output, errors) = try Program.run(
            here.appendingPathComponent("with-init").path,
            [
                "env", "PROJECT=\(projectFolder.path)", "BINARIES=\(binaries)", "bash",
                here.appendingPathComponent("Scripts/\(script)").path,
            ], seconds: 300)
        var steps: [String: String] = [:]
        for line in output.split(separator: "\n") {
            let parts = line.split(separator: ": ", maxSplits: 1)
            if parts.count == 2 { steps[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces) }
        }
        if steps["removed"] == nil { Issue.record("\(output)\(errors)") }
        return steps
    }

    private func expectCommonSteps(_ steps: [String: String]) {
        for step in ["get", "still", "get-after"] { #expect(steps[step] == "0 THE KEY", "\(step)") }
        #expect(steps["account"] == "0 keybroker")
        // Its group may read the log.
        #expect(steps["log"] == "0 640 keybroker keybroker")
        // Nothing tells the daemon of the rotation.
        #expect(steps["rotate"] == "0 1")
        #expect(steps["messages"] == "0 1")
        #expect(steps["verify"]?.hasPrefix("0 ") == true)
        // It comes back after it was killed. Root is permitted no key.
        #expect(steps["after-kill"] == "0")
        #expect(steps["removed"] == "0")
        for step in ["start", "reload", "stop"] { #expect(steps[step]?.hasPrefix("0") == true, "\(step)") }
        #expect(steps["left"] == "1 0")
    }

    @Test(.enabled(if: installed("rc-service") != nil && installed("logrotate") != nil, "openrc is not installed"))
    func openRCStartsReloadsAndStopsIt() throws {
        let steps = try life("openrc.sh")
        expectCommonSteps(steps)
        // It is not started with a faulty policy, and a reload says that it is faulty.
        #expect(steps["faulty-start"]?.hasPrefix("1") == true)
        #expect(steps["faulty-reload"]?.hasPrefix("78") == true)
        for step in ["status", "restart"] { #expect(steps[step]?.hasPrefix("0") == true, "\(step)") }
    }

    @Test(.enabled(if: installed("runsvdir") != nil && installed("logrotate") != nil, "runit is not installed"))
    func runitStartsReloadsAndStopsIt() throws {
        let steps = try life("runit.sh")
        expectCommonSteps(steps)
        #expect(steps["check"]?.hasPrefix("0") == true)
        #expect(steps["faulty-reload"]?.hasPrefix("78") == true)
        // The daemon does not serve with a faulty policy, and serves once it is mended.
        #expect(steps["faulty-start"]?.hasPrefix("1") == true)
        #expect(steps["mended"]?.hasPrefix("0") == true)
        #expect(steps["left-at-the-end"] == "1 0", "\(steps)")
        // What the daemon said cannot be changed by it.
        #expect(steps["messages-of"] != "0 keybroker")
    }
}
