// The examples of keybroker-sockets(7), so that a test does what the page says.

import Foundation
import TestSupport

/// An example of the page, with the paths and accounts of a test.
/// - Parameters:
///   - start: how the example begins.
///   - replacements: what the page says, and what the test needs there.
func example(_ start: String, _ replacements: KeyValuePairs<String, String>) throws -> String {
    let page = try String(
        contentsOf: projectFolder.appendingPathComponent("systemd/keybroker-sockets.7"), encoding: .utf8)
    let blocks = page.matches(of: #/\n\.Bd -literal [^\n]*\n((?s:.*?))\n\.Ed\n/#).map {
        String($0.1).replacing("\\e\n", with: "\\\n")
    }
    guard var text = blocks.first(where: { $0.hasPrefix(start) }) else {
        throw Waited(description: "keybroker-sockets(7) has no example that begins with '\(start)'")
    }
    for (said, meant) in replacements {
        guard text.contains(said) else { throw Waited(description: "the example '\(text)' does not say '\(said)'") }
        text = text.replacing(said, with: meant)
    }
    return text
}

/// Runs a command line in a shell, as an account without other groups.
func shell(
    _ line: String, as uid: UInt32, groups: [UInt32] = []
) throws -> (status: Int32, output: String, errors: String) {
    let groups = groups.isEmpty ? ["--clear-groups"] : ["--groups", groups.map(String.init).joined(separator: ",")]
    return try Program.run(
        installed("setpriv") ?? "setpriv",
        ["--reuid", "\(uid)", "--regid", "\(uid)"] + groups + ["/bin/sh", "-ec", line])
}
