// Every kind of damage to a log is found and named correctly. An independent verifier in another language agrees.

import Audit
import AuditReading
import Foundation
import Kernel
import TestSupport
import Testing
import Digest

struct VerificationTests {
    private let folder = TemporaryFolder("verify")

    /// The lines of a log with this number of records.
    private func log(_ count: Int, _ name: String = "a") throws -> [String] {
        do {
            let log = try AuditLog(folder[name], syncs: false)
            for number in 0..<count {
                var record = Record(.request)
                record.detail = "record \(number) with \"quotes\" and ,\"chain\":"
                _ = log.stage(record)
            }
            try log.commit()
        }
        return try folder.text(name).split(separator: "\n").map(String.init)
    }

    /// The link at the end of a line.
    private func chain(_ line: String) -> String { String(line.dropLast(2).suffix(64)) }

    private func digest(_ text: String) -> String {
        var hash = SHA256()
        hash.update(Array(text.utf8))
        return String(decoding: hash.finish(), as: UTF8.self)
    }

    private func verify(_ names: [String], expect: String? = nil) -> Unverified? {
        do throws(Unverified) {
            var reader = LogReader(names.map { folder[$0] }, expecting: expect)
            while try reader.next() != nil {}
            _ = try reader.verifier.recordsSinceExpected()
            return nil
        } catch { return error }
    }

    /// The result of the independent verifier. Nil if Python is not installed.
    private func theirs(_ names: [String]) throws -> (status: Int32, output: String, errors: String)? {
        guard let python = installed("python3") else {
            print("skipped: python3 is not installed")
            return nil
        }
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/verify.py").path
        return try Program.run(python, [script] + names.map { folder[$0] })
    }

    private func verify(lines: [String]) throws -> Unverified? {
        try folder.write("b", lines.map { $0 + "\n" }.joined())
        let ours = verify(["b"])
        if let theirs = try theirs(["b"]) { #expect((ours == nil) == (theirs.status == 0), "\(theirs.errors)") }
        return ours
    }

    @Test func whatWasWritten() throws {
        let lines = try log(20)
        #expect(try verify(lines: lines) == nil)
        #expect(try verify(lines: Array(lines.prefix(7))) == nil)
        var reader = LogReader([folder["a"]])
        while try reader.next() != nil {}
        let verifier = reader.verifier
        #expect(verifier.records == 20)
        #expect(try #require(lines.last).hasSuffix("\"chain\":\"\(verifier.head)\"}"))
    }

    @Test func everyKindOfDamage() throws {
        let lines = try log(20)
        var changed = lines
        changed[9] = changed[9].replacing("record 9", with: "record 8")
        #expect(
            try verify(lines: changed)?.description
                == "\(folder["b"]):10: record 10 was changed, or the one before it was: the chain does not match")
        var missing = lines
        missing.removeSubrange(4...5)
        #expect(
            try verify(lines: missing)?.description == "\(folder["b"]):5: records 5 to 6 are missing before record 7")
        #expect(try verify(lines: Array(lines.dropFirst()))?.kind == .missing)
        var inserted = lines
        inserted.insert(lines[3], at: 10)
        #expect(try verify(lines: inserted)?.kind == .inserted)
        var swapped = lines
        swapped.swapAt(3, 4)
        #expect(try verify(lines: swapped)?.kind == .missing)
        // If the record gets a new link of its own, the next record shows it.
        var forged = lines
        let link = chain(lines[7])
        let record = lines[8].prefix(while: { _ in true }).replacing("record 8", with: "record 7").dropLast(64 + 12)
        forged[8] = "\(record),\"chain\":\"\(digest(link + record))\"}"
        #expect(try verify(lines: forged)?.description.contains("record 10 was changed, or the one before it") == true)
        // If the end is cut off, only a head that was noted before shows it.
        try folder.write("c", lines.prefix(19).map { $0 + "\n" }.joined())
        #expect(verify(["c"]) == nil)
        #expect(verify(["c"], expect: chain(lines[19]))?.kind == .headUnknown)
        #expect(verify(["a"], expect: chain(lines[7])) == nil)
        // Cut in the middle of a line.
        try folder.write("d", String(lines.map { $0 + "\n" }.joined().dropLast(20)))
        #expect(verify(["d"])?.kind == .cut)
        try folder.write("e", String(repeating: "x", count: 1 << 20))
        #expect(verify(["e"])?.kind == .notARecord)
        #expect(verify(["none"])?.kind == .unreadable)
    }

    /// No byte of a log can be changed without being noticed.
    @Test func everyChangedByteIsFound() throws {
        let bytes = Array(try log(3).map { $0 + "\n" }.joined().utf8)
        for position in bytes.indices {
            for mask in [0x01, 0x80] as [UInt8] {
                var damaged = bytes
                damaged[position] ^= mask
                try folder.write("b", Data(damaged))
                #expect(verify(["b"]) != nil, "byte \(position)")
            }
        }
    }

    /// A log in three files with three, three and one records.
    private func rotated() throws {
        let log = try AuditLog(folder["r"], syncs: false)
        for name in ["r.2", "r.1"] {
            for _ in 0..<3 { _ = log.stage(Record(.request)) }
            try log.commit()
            try folder.shell("mv r \(name)")
            #expect(try log.reopen())
        }
        _ = log.stage(Record(.request))
        try log.commit()
    }

    @Test func rotatedFiles() throws {
        try rotated()
        try folder.write("r.0.xz", "compressed")
        let log = try LogFiles(of: folder["r"])
        #expect(log.paths == ["r.2", "r.1", "r"].map { folder[$0] })
        #expect(log.unreadable == [folder["r.0.xz"]])
        #expect(verify(["r.2", "r.1", "r"]) == nil)
        // Verification can begin in the middle, and the result says so.
        #expect(verify(["r.1", "r"]) == nil)
        #expect(verify(["r.2", "r"])?.kind == .missing)
        #expect(verify(["r", "r.1"])?.kind == .inserted)
        var reader = LogReader([folder["r"]])
        while try reader.next() != nil {}
        #expect(reader.verifier.beginsAfterAnother == true)
        #expect(reader.verifier.firstNumber == 7)
        // The files in the order in which a shell lists them.
        let named = try LogFiles(named: ["r", "r.1", "r.2"].map { folder[$0] })
        #expect(named.paths == log.paths)
    }

    /// Files compressed as logrotate does it. A truncated or damaged file is not taken for a complete one.
    @Test func compressedFiles() throws {
        try rotated()
        try folder.shell("gzip r.2")
        #expect(try LogFiles(of: folder["r"]).paths == ["r.2.gz", "r.1", "r"].map { folder[$0] })
        #expect(verify(["r.2.gz", "r.1", "r"]) == nil)
        if let theirs = try theirs(["r.2.gz", "r.1", "r"]) { #expect(theirs.status == 0, "\(theirs.errors)") }
        try folder.shell("gzip -c r.1 >> r.2.gz")
        #expect(verify(["r.2.gz", "r"]) == nil)
        let whole = try Data(contentsOf: URL(fileURLWithPath: folder["r.2.gz"]))
        for cut in stride(from: 20, to: whole.count - 1, by: 7) {
            try folder.write("cut.gz", whole.prefix(cut))
            // If it is cut exactly between the two members, it looks complete, but records are missing after it.
            if verify(["cut.gz"]) == nil { #expect(verify(["cut.gz", "r"])?.kind == .missing) }
        }
        var damaged = whole
        damaged[whole.count / 3] ^= 0x10
        try folder.write("damaged.gz", damaged)
        #expect(verify(["damaged.gz", "r"]) != nil)
    }

    /// Whatever bytes a file contains, reading on after the fault ends, and reports what was wrong.
    @Test func anyBytesAreReadToTheEnd() throws {
        let lines = try log(6)
        var random = SystemRandomNumberGenerator()
        for round in 0..<200 {
            var bytes = Array(lines.map { $0 + "\n" }.joined().utf8)
            for _ in 0..<(1 + round % 9) {
                let place = bytes.indices.randomElement(using: &random) ?? 0
                switch round % 3 {
                case 0: bytes[place] = UInt8.random(in: .min ... .max)
                case 1: bytes.removeSubrange(place..<min(place + 40, bytes.count))
                default: bytes.insert(contentsOf: [0x0A, 0x00, 0xFF, 0x22, 0x1B], at: place)
                }
                if bytes.isEmpty { break }
            }
            try folder.write("b", Data(bytes))
            var reader = LogReader([folder["b"]], goesOn: true)
            var count = 0
            while let record = try reader.next() {
                count += 1
                for field in LoggedRecord.Field.allCases { _ = (record.text(field), record.number(field)) }
                _ = record.numbers(.groups)
            }
            #expect(reader.verifier.records == 6 || reader.fault != nil || bytes.isEmpty || count < 6)
        }
    }
}
