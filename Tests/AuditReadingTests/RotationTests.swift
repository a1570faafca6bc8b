// A log is read aright while it is written, rotated and compressed: at each moment at which that may happen.

import AuditReading
import Foundation
import TestSupport
import Testing

struct RotationTests {
    private let folder = TemporaryFolder("rotation")
    private let lines = chained(
        (1...9).map { #""seq":\#($0),"time":"2026-11-23T13:00:05Z","event":"request","detail":"\#($0)""# }
    ).map { $0 + "\n" }

    /// A log in three files with two records each.
    init() throws {
        try folder.write("log.2", lines[0..<2].joined())
        try folder.write("log.1", lines[2..<4].joined())
        try folder.write("log", lines[4..<6].joined())
    }

    private func found() throws -> LogFiles { try LogFiles(of: folder["log"]) }

    private func names(_ files: LogFiles) -> [String] { files.paths.map { URL(fileURLWithPath: $0).lastPathComponent } }

    /// What logrotate does, with `delaycompress`.
    private func rotate(_ text: String) throws {
        try folder.shell("[ ! -e log.2 ] || mv log.2 log.3; gzip log.1; mv log.1.gz log.2.gz; mv log log.1")
        try folder.write("log", text)
    }

    /// The numbers of all records. Fails if one of them does not verify.
    private func numbers(
        _ log: LogFiles, goesOn: Bool = false, pausing pause: @escaping (Duration) -> Void = { _ in }
    ) throws -> [UInt64] {
        var reader = LogReader(log, goesOn: goesOn, pausing: pause)
        var numbers: [UInt64] = []
        while let record = try reader.next() { numbers.append(record.number(.seq) ?? 0) }
        #expect(reader.fault == nil)
        return numbers
    }

    /// The compressed file grows beside the original until it is whole, and then the original goes.
    @Test func aFileThatIsBeingCompressedIsOne() throws {
        try folder.shell("gzip -c log.2 >whole")
        let whole = try Data(contentsOf: URL(fileURLWithPath: folder["whole"]))
        try folder.remove("whole")
        for count in Array(0..<20) + stride(from: 20, to: whole.count, by: 16) + [whole.count] {
            try folder.write("log.2.gz", whole.prefix(count))
            #expect(names(try found()) == ["log.2", "log.1", "log"], "\(count) bytes")
            let named = try LogFiles(named: ["log", "log.2.gz", "log.1", "log.2"].map { folder[$0] })
            #expect(names(named) == ["log.2", "log.1", "log"], "\(count) bytes")
        }
        let before = try found()
        try folder.remove("log.2")
        #expect(try numbers(before) == Array(1...6))
        #expect(names(try found()) == ["log.2.gz", "log.1", "log"])
        // Beside a file that is compressed in another way there is nothing to say, as long as the original is there.
        for ending in ["xz", "bz2", "zst"] {
            try folder.write("log.1.\(ending)", "compressed")
            #expect(try found().unreadable.isEmpty)
        }
        try folder.remove("log.1")
        #expect(try found().unreadable.count == 3)
    }

    /// A compressed file that only has such a name is another file.
    @Test func compressedRecordsOfOthersAreNotLeftOut() throws {
        try folder.shell("gzip log.2; mv log.2.gz log.1.gz")
        let all = ["log.1.gz", "log.1", "log"]
        #expect(names(try found()) == all)
        #expect(names(try LogFiles(named: all.map { folder[$0] })) == all)
        #expect(try numbers(try found()) == Array(1...6))
    }

    @Test(arguments: [true, false]) func aRotationAfterTheFilesWereFound(_ goesOn: Bool) throws {
        let before = try found()
        try rotate(lines[6])
        #expect(try numbers(before, goesOn: goesOn) == Array(1...7))
    }

    /// The new file is still empty: the one that was rotated away is read all the same.
    @Test func aNewFileWithoutRecords() throws {
        let before = try found()
        try rotate("")
        var reader = LogReader(before)
        while try reader.next() != nil {}
        #expect(reader.verifier.lastNumber == 6)
        #expect(reader.filesRead == 4)
    }

    /// After a rotation the daemon writes to the old file until it sees the new one.
    @Test func theOldFileIsWrittenForAMoment() throws {
        try rotate("")
        var reader = LogReader(try found(), goesOn: true, follows: true) { _ in }
        func next() throws -> UInt64? { try reader.next()?.number(.seq) }
        for number in 1...6 as ClosedRange<UInt64> { #expect(try next() == number) }
        #expect(try next() == nil)
        try folder.shell("cat >>log.1 <<'END'\n\(lines[6])END")
        #expect(try next() == 7)
        #expect(try next() == nil)
        try folder.write("log", lines[7])
        #expect(try next() == 8)
        #expect(try next() == nil)
        #expect(reader.fault == nil)
        // It is followed as any other.
        try rotate(lines[8])
        #expect(try next() == 9)
    }

    /// What is open is read to its end, and then what came after it.
    @Test(arguments: 0...6) func rotationsOnTheWay(_ readBefore: UInt64) throws {
        var reader = LogReader(try found()) { _ in }
        var numbers: [UInt64] = []
        func read(upTo last: UInt64) throws {
            while numbers.last ?? 0 < last, let record = try reader.next() { numbers.append(record.number(.seq) ?? 0) }
        }
        try read(upTo: readBefore)
        try rotate(lines[6])
        try folder.shell("gzip log.3; mv log.2.gz log.4.gz; mv log.4.gz log.2.gz")
        try read(upTo: .max)
        // The log itself may have been open: then it ends where it ended.
        #expect(numbers == Array(1...(readBefore < 5 ? 7 : 6)))
    }

    /// After a fault nothing is verified, and nothing is shown twice.
    @Test func aRotationAfterAFault() throws {
        try folder.write("log.1", lines[2] + "no record\n" + lines[3])
        var reader = LogReader(try found(), goesOn: true) { _ in }
        var numbers: [UInt64] = []
        for _ in 0..<4 { numbers.append(try reader.next()?.number(.seq) ?? 0) }
        #expect(reader.fault?.kind == .notARecord)
        try rotate(lines[6])
        while let record = try reader.next() { numbers.append(record.number(.seq) ?? 0) }
        #expect(numbers == Array(1...7))
    }

    /// Between the renaming and the making there is no log. It is waited for, a few times.
    @Test func theLogIsNotThereForAMoment() throws {
        try folder.shell("mv log.1 log.3; mv log.2 log.4; mv log log.2")
        var pauses = 0
        let numbers = try numbers(try found()) { [folder, lines] _ in
            pauses += 1
            if pauses == 3 { _ = try? folder.write("log", lines[6]) }
        }
        #expect(numbers == Array(1...7))
        #expect(pauses == 3)
        try folder.remove("log")
        var more = 0
        var reader = LogReader(try found(), goesOn: true) { _ in more += 1 }
        while try reader.next() != nil {}
        #expect(reader.fault?.kind == .unreadable)
        #expect(more < 10)
    }

    /// The names that a shell found: what they mean now is read.
    @Test func namedFilesMayBeRotatedToo() throws {
        let named = try LogFiles(named: ["log.2", "log.1", "log"].map { folder[$0] })
        var reader = LogReader(named)
        var numbers = [try reader.next()?.number(.seq)]
        // The oldest one gets a name that nobody said, but it is open.
        try folder.shell("mv log.2 log.3; mv log.1 log.2; mv log log.1")
        try folder.write("log", lines[6])
        while let record = try reader.next() { numbers.append(record.number(.seq)) }
        #expect(numbers == Array(1...7))
    }

    @Test func aRecordThatIsBeingWritten() throws {
        let line = lines[6]
        try folder.write("log", lines[4..<6].joined() + line.prefix(50))
        var pauses = 0
        let complete = try numbers(try found()) { [folder, lines] _ in
            pauses += 1
            let seen = pauses < 3 ? line.prefix(50 + pauses) : line[...]
            _ = try? folder.write("log", lines[4..<6].joined() + seen)
        }
        #expect(complete == Array(1...7))
        #expect(pauses == 3)
        // If nobody goes on writing, it is cut off.
        try folder.write("log", lines[4..<6].joined() + line.prefix(50))
        var more = 0
        var reader = LogReader(try found(), goesOn: true) { _ in more += 1 }
        while try reader.next() != nil {}
        #expect(reader.fault?.kind == .cut)
        #expect((1..<10).contains(more))
    }
}
