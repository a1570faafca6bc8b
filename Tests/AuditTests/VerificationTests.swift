// Every kind of damage to a log is found, and said to be what it is; a verifier in another language agrees.

import Foundation
import Kernel
import TestSupport
import Testing

@testable import Audit

struct VerificationTests {
    private let sandbox = Sandbox("verify")

    /// A log of so many records, as its lines.
    private func log(_ count: Int, _ name: String = "a") throws -> [String] {
        do {
            let log = try AuditLog(sandbox[name], syncs: false)
            for number in 0..<count {
                var record = Record(.request)
                record.detail = "record \(number) with \"quotes\" and ,\"chain\":"
                _ = log.stage(record)
            }
            try log.commit()
        }
        return try sandbox.text(name).split(separator: "\n").map(String.init)
    }

    private func verify(_ names: [String], expect: String? = nil) -> Unverified? {
        do throws(Unverified) {
            var verifier = Verifier(expected: expect)
            for name in names { try verifier.verify(sandbox[name]) }
            _ = try verifier.recordsSinceExpected()
            return nil
        } catch { return error }
    }

    private func verify(lines: [String]) throws -> Unverified? {
        try sandbox.write("b", lines.map { $0 + "\n" }.joined())
        let ours = verify(["b"])
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/verify.py").path
        let theirs = try Program.run(installed("python3") ?? "python3", [script, sandbox["b"]])
        #expect((ours == nil) == (theirs.status == 0), "\(theirs.errors)")
        return ours
    }

    @Test func whatWasWritten() throws {
        let lines = try log(20)
        #expect(try verify(lines: lines) == nil)
        #expect(try verify(lines: Array(lines.prefix(7))) == nil)
        var verifier = Verifier()
        try verifier.verify(sandbox["a"])
        #expect(verifier.records == 20)
        #expect(try #require(lines.last).hasSuffix("\"chain\":\"\(verifier.head)\"}"))
    }

    @Test func everyKindOfDamage() throws {
        let lines = try log(20)
        var changed = lines
        changed[9] = changed[9].replacing("record 9", with: "record 8")
        #expect(
            try verify(lines: changed)?.description
                == "\(sandbox["b"]):10: record 10 was changed, or the one before it was: the chain does not match")
        var missing = lines
        missing.removeSubrange(4...5)
        #expect(
            try verify(lines: missing)?.description == "\(sandbox["b"]):5: records 5 to 6 are missing before record 7")
        #expect(try verify(lines: Array(lines.dropFirst()))?.kind == .missing)
        var inserted = lines
        inserted.insert(lines[3], at: 10)
        #expect(try verify(lines: inserted)?.kind == .inserted)
        var swapped = lines
        swapped.swapAt(3, 4)
        #expect(try verify(lines: swapped)?.kind == .missing)
        // Changed with its own chain value made anew: the next one tells.
        var forged = lines
        let taken = try #require(Link.taken(from: Array(lines[8].utf8)[...]))
        let before = try #require(Link.taken(from: Array(lines[7].utf8)[...])).link
        let record = Array(String(decoding: taken.record, as: UTF8.self).replacing("record 8", with: "record 7").utf8)
        forged[8] = String(decoding: before.next(over: record).closing(record).dropLast(), as: UTF8.self)
        #expect(try verify(lines: forged)?.description.contains("record 10 was changed, or the one before it") == true)
        // Cut at its end: only a head that was kept tells.
        let head = try #require(Link.taken(from: Array(lines[19].utf8)[...])).link
        try sandbox.write("c", lines.prefix(19).map { $0 + "\n" }.joined())
        #expect(verify(["c"]) == nil)
        #expect(verify(["c"], expect: String(decoding: head.digits, as: UTF8.self))?.kind == .headUnknown)
        #expect(verify(["a"], expect: String(decoding: before.digits, as: UTF8.self)) == nil)
        // In the middle of a line.
        try sandbox.write("d", String(lines.map { $0 + "\n" }.joined().dropLast(20)))
        #expect(verify(["d"])?.kind == .cut)
        try sandbox.write("e", String(repeating: "x", count: 1 << 20))
        #expect(verify(["e"])?.kind == .notARecord)
        #expect(verify(["none"])?.kind == .unreadable)
    }

    /// No single byte of a log can be another one.
    @Test func everyChangedByteIsFound() throws {
        let bytes = Array(try log(3).map { $0 + "\n" }.joined().utf8)
        for position in bytes.indices {
            for mask in [0x01, 0x80] as [UInt8] {
                var damaged = bytes
                damaged[position] ^= mask
                try sandbox.write("b", Data(damaged))
                #expect(verify(["b"]) != nil, "byte \(position)")
            }
        }
    }

    @Test func rotatedFiles() throws {
        do {
            let log = try AuditLog(sandbox["r"], syncs: false)
            for name in ["r.2", "r.1"] {
                for _ in 0..<3 { _ = log.stage(Record(.request)) }
                try log.commit()
                try sandbox.shell("mv r \(name)")
                #expect(try log.reopen())
            }
            _ = log.stage(Record(.request))
            try log.commit()
        }
        try sandbox.write("r.0.gz", "compressed")
        let (files, compressed) = try logFiles(of: sandbox["r"])
        #expect(files == ["r.2", "r.1", "r"].map { sandbox[$0] })
        #expect(compressed == [sandbox["r.0.gz"]])
        #expect(verify(["r.2", "r.1", "r"]) == nil)
        // From the middle on it can be verified too, and says so.
        #expect(verify(["r.1", "r"]) == nil)
        #expect(verify(["r.2", "r"])?.kind == .missing)
        #expect(verify(["r", "r.1"])?.kind == .missing)
        var verifier = Verifier()
        try verifier.verify(sandbox["r"])
        #expect(verifier.beginsAfterAnother == true)
        #expect(verifier.firstNumber == 7)
    }
}
