// What an admin and an auditor have before them: a broker, and a log with a record of every kind.

import Foundation
import TestSupport
import Testing

struct Desk {
    let folder: TemporaryFolder

    init(_ name: String) { folder = TemporaryFolder(name) }

    func daemon() throws -> Daemon {
        try folder.write("key", "KEY", mode: 0o600)
        return try Daemon(
            folder,
            policy: """
                key k \(folder["key"])
                key idle \(folder["key"])
                permit 61001 key k
                permit 61003 key k idle

                """)
    }

    func tool(_ arguments: [String]) throws -> (status: Int32, output: String, errors: String) {
        try Program.run(Program.built("keybroker"), arguments)
    }

    /// A log with a record of every kind.
    func log() throws -> Daemon {
        let daemon = try daemon()
        let permitted = try PeerProcess(daemon.socket, uid: 61001)
        for _ in 0..<3 { #expect(try permitted.ask("1Gk").status == "K") }
        #expect(try permitted.ask("1Gnope").status == "D")
        #expect(try PeerProcess(daemon.socket, uid: 61002).ask("1Gk").status == "D")
        return daemon
    }
}
