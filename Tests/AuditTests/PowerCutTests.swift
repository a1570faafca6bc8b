// What a power cut leaves of a log, one case for each defect that was found. Tests/CrashTests tries all cases.

import Foundation
import Kernel
import TestSupport
import Testing

@testable import Audit

struct PowerCutTests {
    private let folder = TemporaryFolder("powercut")
    private var path: String { folder["audit.jsonl"] }
    private let zeros = String(repeating: "\0", count: 4096)

    /// Opens the log. A process that another test is starting may hold a copy of the lock for a moment.
    private func opened(syncs: Bool = true) throws -> AuditLog {
        let deadline = Date(timeIntervalSinceNow: 5)
        while true {
            do throws(LogError) { return try AuditLog(path, syncs: syncs) } catch {
                guard case .inUse = error, Date() < deadline else { throw error }
            }
        }
    }

    private func write(_ events: [Record.Event], to log: AuditLog) throws {
        for event in events { _ = log.stage(Record(event)) }
        try log.commit()
    }

    /// A log of these records, in one file. Returns its lines with their line feeds.
    private func lines(_ events: [Record.Event]) throws -> [String] {
        try write(events, to: opened())
        return try folder.text("audit.jsonl").split(separator: "\n").map { $0 + "\n" }
    }

    private func hidden() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.contains(".cut-") }
    }

    /// The file has its new size, but not its data.
    @Test func zerosAtTheEndAreCutOff() throws {
        let whole = try lines([.start, .request]).joined()
        try folder.write("audit.jsonl", whole + zeros)
        let log = try opened()
        #expect(
            log.recovery
                == "cut off 4096 bytes of a record that was never finished, 4096 of them zeros, as a power cut leaves them"
        )
        #expect(log.stage(Record(.start)) == 3)
        #expect(try folder.text("audit.jsonl") == whole)
        #expect(try hidden().isEmpty)
    }

    /// Of one write, a later block is there and an earlier one is not. The last two records look good, but continuing
    /// after them would leave a log that never verifies.
    @Test func aWriteWithAHoleIsCutOffAndKept() throws {
        let lines = try lines([.start, .request, .request, .request, .request, .request])
        let good = lines[..<2].joined()
        let half = lines[2].count / 2
        let rest = String(repeating: "\0", count: half) + lines[2].dropFirst(half) + lines[3...].joined()
        for end in ["", lines[5].prefix(30) + ""] {
            try folder.write("audit.jsonl", good + rest + end)
            do {
                let log = try opened()
                let kept = folder[".audit.jsonl.cut-3"]
                let recovery = try #require(log.recovery)
                let count = (rest + end).utf8.count
                #expect(recovery.hasPrefix("cut off \(count) bytes of records that were never finished"))
                #expect(recovery.hasSuffix("; they are kept in \(kept)"))
                #expect(log.stage(Record(.start)) == 3)
            }
            #expect(try folder.text("audit.jsonl") == good)
            #expect(try folder.text(".audit.jsonl.cut-3") == rest + end)
            try folder.remove(".audit.jsonl.cut-3")
        }
    }

    /// The file of lines that were cut off cannot be made, so that they would be lost.
    @Test func whatCannotBeKeptIsNotCutOff() throws {
        let lines = try lines([.start, .request, .request])
        let text = lines[0] + zeros + lines[1].dropFirst(9) + lines[2]
        try folder.write("audit.jsonl", text)
        try folder.directory(".audit.jsonl.cut-2")
        #expect { _ = try opened() } throws: { "\($0)".contains("zeros and then records, which cannot be kept in") }
        #expect(try folder.text("audit.jsonl") == text)
    }

    /// A daemon of an older version went on behind such a hole. Its records were durable, so they stay.
    @Test func aHoleBeforeTheLastStartStaysWhereItIs() throws {
        let lines = try lines([.start, .request, .request, .start, .request])
        let text = lines[0] + zeros + lines[2].dropFirst(9) + lines[3] + lines[4]
        try folder.write("audit.jsonl", text)
        #expect(try opened().stage(Record(.start)) == 6)
        #expect(try folder.text("audit.jsonl") == text)
    }

    /// Without fdatasync(2) nothing was durable, but no more is cut off than must be.
    @Test func withoutSyncAGoodEndIsContinued() throws {
        let lines = try lines([.start, .request, .request, .request, .request])
        let text = lines[0] + zeros + lines[2].dropFirst(9) + lines[3] + lines[4]
        try folder.write("audit.jsonl", text)
        #expect(try opened(syncs: false).stage(Record(.start)) == 6)
        #expect(try folder.text("audit.jsonl") == text)
    }

    /// The log was rotated while the last write to the old file was under way.
    @Test(arguments: [false, true]) func theEndOfARotatedFileIsMended(_ hasHole: Bool) throws {
        let lines = try lines([.start, .request, .request, .request])
        try folder.remove("audit.jsonl")
        let torn = hasHole ? zeros + lines[2].dropFirst(9) + lines[3] : lines[2].dropLast(20) + ""
        try folder.write("audit.jsonl.1", lines[0] + lines[1] + torn)
        try folder.write("audit.jsonl", "")
        let log = try opened()
        #expect(log.recovery?.hasPrefix("continues \(path).1, which ends with record 2; cut off ") == true)
        #expect(log.stage(Record(.start)) == 3)
        #expect(try folder.text("audit.jsonl.1") == lines[0] + lines[1])
        #expect(try hidden().count == (hasHole ? 1 : 0))
    }

    /// A file that was begun, and rotated away before its first record was whole.
    @Test func aRotatedFileThatWasOnlyBegunIsEmptied() throws {
        let lines = try lines([.start, .request, .request])
        try folder.remove("audit.jsonl")
        try folder.write("audit.jsonl.2", lines[0] + lines[1])
        try folder.write("audit.jsonl.1", lines[2].dropLast(9) + "")
        try folder.write("audit.jsonl.notes", "rotated by hand")
        #expect(try opened().stage(Record(.start)) == 3)
        #expect(try folder.text("audit.jsonl.1").isEmpty)
        #expect(try folder.text("audit.jsonl.notes") == "rotated by hand")
    }

    /// The numbers of a compressed file are not given again.
    @Test func anEmptyLogAfterACompressedOneIsNotBegun() throws {
        let whole = try lines([.start, .request]).joined()
        try folder.shell("mv audit.jsonl audit.jsonl.1; gzip audit.jsonl.1; : >audit.jsonl")
        #expect { _ = try opened() } throws: { "\($0)".contains("Decompress \(path).1.gz (with gzip: gunzip ") }
        #expect(try folder.text("audit.jsonl").isEmpty)
        try folder.shell("gunzip audit.jsonl.1.gz")
        #expect(try opened().stage(Record(.start)) == 3)
        #expect(try folder.text("audit.jsonl.1") == whole)
        // Older files may be compressed, as with delaycompress.
        try folder.shell("cp audit.jsonl.1 audit.jsonl.2; gzip audit.jsonl.2; touch -d yesterday audit.jsonl.2.gz")
        #expect(try opened().stage(Record(.start)) == 3)
    }
}
