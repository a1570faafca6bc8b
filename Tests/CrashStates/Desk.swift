// The auditor's side: `verify` as the tool does it, on files in memory of the system.
//
// Must never judge by itself: the real reader does.

internal import AuditReading
internal import Foundation
internal import Kernel

/// A folder that files are laid out in, and verified.
final class Desk {
    private let folder: String
    private var laid: [String: [UInt8]] = [:]

    init() throws {
        let memory = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : "/tmp"
        folder = "\(memory)/keybroker-crash-\(UUID().uuidString.prefix(8))"
        _ = try makeDirectory(folder, mode: 0o700)
    }

    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func path(_ name: String) -> String { "\(folder)/\(name.split(separator: "/").last ?? "")" }

    private func lay(_ files: [(name: String, bytes: [UInt8])]) throws(Failure) {
        let wanted = Set(files.map(\.name))
        for name in laid.keys where !wanted.contains(name) {
            try removeFile(path(name))
            laid[name] = nil
        }
        for (name, bytes) in files where laid[name] != bytes {
            let file = try AppendFile(path(name))
            try file.cut(to: 0)
            var written = 0
            try file.append(bytes, counting: &written)
            laid[name] = bytes
        }
    }

    /// The first thing that is wrong with the log, or nil; how many records verify; and whether the first file is there.
    func verify(
        _ files: [(name: String, bytes: [UInt8])], expecting head: String? = nil
    ) throws -> (fault: Unverified?, records: Int, isWhole: Bool) {
        try lay(files)
        var reader = LogReader(try LogFiles(of: path(Machine.log)).paths, expecting: head)
        do throws(Unverified) {
            while try reader.next() != nil {}
            _ = try reader.verifier.recordsSinceExpected()
            return (nil, reader.verifier.records, !reader.verifier.beginsAfterAnother)
        } catch { return (error, reader.verifier.records, false) }
    }
}
