// A file that is not as long as it was, is written to while it is read, or is too long, is an error, and not half a key.

import Foundation
import TestSupport
import Testing

@Suite struct ChangingFileTests {
    private let folder = TemporaryFolder("languages-changing")

    private func fake(_ reply: String, file: String) throws -> Program {
        let script = testsFolder.appendingPathComponent("ClientTests/Brokers/fake.py").path
        let broker = try Program(
            installed("python3") ?? "python3", [script, folder["s"], String(geteuid()), reply, "1"],
            environment: ["KEYBROKER_FAKE_FILE": file])
        #expect(try broker.nextLine() == "listens")
        return broker
    }

    /// What each client says, of which there is one for C, Python and Go at least.
    private func said() throws -> [(client: String, status: Int32, text: String)] {
        var all = try Language.installedOnes.map { language in
            let (status, text) = try language.run("get", "k", "0", socket: folder["s"])
            return (language.rawValue, status, text)
        }
        if GoClient.isPossible {
            let go = try Program.run(
                try GoClient.program.get(), ["k", "-"], environment: ["KEYBROKER_SOCKET": folder["s"]])
            // Its test program has no other status.
            all.append(("go", go.status == 1 ? 71 : go.status, go.output + go.errors))
        }
        return all
    }

    private func stop(_ broker: Program) throws {
        broker.signal(SIGKILL)
        try broker.waitForExit()
        try folder.remove("s")
    }

    /// Files of the kernel have another size than what can be read: of the first, less; of the second, more.
    @Test(arguments: ["/sys/kernel/mm/transparent_hugepage/enabled", "/proc/version"])
    func whatHasAnotherSize(_ file: String) throws {
        guard FileManager.default.isReadableFile(atPath: file) else { return print("skipped: there is no \(file)") }
        let broker = try fake("1K5", file: file)
        for (client, status, text) in try said() {
            #expect(
                text == "key 'k': the file that was handed over cannot be read: it changed while it was read\n",
                "\(client)")
            #expect(status == 71, "\(client)")
        }
        try stop(broker)
    }

    @Test func whatIsTooLong() throws {
        try folder.write("large", String(repeating: "x", count: (1 << 20) + 1))
        let broker = try fake("1K5", file: folder["large"])
        for (client, _, text) in try said() {
            #expect(
                text == "key 'k': the file that was handed over cannot be read: read: File too large (EFBIG)\n",
                "\(client)")
        }
        try stop(broker)
    }

    /// As `cp` does it, at the worst moment, by as many bytes.
    @Test(.enabled(if: installed("cc") != nil && installed("python3") != nil, "a C compiler and python3 are needed"))
    func whatIsWrittenTo() throws {
        try folder.shell(
            "cc -std=c99 -I'\(Language.sources)/C' '\(Language.tests)/Clients/changing.c' -o changing")
        let commands = [
            [folder["changing"]],
            [installed("python3") ?? "python3", "-W", "error", Language.tests + "/Clients/changing.py"],
        ]
        for command in commands {
            try folder.write("key", "THE FIRST KEY")
            // Older kernels tell times that are near each other by some milliseconds.
            try folder.shell("touch -d '1 hour ago' key")
            let program = try Program.run(
                command[0], Array(command[1...]) + [folder["key"]],
                environment: ["PYTHONPATH": Language.sources + "/Python/src", "PYTHONDONTWRITEBYTECODE": "1"])
            #expect(
                program.output
                    == "key 'k': the file that was handed over cannot be read: it changed while it was read\n",
                "\(command[0]): \(program.errors)")
        }
    }
}
