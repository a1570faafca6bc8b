// Services in containers that share the broker's directory.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Container.condition) struct ContainerTests {
    private let folder = TemporaryFolder("container")
    private let keybroker = Program.built("keybroker")

    /// A broker that the group 61200 may connect to.
    private func daemon(_ permits: String = "permit 1000 key web") throws -> Daemon {
        try folder.write("key", "THE KEY\n", mode: 0o600)
        return try Daemon(
            folder, policy: "key web \(folder["key"])\n\(permits)\n",
            options: ["--socket-mode", "0660"] + (isRoot ? ["--socket-group", "61200"] : []))
    }

    private func container(
        _ more: [(outside: String, inside: String)] = [], owner: UInt32 = 0
    ) throws -> Container {
        try Container(folder, shares: [(folder["run"], "/run/keybroker")] + more, owner: owner)
    }

    private func user(_ uid: UInt32) -> [String] { ["--user", "\(uid):\(uid)", "--group-add", "61200"] }

    @Test func theUserOfTheContainerIsTheCaller() throws {
        let daemon = try daemon()
        // The directory is shared by the option of the page.
        let container = try Container(folder)
        let line = try example(
            "podman run",
            [
                "podman run": "\"$0\" \"$@\"", "--volume /run/keybroker:": "--volume \(folder["run"]):",
                "IMAGE": "--rootfs \(container.root) \(keybroker) get web",
                "\"$(getent group keyusers | cut -d: -f3)\"": "61200",
            ])
        func get(_ said: String = "", _ meant: String = "") throws -> (status: Int32, output: String, errors: String) {
            #expect(said.isEmpty || line.contains(said))
            let line = said.isEmpty ? line : line.replacing(said, with: meant)
            return try Program.run("/bin/sh", ["-ec", line] + container.podmanRun)
        }
        let granted = try get()
        #expect(granted.status == 0 && granted.output == "THE KEY\n", "\(granted)")
        let record = try #require(try daemon.records().last)
        #expect(record["uid"] as? Int == 1000 && record["comm"] as? String == "keybroker", "\(record)")
        // Another user, and the container's root, which is the machine's: each needs a line.
        #expect(try get("--user 1000:1000", "--user 1001:1001").status == 77)
        #expect(try get("--user 1000:1000").status == 77)
        #expect(try daemon.records().suffix(2).map { $0["uid"] as? Int } == [1001, 0])
        // Without the socket's group, nothing can be asked.
        let outsider = try get("--group-add 61200")
        #expect(outsider.status == 77 && outsider.errors.contains("not in the socket's group"), "\(outsider)")
    }

    /// A socket that is shared alone is that of the broker that ran then.
    @Test func aSharedDirectoryOutlivesTheBrokerAndASharedSocketDoesNot() throws {
        let daemon = try daemon()
        let container = try container([(daemon.socket, "/alone/broker.sock")])
        let loop = "while read -r s; do \(keybroker) get web --socket $s/broker.sock 2>/dev/null; echo status $?; done"
        let (executable, arguments) = container.command(["/bin/sh", "-c", loop], user(1000))
        let inside = try Program(executable, arguments)
        func ask(_ folder: String) throws -> [String] {
            try inside.send(folder)
            var lines = [try inside.nextLine()]
            while lines.last?.hasPrefix("status ") == false { lines.append(try inside.nextLine()) }
            return lines
        }
        for folder in ["/run/keybroker", "/alone"] { #expect(try ask(folder) == ["THE KEY", "status 0"], "\(folder)") }
        try daemon.stop()
        #expect(try ask("/run/keybroker") == ["status 69"])
        try daemon.restart()
        #expect(try ask("/run/keybroker") == ["THE KEY", "status 0"])
        #expect(try ask("/alone") == ["status 69"])
        #expect(try inside.waitForExit() == 0)
    }

    /// Its users are others outside. Their keys can be fetched outside too, and passed in.
    @Test func aContainerWithAUserNamespace() throws {
        let daemon = try daemon("permit 101000 key web\npermit 0 key web")
        try folder.setAttributes("run/broker.sock", mode: 0o666)
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/minimal.py")
        try folder.write("minimal.py", try String(contentsOf: script, encoding: .utf8))
        let container = try container([(folder["minimal.py"], "/minimal.py")], owner: 100_000)
        let mapped = ["--uidmap", "0:100000:65536", "--gidmap", "0:100000:65536", "--user", "1000:1000"]
        let socket = "/run/keybroker/broker.sock"
        let granted = try container.run(["/usr/bin/python3", "/minimal.py", "web", socket], mapped)
        #expect(granted.status == 0 && granted.output == "THE KEY\n", "\(granted)")
        #expect(try daemon.records().last?["uid"] as? Int == 101000)
        let tool = try container.run([keybroker, "get", "web"], mapped)
        #expect(tool.status == 69 && tool.errors.contains("USER NAMESPACES in keybroker-sockets(7)"), "\(tool)")

        let line = try example(
            "keybroker exec --key web=3 -- podman",
            [
                "keybroker exec": "\(keybroker) exec --socket \(daemon.socket)", "podman run": "\"$0\" \"$@\"",
                "0:100000:65536": "0:100000:65536 --user 1000:1000", "IMAGE": "--rootfs \(container.root)",
                "server --key": "cat",
            ])
        let passed = try Program.run("/bin/sh", ["-ec", line] + container.podmanRun)
        #expect(passed.status == 0 && passed.output == "THE KEY\n", "\(passed)")
    }
}
