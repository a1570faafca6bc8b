// What the C client needs of the stack: it also runs in threads that have little.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: installed("cc") != nil, "a C compiler is needed"))
struct StackTests {
    private let folder = TemporaryFolder("languages-stack")

    /// Without optimisation, which needs most.
    @Test func theCClientNeedsNoMoreThanItSays() throws {
        try folder.write("key", "THE KEY", mode: 0o600)
        try folder.link("there", to: ".")
        try folder.directory("open", mode: 0o777)
        let daemon = try Daemon(
            folder, policy: "key k \(folder["key"])\nkey gone \(folder["no"])\npermit \(geteuid()) key k gone\n")
        try folder.shell(
            "cc -std=c99 -O0 -pthread -Wl,-z,now -I'\(Language.sources)/C' '\(Language.tests)/Clients/stack.c' -o stack"
        )
        let sockets = [folder["there/there/run/broker.sock"], folder["no/s"], folder["open/s"], folder["key"]]
        let said = try Program.run(folder["stack"], sockets)
        #expect(said.status == 0, "\(said.errors)")
        let bytes = try #require(Int(said.output.trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(bytes > 4096 && bytes <= 16384, "\(bytes)")
        try daemon.stop()
    }
}
