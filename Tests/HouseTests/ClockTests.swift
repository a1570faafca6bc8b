// The clock of the machine can jump. Nothing that the daemon grants or waits for depends on the time of day.

import Foundation
import TestSupport
import Testing

struct ClockTests {
    /// Where the daemon may name the time of day: it writes it down, and tells one content of a file from another.
    /// It compares times only at the start of an empty log: those of rotated files, to find that the newest one is
    /// compressed.
    private static let mayName: Set<String> = [
        "Kernel/Events/Clock.swift", "Kernel/Descriptors/FileStatus.swift", "Audit/Record.swift",
        "Audit/RotatedFile.swift", "Broker/Ledger.swift",
    ]

    @Test func nothingInTheDaemonComparesTheTimeOfDay() throws {
        for target in ["Kernel", "Keys", "NameLookup", "Policy", "PolicyLoading", "Audit", "Broker", "keybrokerd"] {
            let folder = projectFolder.appendingPathComponent("Sources/\(target)")
            let names = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
            for name in names where name.hasSuffix(".swift") {
                let text = String(decoding: try Data(contentsOf: folder.appendingPathComponent(name)), as: UTF8.self)
                let isNamed = text.contains(#/\bWallTime\b|CLOCK_REALTIME|gettimeofday|\btime\(nil\)/#)
                #expect(!isNamed || Self.mayName.contains("\(target)/\(name)"), "\(target)/\(name)")
            }
        }
        // Two moments of the day can be told apart, but elsewhere none is earlier than the other.
        let clock = projectFolder.appendingPathComponent("Sources/Kernel/Events/Clock.swift")
        let text = String(decoding: try Data(contentsOf: clock), as: UTF8.self)
        #expect(text.contains("struct WallTime: Equatable, Sendable {"))
    }
}
