// Policies with very many lines: what is said of them is bounded, and counted all the same.

import TestSupport
import Testing
import Wire

@testable import Policy

struct LongPolicyTests {
    private func reading(_ text: String) -> ParseResult {
        read([PolicyText(file: "p", bytes: Array(text.utf8))], in: machine)
    }

    private func count(_ severity: Diagnostic.Severity, _ reading: ParseResult) -> Int {
        reading.diagnostics.reduce(0) { $0 + ($1.severity == severity ? $1.count : 0) }
    }

    @Test func errorsAreListedUpToABound() {
        let reading = reading(String(repeating: "k\n", count: 5000))
        #expect(reading.policy == nil)
        #expect(reading.diagnostics.count == Limits.policyErrors + 1)
        #expect(reading.diagnostics.last?.lines == ["p: error: and 4900 more"])
        #expect(count(.error, reading) == 5000)
    }

    @Test func warningsAreListedUpToABound() {
        let keys = (0..<250).map { "key k\($0) /missing.pem\npermit 33 key k\($0)\n" }.joined()
        let reading = reading(keys)
        #expect(reading.policy?.keys.count == 250)
        #expect(reading.diagnostics.count == Limits.policyWarnings + 1)
        #expect(reading.diagnostics.last?.lines == ["p: warning: and 150 more"])
        #expect(count(.warning, reading) == 250)
    }

    /// An error after a hundred warnings is listed.
    @Test func warningsHideNoError() {
        let keys = (0..<250).map { "permit nobody key k\($0)\n" }.joined()
        let reading = reading(keys)
        #expect(reading.diagnostics.count { $0.severity == .error } == Limits.policyErrors + 1)
        #expect(reading.diagnostics.count { $0.severity == .warning } == Limits.policyWarnings + 1)
    }

    /// One account, one key, very many units: no line is compared with all before it.
    @Test func veryManyLinesAboutOneAccountAreReadSoon() {
        let permits = (0..<20_000).map { "permit 33 unit a\($0).service key k\n" }.joined()
        let began = ContinuousClock.now
        let reading = reading("key k /k\n" + permits + "permit 33 unit a7.service key k\n")
        #expect(began.duration(to: .now) < .seconds(60))
        #expect(reading.diagnostics.map(\.message) == ["'k' for 33 adds nothing: p:9 permits that already"])
    }
}
