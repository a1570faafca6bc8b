import Foundation
import Kernel
import TestSupport
import Testing

@testable import Audit
import Digest

struct LogTests {
    private let folder = TemporaryFolder("log")
    private var path: String { folder["audit.jsonl"] }

    /// Verifies the chain as keybroker-audit(5) describes it. Of the product's code it uses only the hash.
    private func verify(_ lines: [Substring], before: String = String(repeating: "0", count: 64)) throws -> (
        Int, String
    ) {
        var (chain, number) = (before, 0)
        for line in lines {
            let cut = try #require(line.range(of: #","chain":""#))
            var hash = SHA256()
            hash.update(Array(chain.utf8))
            hash.update(Array(line[..<cut.lowerBound].utf8))
            chain = String(decoding: hash.finish(), as: UTF8.self)
            #expect(line[cut.upperBound...] == "\(chain)\"}")
            number = try #require(
                (JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])?["seq"] as? Int)
        }
        return (number, chain)
    }

    /// Opens the log. If it was just closed, a process that another test is starting may hold a copy of its descriptor
    /// for a moment, so this tries again.
    private func opened() throws -> AuditLog {
        let deadline = Date(timeIntervalSinceNow: 5)
        while true {
            do throws(LogError) { return try AuditLog(path, syncs: true) } catch {
                guard case .inUse = error, Date() < deadline else { throw error }
            }
        }
    }

    private func lines(_ name: String = "audit.jsonl") throws -> [Substring] {
        try folder.text(name).split(separator: "\n")
    }

    private func write(_ count: Int, to log: AuditLog) throws {
        for _ in 0..<count { _ = log.stage(Record(.request)) }
        try log.commit()
    }

    @Test func theHashIsSHA256() {
        var hash = SHA256()
        hash.update(Array("abc".utf8))
        // The example of FIPS 180-4.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(String(decoding: hash.finish(), as: UTF8.self) == expected)
    }

    @Test func numbersAndChainGoOnOverRestarts() throws {
        for _ in 0..<3 { try write(4, to: opened()) }
        #expect(try verify(lines()).0 == 12)
        #expect(try lines().count == 12)
    }

    @Test func nothingIsThereBeforeTheCommit() throws {
        let log = try opened()
        #expect(log.stage(Record(.start)) == 1)
        #expect(try folder.text("audit.jsonl").isEmpty)
        try log.commit()
        #expect(try lines().count == 1)
    }

    @Test func anUnfinishedRecordIsCutOffAndNoted() throws {
        try write(3, to: opened())
        let whole = try folder.text("audit.jsonl")
        let last = try #require(lines().last)
        // The write can end anywhere in the last line, or just before its line feed.
        for cut in [1, 2, 40, last.count - 1, last.count] {
            try folder.write("audit.jsonl", String(whole.dropLast(cut)))
            let log = try opened()
            let recovery = try #require(log.recovery)
            #expect(recovery.hasPrefix("cut off \(last.count + 1 - cut) bytes of a record that was never finished: {"))
            #expect(log.stage(Record(.start)) == 3)
            try log.commit()
            #expect(try verify(lines()).0 == 3)
        }
    }

    @Test func aLogWhoseEndWasChangedIsNotWrittenOn() throws {
        try write(3, to: opened())
        let whole = try folder.text("audit.jsonl")
        let damages = [
            whole.replacingOccurrences(of: #""seq":3"#, with: #""seq":9"#), whole + "not a record\n", whole + "\n",
            try lines().dropFirst(2).joined(separator: "\n") + "\n",
            try lines().enumerated().filter { $0.offset != 1 }.map { String($0.element) }.joined(separator: "\n")
                + "\n",
        ]
        for damage in damages {
            try folder.write("audit.jsonl", damage)
            #expect(throws: LogError.self, "\(damage)") { _ = try opened() }
            #expect(try folder.text("audit.jsonl") == damage)
        }
    }

    @Test func aRotatedLogContinues() throws {
        let log = try opened()
        try write(2, to: log)
        #expect(try !log.reopen())
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        #expect(try log.reopen())
        try write(2, to: log)
        let (_, head) = try verify(lines("audit.jsonl.1"))
        #expect(try lines()[0].contains(#","previous":"\#(head)","chain":"#))
        #expect(try lines()[1].contains("previous") == false)
        #expect(try verify(lines(), before: head).0 == 4)
    }

    @Test func aLogThatWasRotatedAwayWhileNobodyRanContinues() throws {
        try write(2, to: opened())
        try FileManager.default.moveItem(atPath: path, toPath: path + ".2")
        try write(3, to: opened())
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        try folder.write("audit.jsonl", "")
        do {
            let log = try opened()
            #expect(log.recovery == "continues \(path).1, which ends with record 5")
            try write(1, to: log)
        }
        let (_, first) = try verify(lines("audit.jsonl.2"))
        let (_, second) = try verify(lines("audit.jsonl.1"), before: first)
        #expect(try verify(lines(), before: second).0 == 6)
        // It also continues after a restart if the only record is the one with `previous`.
        #expect(try opened().stage(Record(.start)) == 7)
    }

    @Test func whatADamagedLogStillHasIsContinued() throws {
        try write(3, to: opened())
        try folder.write("audit.jsonl.damaged", try folder.text("audit.jsonl") + "garbage\n")
        try folder.remove("audit.jsonl")
        let log = try opened()
        #expect(log.stage(Record(.start)) == 4)
    }

    @Test func oneWriterOnly() throws {
        let log = try opened()
        #expect { _ = try AuditLog(path, syncs: true) } throws: { error in
            if case LogError.inUse = error { true } else { false }
        }
        try write(1, to: log)
    }

    /// Whoever may read a log may lock it (flock(2)), even on a descriptor that is open only for reading.
    /// A process that has written its last record may take long to end.
    @Test func whoWritesNoMoreLetsAnotherWrite() throws {
        let first = try opened()
        _ = first.stage(Record(.start))
        try first.commit()
        first.release()
        let second = try AuditLog(path, syncs: true)
        #expect(second.stage(Record(.start)) == 2)
        _ = first
    }

    @Test func aReadersLockStopsNobody() throws {
        func lock(_ name: String) throws -> FileHandle {
            let reader = try #require(FileHandle(forReadingAtPath: folder[name]))
            #expect(flock(reader.fileDescriptor, LOCK_EX | LOCK_NB) == 0)
            return reader
        }
        try folder.write("audit.jsonl", "")
        let reader = try lock("audit.jsonl")
        let log = try opened()
        try write(2, to: log)
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        try folder.write("audit.jsonl", "")
        let next = try lock("audit.jsonl")
        #expect(try log.reopen())
        try write(1, to: log)
        #expect(try lines().count == 1)
        withExtendedLifetime((reader, next)) {}
    }

    /// If somebody else adds or removes bytes, nothing more is written until the file is moved away as evidence.
    @Test func nothingIsWrittenAfterWhatSomebodyElseWrote() throws {
        let log = try opened()
        try write(2, to: log)
        let whole = try folder.text("audit.jsonl")
        for changed in [whole + "note\n", String(whole.dropLast(9))] {
            // These change the same inode, as `>>` in a shell and truncate(1) do.
            let handle = try #require(FileHandle(forUpdatingAtPath: path))
            try handle.truncate(atOffset: 0)
            try handle.write(contentsOf: Data(changed.utf8))
            try handle.close()
            for _ in 0..<2 {
                #expect(log.stage(Record(.request)) == 3)
                #expect { try log.commit() } throws: { "\($0)".contains("somebody else wrote to it or cut it") }
            }
            #expect(try folder.text("audit.jsonl") == changed)
        }
        try FileManager.default.moveItem(atPath: path, toPath: path + ".changed")
        #expect(try log.reopen())
        try write(1, to: log)
        let (_, head) = try verify(whole.split(separator: "\n"))
        #expect(try verify(lines(), before: head).0 == 3)
    }

    @Test func nothingIsWrittenToARemovedFile() throws {
        let log = try opened()
        try write(2, to: log)
        let kept = try folder.text("audit.jsonl")
        try folder.remove("audit.jsonl")
        for _ in 0..<2 {
            #expect(log.stage(Record(.request)) == 3)
            #expect { try log.commit() } throws: { "\($0)".contains("the file was removed") }
        }
        #expect(try log.reopen())
        try write(1, to: log)
        let (_, head) = try verify(kept.split(separator: "\n"))
        #expect(try verify(lines(), before: head).0 == 3)
    }

    @Test func linksAndOtherThingsAreNotALog() throws {
        try folder.write("real", "")
        try folder.link("audit.jsonl", to: "real")
        #expect(throws: LogError.self) { _ = try opened() }
        try folder.remove("audit.jsonl")
        try folder.directory("audit.jsonl")
        #expect(throws: LogError.self) { _ = try opened() }
    }
}
