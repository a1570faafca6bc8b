// Fuzz tests for the parsers of bytes from outside that libFuzzer does not try (Tests/Fuzz). The inputs are good ones that
// are changed at random. The seeds are fixed, so that a failure can be repeated. KEYBROKER_FUZZ_ROUNDS sets the number of
// rounds.
//
// Besides not crashing, each parser is checked for what must be true of any bytes.

import Foundation
import TestSupport
import Testing

@testable import Policy
@testable import PolicyReview
@testable import keybroker_tls_demo

let rounds = ProcessInfo.processInfo.environment["KEYBROKER_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 4_000

/// Calls `body` with good inputs. Each is changed in a few places.
private func fuzz(_ good: [String], _ body: ([UInt8]) throws -> Void) rethrows {
    let good = good.map { Array($0.utf8) }
    for round in 0..<rounds { try body(mutated(good, round: round)) }
}

/// One of the inputs, changed in at most four places. The number of the round is the seed.
func mutated(_ good: [[UInt8]], round: Int) -> [UInt8] {
    var random = Seeded(state: UInt64(round))
    var bytes = good.randomElement(using: &random) ?? []
    for _ in 0..<Int.random(in: 0...4, using: &random) {
        let position = Int.random(in: 0...bytes.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: bytes.insert(.random(in: 0...255, using: &random), at: position)
        case 1: if position < bytes.count { bytes.remove(at: position) }
        case 2: if position < bytes.count { bytes[position] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
        case 3: bytes.removeSubrange(position...)
        default:
            let other = good.randomElement(using: &random) ?? []
            bytes.insert(contentsOf: other.prefix(Int.random(in: 0...other.count, using: &random)), at: position)
        }
    }
    return bytes
}

struct FuzzTests {
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
