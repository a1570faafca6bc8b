// A machine for one suite: a real systemd in a temporary container (with-systemd), with the package installed.
//
// Must never change anything outside of the container. Must never outlive the tests: its shell ends when their end of
// the pipe is closed.

internal import Foundation

package final class Machine: Sendable {
    private let shell: Program
    private let lock = NSLock()

    /// The package that `make deb` built from the current sources.
    package static func package() throws -> String {
        let folder = projectFolder.appendingPathComponent(".build-release/release").path
        let found = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
            .filter { $0.hasPrefix("keybroker_") && $0.hasSuffix(".deb") }
        guard let name = found.first, found.count == 1, let built = modified(of: "\(folder)/\(name)") else {
            throw Waited(description: "there is no package to test: make deb")
        }
        for source in ["Sources", "systemd", "policy"] {
            let top = projectFolder.appendingPathComponent(source).path
            for file in FileManager.default.enumerator(atPath: top)?.compactMap({ $0 as? String }) ?? [] {
                guard let changed = modified(of: "\(top)/\(file)"), changed > built else { continue }
                throw Waited(description: "\(source)/\(file) is newer than the package: make deb")
            }
        }
        return "\(folder)/\(name)"
    }

    private static func modified(of path: String) -> Date? {
        try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
    }

    /// Boots the machine. It has a folder /package with the package, and a folder /tests with the peers of SystemdTests.
    package init() throws {
        let tests = testsFolder.appendingPathComponent("SystemdTests")
        // Each line of input is a script. The answer is one line with the status, the output and the errors.
        let agent = """
            while IFS= read -r line; do
                status=0
                base64 -d <<<"$line" >/run/agent.script
                bash -euo pipefail /run/agent.script </dev/null >/run/agent.out 2>/run/agent.err || status=$?
                echo "$status:$(base64 -w0 </run/agent.out):$(base64 -w0 </run/agent.err)"
            done
            """
        let package = URL(fileURLWithPath: try Self.package())
        shell = try Program(
            tests.appendingPathComponent("with-systemd").path,
            [
                "--bind", "\(package.deletingLastPathComponent().path):/package",
                "--bind", "\(tests.appendingPathComponent("Peers").path):/tests", "--", "bash", "-c", agent,
            ])
        // Systems for building images have this file, which keeps packages from starting services.
        try must("rm -f /usr/sbin/policy-rc.d")
    }

    /// Waits for the end of the machine, so that nothing of it is left. One that lives as long as the tests ends with
    /// them.
    deinit { _ = try? shell.waitForExit() }

    /// Runs a script, as root.
    package func run(_ script: String, seconds: Double = 60) throws -> (status: Int32, output: String, errors: String) {
        lock.lock()
        defer { lock.unlock() }
        try shell.send(Data(script.utf8).base64EncodedString())
        let answer = try shell.nextLine(seconds: seconds).split(separator: ":", omittingEmptySubsequences: false)
        guard answer.count == 3, let status = Int32(answer[0]) else { throw Waited(description: "\(answer)") }
        let texts = answer[1...].map { String(decoding: Data(base64Encoded: String($0)) ?? Data(), as: UTF8.self) }
        return (status, texts[0], texts[1])
    }

    /// Runs a script that must succeed, and returns what it printed, without the last line feed.
    @discardableResult
    package func must(_ script: String, seconds: Double = 60) throws -> String {
        let (status, output, errors) = try run(script, seconds: seconds)
        guard status == 0 else { throw Waited(description: "\(script)\nstatus \(status)\n\(output)\n\(errors)") }
        return output.hasSuffix("\n") ? String(output.dropLast()) : output
    }

    /// Runs a script that must fail, and returns its status and errors.
    package func mustFail(_ script: String) throws -> (status: Int32, errors: String) {
        let (status, output, errors) = try run(script)
        guard status != 0 else { throw Waited(description: "\(script)\nsucceeded: \(output)") }
        return (status, errors)
    }

    /// Waits until a script succeeds, at most `seconds`.
    package func wait(until script: String, seconds: Int = 20) throws {
        try must("for ((i = 0; i < \(seconds * 50); i++)); do { \(script); } && exit 0; sleep 0.02; done; exit 1")
    }

    package func write(_ path: String, _ text: String, mode: String = "644") throws {
        let encoded = Data(text.utf8).base64EncodedString()
        try must("mkdir -p $(dirname \(path)); base64 -d <<<'\(encoded)' >\(path); chmod \(mode) \(path)")
    }

    // MARK: The broker in the machine

    /// Installs the package. The triggers of other packages, such as man-db's index, are left for later.
    package func install() throws {
        try must("dpkg --force-unsafe-io --no-triggers -i /package/*.deb")
    }

    /// Installs the package with the key `web` and this policy.
    package func install(policy: String) throws {
        try install()
        try write("/etc/ssl/private/web.pem", "THE KEY\n", mode: "600")
        try self.policy(policy)
    }

    package func policy(_ lines: String) throws {
        try write("/etc/keybroker/keybroker.policy", "key web /etc/ssl/private/web.pem\n\(lines)\n")
    }

    /// A command line that runs `command` as `user`. The user may connect to the broker, and is in no other group.
    package static func asUser(_ user: String, _ command: String) -> String {
        "setpriv --reuid \(user) --regid $(id -g \(user)) --groups keyusers -- \(command)"
    }

    package func property(_ name: String, of unit: String = "keybrokerd.service") throws -> String {
        try must("systemctl show --property \(name) --value \(unit)")
    }

    /// The last records of the audit log.
    package func records() throws -> [[String: Any]] {
        try must("tail -n 100 /var/log/keybroker/audit.jsonl").split(separator: "\n").compactMap {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
        }
    }
}
