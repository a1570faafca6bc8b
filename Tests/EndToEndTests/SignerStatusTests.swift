// What the tool says of the signer and of signing channels: `status` and `rotation`, with a broker that sends what a daemon
// would.

import Foundation
import TestSupport
import Testing

@Suite struct SignerStatusTests {
    private let folder = TemporaryFolder("signer-status")

    private func output(_ page: String, _ arguments: String...) throws -> (
        status: Int32, output: String, errors: String
    ) {
        let broker = try FakeBroker(folder, page)
        defer { try? folder.remove("s") }
        return try Program.run(Program.built("keybroker"), arguments + ["--socket", broker.socket])
    }

    @Test(
        arguments: [
            ("running\nchannels 1", "signer       running, 1 channel\n", "1"),
            ("starting\nchannels 0", "signer       starting, 0 channels\n", "0"),
            ("ended\nchannels 0", "signer       ENDED, so no key signs; type: systemctl restart keybrokerd\n", "0"),
            ("none", "signer       none: there is no keybroker-signer, so no key signs\n", nil),
        ] as [(String, String, String?)])
    func theStatusSaysWhetherKeysCanSign(_ state: String, _ line: String, _ isUp: String?) throws {
        let page = "1Sversion 1\nsigner \(state)"
        let text = try output(page, "status").output
        #expect(text.contains("\n\(line)"), "\(text)")
        let object = try output(page, "status", "--format", "json").output
        #expect(object.contains(#""signer":"\#(state.prefix { $0 != "\n" })""#), "\(object)")
        let metrics = try output(page, "status", "--format", "openmetrics").output
        #expect(metrics.contains("\nkeybroker_signer_up ") == (isUp != nil), "\(metrics)")
        if let isUp { #expect(metrics.contains("\nkeybroker_signer_up \(isUp)\n"), "\(metrics)") }
        #expect(metrics.contains("\nkeybroker_channels ") == state.contains("channels"), "\(metrics)")
    }

    /// A daemon of before says nothing of a signer, and so does the tool.
    @Test func aBrokerWithoutThem() throws {
        for format in ["text", "json", "openmetrics"] {
            let said = try output("1Sversion 1", "status", "--format", format).output
            #expect(!said.contains("signer") && !said.contains("channels"), "\(said)")
        }
    }

    private func page(_ generation: Int) -> String {
        "1Srotation web generation 2 settled\nholder web 5 generation 2 uid 33 pid 9\n"
            + "channel web 4294967300 generation \(generation) uid 34 pid 12 unit nginx.service"
    }

    @Test func aChannelIsAHolder() throws {
        let table = try output(page(1), "rotation", "status").output
        #expect(
            table == """
                key  newest  state    has  uid  pid  unit           how
                web       2  settled    2   33    9  -              watches
                web       2  settled    1   34   12  nginx.service  signs

                """)
        let rows = try output(page(1), "rotation", "status", "web", "--format", "json").output.split(separator: "\n")
        #expect(
            rows.last
                == #"{"key":"web","newest":2,"state":"settled","has":1,"uid":34,"pid":12,"unit":"nginx.service","how":"signs"}"#
        )
        // Without a channel there is no such column.
        #expect(try !output("1Srotation web generation 2 settled", "rotation", "status").output.contains("how"))
    }

    @Test func aChannelThatSignsWithAnOldKeyIsWaitedFor() throws {
        let behind = try output(page(1), "rotation", "wait", "web", "--timeout", "100ms")
        #expect(behind.status == 75)
        #expect(
            behind.errors == """
                keybroker: uid 34 pid 12 in nginx.service signs with generation 1, the newest is 2
                keybroker: 1 channel of 'web' is behind; a channel signs with its key until its service is reloaded or \
                restarted

                """)
        let settled = try output(page(2), "rotation", "wait", "web")
        #expect(settled.status == 0)
        #expect(
            settled.output
                == "the one connection that watches 'web' has generation 2; the one channel on which it signs has "
                + "generation 2\n")
        let alone = "1Srotation web generation 2 settled\nchannel web 4294967300 generation 2 uid 34"
        #expect(
            try output(alone, "rotation", "wait", "web").output
                == "nobody watches 'web'; who got it at its start is listed by 'keybroker audit show --key web'; the one "
                + "channel on which it signs has generation 2\n")
    }

    @Test(arguments: [
        "channel web 4294967300 generation none uid 34", "channel web 4294967300 generation 1", "channel web",
        "channel other 4294967300 generation 1 uid 34",
    ])
    func whatIsNoChannel(_ line: String) throws {
        let answer = try output("1Srotation web generation 2 settled\n\(line)", "rotation", "status")
        #expect(answer.status == 71 && answer.errors.contains("it lists a watched key as"), "\(answer)")
    }
}
