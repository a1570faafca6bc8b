// The service manager hears from the daemon, also if another account keeps its socket full. Every account may write
// there.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot, "needs root: another account writes to the service manager's socket"))
struct NotifyTests {
    private let folder = TemporaryFolder("notify")

    @Test func anotherAccountKeepsTheSocketFull() throws {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.write("policy", "key k \(folder["key"])\npermit 0 key k\n")
        try folder.directory("run")
        let python = installed("python3") ?? "python3"
        let peers = testsFolder.appendingPathComponent("EndToEndTests/Peers").path
        let manager = try Program(
            python,
            [
                "\(peers)/manager.py", folder["run/broker.sock"], folder["run/notify"], Program.built("keybrokerd"),
                "--policy", folder["policy"], "--audit", folder["log/audit.jsonl"], "--user", "61000",
            ])
        try manager.wait(for: "readiness") { $0.contains("READY=1") ? true : nil }
        let other = try Program(python, ["\(peers)/flood.py", folder["run/notify"], "61099"])
        try other.wait(for: "a full socket") { $0.contains("full") ? true : nil }

        // Each is due after a tenth of a second.
        let signs = { (text: String) in text.components(separatedBy: "WATCHDOG=1").count - 1 }
        let before = signs(manager.text())
        try manager.wait(for: "signs of life") { signs($0) >= before + 10 ? true : nil }
        try manager.send("reload")
        try manager.wait(for: "the reload's end") { text -> Bool? in
            guard let begun = text.range(of: "RELOADING=1\\nMONOTONIC_USEC=") else { return nil }
            return text[begun.upperBound...].contains("READY=1") ? true : nil
        }
        try manager.send("stop")
        try manager.wait(for: "the end") { $0.contains("STOPPING=1") && $0.contains("exited 0") ? true : nil }
        try manager.waitForExit()
        try other.waitForExit()
    }
}
