import Testing
import Wire

@testable import SignerControl

/// The packets between the daemon and the signer.
struct ControlTests {
    private static let channel = NewChannel(number: 7, account: .max, rate: 100, uses: [.tlsServer, .tlsClient])

    @Test func ordersComeBackAsTheyWent() {
        for order in [SignerOrder.open(Self.channel, generation: 3), .end(channel: .max, generation: 1)] {
            #expect(SignerOrder(order.bytes[...]) == order)
            #expect(order.bytes.count < SignerOrder.longest)
        }
    }

    @Test func reportsComeBackAsTheyWent() {
        for report in [
            SignerReport.started(generation: 1), .opened(channel: 2), .unusable(channel: 3, reason: "no key; see (1)"),
            .ended(channel: 4, ChannelCounts(signatures: 1, refused: 2, clones: 3)),
        ] {
            #expect(SignerReport(report.bytes[...]) == report)
        }
    }

    @Test func nothingElseIsOne() {
        for text in [
            "", "open", "open 1 2 3 4", "open 1 2 3 4 5 6", "open 1 2 4294967296 4 5", "open 1 2 3 4 256",
            "open 1 2 3 4 -1",
            "open 1 2 3 4 ", " open 1 2 3 4 5", "end 1", "end 1 2 3", "end 1 +2", "End 1 2", "end 1  2",
        ] {
            #expect(SignerOrder(Array(text.utf8)[...]) == nil, "\(text)")
        }
        for text in [
            "", "started", "started x", "opened 1 2", "unusable 1", "ended 1 2 3", "ended 1 2 3 4 5", "ended 1 2 3 x",
            "unusable 1 a\u{1B}[1m",
        ] {
            #expect(SignerReport(Array(text.utf8)[...]) == nil, "\(text)")
        }
    }

    /// What libcrypto says is shown as it is, but for what a terminal would obey, and not without end.
    @Test func aReasonIsPlainText() {
        let long = SignerReport.unusable(channel: 1, reason: "\u{1B}[1mé" + String(repeating: "x", count: 5000))
        guard case .unusable(1, let reason)? = SignerReport(long.bytes[...]) else {
            Issue.record("it is not a packet")
            return
        }
        #expect(reason.hasPrefix("?[1m??xxx"))
        #expect(long.bytes.count == SignerReport.longest)
    }
}
