// The broker's socket, seen by the tools that people have at hand.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Jail.condition) struct SocketTests {
    private let folder = TemporaryFolder("socket")
    private static let path = "/run/keybroker/broker.sock"

    private func daemon() throws -> Daemon {
        try folder.write("key", "THE KEY\n", mode: 0o600)
        return try Daemon(folder, policy: "key web \(folder["key"])\npermit 61001 key web\n")
    }

    @Test(.enabled(if: installed("ss") != nil, "ss is not installed")) func ssShowsIt() throws {
        let daemon = try daemon()
        let shown = try Program.run("/bin/sh", ["-ec", example("ss -xlp", [Self.path: daemon.socket])])
        let line = try #require(shown.output.split(separator: "\n").first { $0.contains(daemon.socket) })
        // The type, the state, the connections that wait, how many may wait, and the path.
        let words = line.split(separator: " ").map(String.init)
        #expect(words.prefix(5) == ["u_seq", "LISTEN", "0", "128", daemon.socket], "\(shown)")
        #expect(line.contains("\"keybrokerd\",pid=\(daemon.pid),"), "\(shown)")
    }

    @Test(.enabled(if: installed("socat") != nil, "socat is not installed")) func socatSpeaksTheProtocol() throws {
        let daemon = try daemon()
        func ask(_ request: String, as uid: UInt32) throws -> String {
            let line = try example("echo 1Gweb | socat", [Self.path: daemon.socket, "1Gweb": request])
            let (status, output, errors) = try shell(line, as: uid)
            #expect(status == 0, "\(errors)")
            return output
        }
        #expect(try ask("1V", as: 61001).hasPrefix("1V"))
        #expect(try ask("1L", as: 61001).hasPrefix("1Lweb"))
        #expect(try ask("1Gweb", as: 61001) == "1K4")
        #expect(try ask("1Gweb", as: 61002) == "1D5 not permitted")
        let strange = try ask("hello", as: 61001)
        #expect(strange.hasPrefix("1E6 "), "\(strange)")
    }
}
