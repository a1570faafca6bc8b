// Fuzz tests for every parser of bytes from outside. The inputs are good ones that are changed at random. The seeds are
// fixed, so that a failure can be repeated. KEYBROKER_FUZZ_ROUNDS sets the number of rounds.
//
// Besides not crashing, each parser is checked for what must be true of any bytes.

import Foundation
import TestSupport
import Testing
import Wire

@testable import Audit
@testable import Kernel
@testable import Policy
@testable import keybroker_tls_demo
import PolicyReview

let rounds = ProcessInfo.processInfo.environment["KEYBROKER_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 4_000

/// Calls `body` with good inputs. Each is changed in a few places.
private func fuzz(_ good: [String], _ body: ([UInt8]) throws -> Void) rethrows {
    for round in 0..<rounds {
        var random = Seeded(state: UInt64(round))
        var bytes = Array((good.randomElement(using: &random) ?? "").utf8)
        for _ in 0..<Int.random(in: 0...4, using: &random) {
            let position = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes.insert(.random(in: 0...255, using: &random), at: position)
            case 1: if position < bytes.count { bytes.remove(at: position) }
            case 2: if position < bytes.count { bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
            case 3: bytes.removeSubrange(position...)
            default:
                let other = Array((good.randomElement(using: &random) ?? "").utf8)
                bytes.insert(contentsOf: other.prefix(Int.random(in: 0...other.count, using: &random)), at: position)
            }
        }
        try body(bytes)
    }
}

struct FuzzTests {
    @Test func requests() {
        fuzz(["1Gweb-tls", "1L", "1V\n", "1Ga.b_c-9\n"]) { bytes in
            guard let request = try? Request(bytes) else { return }
            // The decoded request encodes to the same bytes, apart from one newline.
            #expect(bytes == request.packet || bytes == request.packet + [0x0A])
        }
    }

    @Test func namesOfTheServiceManagersSocket() {
        fuzz(["\0adf9d86b6eda275e/unit/foobar.service/credx", "\01/unit/a@\\x2d.service/web.bundle"]) { bytes in
            guard let address = CredentialAddress(socketName: bytes) else { return }
            // The parts are the whole name, and nothing in them has a meaning of its own.
            #expect(String(decoding: bytes, as: UTF8.self).hasSuffix("/unit/\(address.unit)/\(address.id)"))
            #expect(bytes.count { $0 == UInt8(ascii: "/") } == 3 && bytes.count { $0 == 0 } == 1)
            #expect(!address.unit.contains("*"))
        }
    }

    @Test func replies() {
        fuzz(["1K12", "1D13 not permitted", "1U14 file-missing", "1B15 250", "1E16 why", "1La\nb", "1L", "1V0.1.0"]) {
            bytes in
            guard let reply = try? Reply(bytes) else { return }
            #expect((try? Reply(reply.packet)) == reply)
        }
    }

    private let resolver = Resolver(
        overflowUID: 65534, overflowGID: 65534, user: { $0.hasPrefix("w") ? .id(33) : .unknown },
        group: { _ in .id(7) },
        fault: { _ in nil })

    @Test func policies() {
        let good = [
            "key web /x certificate /y\npermit www key web\n", "key a /x\npermit :g unit a@*.service key a a\n",
            "key a /x\npermit unit:a@*.service key a\n",
            "limit each-user connections 4 requests 9\nlimit 33 requests 1\n", "key c credential:x # comment\n",
            "key a /x\npermit www key a\nnever anyone key a unless www :g unit:a@*.service\n",
            "permit www status\npermit :g status\nkey a /x\nnever unit:a.service key a a\n",
        ]
        fuzz(good) { bytes in
            let reading = read([PolicyText(file: "f", bytes: bytes)], in: resolver)
            #expect((reading.policy == nil) == reading.diagnostics.contains { $0.severity == .error })
            for diagnostic in reading.diagnostics {
                #expect(diagnostic.location.line >= 1 && diagnostic.column >= 1)
                #expect(diagnostic.lines.allSatisfy { $0.utf8.allSatisfy { $0 == 9 || (0x20...0x7E).contains($0) } })
            }
            // Nobody may get a key if the policy does not contain the word permit.
            if !String(decoding: bytes, as: UTF8.self).contains("permit") {
                #expect(reading.policy?.rules.isEmpty ?? true)
            }
        }
    }

    @Test func expectations() {
        fuzz([
            "expect www key web granted\n", "expect www status granted\n",
            "expect 5 unit a.service key web denied # x\n",
        ]) { bytes in
            let (expectations, faults) = readExpectations(PolicyText(file: "f", bytes: bytes))
            let lines = bytes.split(separator: 0x0A).count
            #expect(expectations.count + faults.count <= max(lines, 1))
        }
    }

    @Test func unitPatterns() {
        fuzz(["nginx.service", "stunnel@*.service", "a*b**c.scope", "*"]) { bytes in
            guard let pattern = UnitPattern(bytes) else { return }
            // Each character except a star matches itself. A star can also match nothing.
            #expect(pattern.matches(pattern.description.replacing("*", with: "")))
            #expect(pattern.matches(pattern.description.replacing("*", with: "any-thing")))
        }
    }

    @Test func cgroups() {
        fuzz(["0::/system.slice/nginx.service\n", "1:name=systemd:/x\n0::/user.slice/user@1.service/a.service\n"]) {
            bytes in
            guard let unit = unitName(inCgroups: bytes) else { return }
            #expect(unit.hasSuffix(".service") || unit.hasSuffix(".scope"))
            #expect(!unit.contains("/") && !unit.contains("\n"))
        }
    }

    @Test func recordsAndEndsOfLogs() {
        var lines = ""
        var link = Link.beginning
        for number in 1...3 as ClosedRange<UInt64> {
            var record = Record(.request)
            record.detail = "text"
            var bytes = record.line(number: number, time: WallTime(seconds: 0, nanoseconds: 0), previous: nil)
            link = link.next(over: bytes[...])
            link.close(&bytes)
            lines += String(decoding: bytes, as: UTF8.self)
        }
        fuzz([lines]) { bytes in
            let end = End(tail: bytes, of: bytes.count, syncs: true)
            #expect(end.size + end.unfinished.count == bytes.count)
            guard case .record(let number, _) = end.content else { return }
            // Only one of the records that were written can be taken for the last.
            #expect((1...3).contains(number))
        }
    }

    @Test func httpRequests() {
        let good = [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /status.json HTTP/1.0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        ]
        fuzz(good) { bytes in
            guard case .complete(_, let length) = HTTPRequest.parse(bytes[...]) else { return }
            #expect((1...bytes.count).contains(length))
        }
    }
}
