// The project's own text, as the tests of its rules read it.

import Foundation
import TestSupport

/// The folder of all targets.
let sources = projectFolder.appendingPathComponent("Sources")

/// The Swift files below a folder, line by line. Their paths are relative to it.
func swiftFiles(_ folder: URL) throws -> [(path: String, lines: [Substring])] {
    let names = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
    return try names.filter { $0.hasSuffix(".swift") }.sorted().map { name in
        let data = try Data(contentsOf: folder.appendingPathComponent(name))
        return (
            name, String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        )
    }
}

/// A page of the project.
func page(_ path: String) throws -> String {
    try String(contentsOf: projectFolder.appendingPathComponent(path), encoding: .utf8)
}

/// A file below the folder of all targets.
func source(_ path: String) throws -> String {
    try String(contentsOf: sources.appendingPathComponent(path), encoding: .utf8)
}
