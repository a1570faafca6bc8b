// A reader that follows a log goes on where others stop: with what was added, and in the files that came after a rotation.

import AuditReading
import Foundation
import TestSupport
import Testing

struct FollowingTests {
    private let folder = TemporaryFolder("following")

    private static func record(_ seq: Int) -> String {
        #""seq":\#(seq),"time":"2026-11-23T13:00:05Z","event":"request","detail":"\#(seq)""#
    }
    /// The lines of one log.
    private let lines = chained((1...9).map(record)).map { $0 + "\n" }

    private func append(_ text: String, _ name: String = "log") throws {
        try folder.write(name, ((try? folder.text(name)) ?? "") + text)
    }

    private func move(_ name: String, to other: String) throws {
        try FileManager.default.moveItem(atPath: folder[name], toPath: folder[other])
    }

    /// The numbers of the records that can be read now.
    private func numbers(_ reader: inout LogReader) throws -> [UInt64] {
        var numbers: [UInt64] = []
        while let record = try reader.next() { numbers.append(record.number(.seq) ?? 0) }
        return numbers
    }

    @Test func whatIsAddedIsRead() throws {
        try append(lines[0])
        var reader = LogReader([folder["log"]], follows: true)
        #expect(try numbers(&reader) == [1])
        #expect(try numbers(&reader) == [])
        let half = lines[1].prefix(40)
        try append(String(half))
        #expect(try numbers(&reader) == [])
        try append(lines[1].dropFirst(40) + lines[2])
        #expect(try numbers(&reader) == [2, 3])
        let hasShrunk = reader.followedFileShrank()
        #expect(!hasShrunk)
    }

    @Test func severalRotationsCanGoBy() throws {
        try append(lines[0])
        var reader = LogReader([folder["log"]], follows: true)
        #expect(try numbers(&reader) == [1])
        // What was added before the rotation is read first.
        try append(lines[1])
        try move("log", to: "log.2")
        try append(lines[2] + lines[3], "log.1")
        // The new log is there, but has no record yet: the old one may still be written.
        try append("")
        #expect(try numbers(&reader) == [2])
        try append(lines[4])
        #expect(try numbers(&reader) == [3, 4, 5])
        #expect(reader.verifier.records == 5)
    }

    /// A new file without later records is not taken for the next one.
    @Test func aFileOfAnotherLogIsReportedOrLeft() throws {
        try append(lines[0] + lines[1])
        var reader = LogReader([folder["log"]], goesOn: true, follows: true)
        #expect(try numbers(&reader) == [1, 2])
        try move("log", to: "log.1")
        try append(lines[0])
        #expect(try numbers(&reader) == [1])
        #expect(reader.fault?.kind == .inserted)
    }

    @Test func aFileThatBecameShorterIsNoticed() throws {
        try append(lines[0] + lines[1])
        var reader = LogReader([folder["log"]], follows: true)
        #expect(try numbers(&reader) == [1, 2])
        let before = reader.followedFileShrank()
        // The same file, and not another one of its name.
        let file = try #require(FileHandle(forWritingAtPath: folder["log"]))
        try file.truncate(atOffset: 10)
        try file.close()
        let after = reader.followedFileShrank()
        try folder.remove("log")
        let whenGone = reader.followedFileShrank()
        #expect([before, after, whenGone] == [false, true, false])
    }

    @Test func aReaderThatDoesNotFollowHasNothingToShrink() throws {
        try append(lines[0])
        var reader = LogReader([folder["log"]])
        #expect(try numbers(&reader) == [1])
        let hasShrunk = reader.followedFileShrank()
        #expect(!hasShrunk)
    }

    @Test func aFileThatIsNotThereIsAFault() throws {
        var reader = LogReader([folder["none"]], goesOn: true)
        #expect(try numbers(&reader) == [])
        #expect(reader.fault?.kind == .unreadable)
    }
}
