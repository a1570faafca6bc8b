// A temporary folder for one test. It is removed together with its object.

package import Foundation

package final class TemporaryFolder: Sendable {
    package let path: String

    package init(_ name: String = #function) {
        let word = name.prefix { $0.isLetter || $0.isNumber }
        path = "/tmp/keybroker-test-\(word)-\(UUID().uuidString.prefix(8))"
        try? FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o755])
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    package subscript(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file with exactly this mode and owner.
    @discardableResult
    package func write(_ name: String, _ text: String, mode: Int = 0o644, owner: Int? = nil) throws -> String {
        try write(name, Data(text.utf8), mode: mode, owner: owner)
    }

    @discardableResult
    package func write(_ name: String, _ data: Data, mode: Int = 0o644, owner: Int? = nil) throws -> String {
        try data.write(to: URL(fileURLWithPath: self[name]))
        try setAttributes(name, mode: mode, owner: owner)
        return self[name]
    }

    @discardableResult
    package func directory(_ name: String, mode: Int = 0o755, owner: Int? = nil) throws -> String {
        try FileManager.default.createDirectory(atPath: self[name], withIntermediateDirectories: true)
        try setAttributes(name, mode: mode, owner: owner)
        return self[name]
    }

    package func link(_ name: String, to target: String) throws {
        try FileManager.default.createSymbolicLink(atPath: self[name], withDestinationPath: target)
    }

    package func setAttributes(_ name: String, mode: Int, owner: Int? = nil) throws {
        var attributes: [FileAttributeKey: Any] = [.posixPermissions: mode]
        if let owner { attributes[.ownerAccountID] = owner }
        try FileManager.default.setAttributes(attributes, ofItemAtPath: self[name])
    }

    package func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: self[name]) }

    /// Runs a shell command in the folder, for what Foundation cannot do. Throws if it fails.
    package func shell(_ line: String) throws {
        let (status, _, errors) = try Program.run("/bin/sh", ["-ec", line], directory: path)
        if status != 0 { throw Waited(description: "\(line): status \(status), \(errors)") }
    }

    package func text(_ name: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: self[name])), as: UTF8.self)
    }
}

/// Whether tests that need root can run. CI runs as root. Elsewhere such tests report that they were skipped.
package var isRoot: Bool { geteuid() == 0 }

/// The folder with the sources of the tests.
package let testsFolder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
/// The project's top folder.
package let projectFolder = testsFolder.deletingLastPathComponent()
