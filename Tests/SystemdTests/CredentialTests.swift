// Keys for units without code of theirs: LoadCredential= of the real systemd, and lines about units.
//
// Must never wait for a fixed time if there is an event to wait for.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct CredentialTests {
    private let machine: Machine

    private static let shared = Result {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web")
        try machine.write("/etc/ssl/certs/chain.pem", "THE CERTIFICATE\n")
        return machine
    }

    init() throws {
        machine = try Self.shared.get()
        try policy("")
        try machine.must(
            """
            systemctl stop keybrokerd.service
            systemctl start keybrokerd.socket keybrokerd-credential.socket
            rm -f /run/unit.out
            """)
    }

    private func policy(_ permits: String) throws {
        try machine.write(
            "/etc/keybroker/keybroker.policy",
            "key web /etc/ssl/private/web.pem certificate /etc/ssl/certs/chain.pem\n\(permits)\n")
    }

    /// Starts a unit that ends by itself, and returns what its command printed.
    private func run(_ unit: String, _ lines: String, _ command: String) throws -> String {
        try machine.write(
            "/run/systemd/system/\(unit)",
            """
            [Service]
            Type=oneshot
            \(lines)
            ExecStart=/bin/sh -c '\(command)'
            StandardOutput=truncate:/run/unit.out

            """)
        try machine.must("systemctl daemon-reload; systemctl start \(unit)")
        return try machine.must("cat /run/unit.out")
    }

    private static let socket = "/run/keybroker/credential.sock"
    private let show = #"cd $CREDENTIALS_DIRECTORY; for f in *; do echo [$f]; cat $f; done; id -u"#

    @Test func aUnitWithoutCodeAndWithoutAnAccount() throws {
        try policy("permit unit:dyn.service key web")
        // The daemon does not run yet: the service manager's question starts it.
        #expect(try machine.property("ActiveState") == "inactive")
        let output = try run(
            "dyn.service",
            ["web", "web.certificate", "web.bundle"].map { "LoadCredential=\($0):\(Self.socket)" }
                .joined(separator: "\n") + "\nDynamicUser=yes", show)
        let lines = output.split(separator: "\n").map(String.init)
        #expect(
            lines.dropLast() == [
                "[web]", "THE KEY", "[web.bundle]", "THE CERTIFICATE", "THE KEY", "[web.certificate]",
                "THE CERTIFICATE",
            ])
        let uid = try #require(lines.last.flatMap { Int($0) })
        #expect((61184...65519).contains(uid))
        let granted = try machine.records().filter { $0["verb"] as? String == "credential" }
        #expect(granted.count == 3)
        for record in granted {
            #expect(record["decision"] as? String == "granted")
            #expect(record["unit"] as? String == "dyn.service")
            #expect(record["uid"] as? Int == 0)
        }
        try machine.must("keybroker audit verify")
        #expect(
            try machine.must("stat -c '%A %U %G' /run/keybroker/credential.sock") == "srw------- root root")
        // Another unit of the same name's beginning gets nothing.
        #expect(
            try run(
                "dyn2.service", "LoadCredential=web:\(Self.socket)\nDynamicUser=yes",
                "wc -c <$CREDENTIALS_DIRECTORY/web")
                == "0")
    }

    @Test func aRefusalIsInTheJournal() throws {
        try policy("permit unit:other.service key web\npermit root unit refused.service key web")
        let began = try machine.must("journalctl --sync; date +@%s.%6N")
        let output = try run(
            "refused.service", "LoadCredential=web:\(Self.socket)\nDynamicUser=yes",
            "wc -c <$CREDENTIALS_DIRECTORY/web")
        #expect(output == "0")
        let entry = try machine.must(
            "journalctl --sync; journalctl -q -o json -u keybrokerd --since \(began) DECISION=denied PEER_UNIT=refused.service"
        )
        let fields = try JSONSerialization.jsonObject(with: Data(entry.utf8)) as? [String: Any] ?? [:]
        #expect(fields["PRIORITY"] as? String == "4")
        #expect(fields["KEY"] as? String == "web")
        let number = try #require(try machine.records().last?["seq"] as? Int)
        #expect(
            fields["MESSAGE"] as? String
                == "refused.service is given an empty credential: denied web: no-rule (decision \(number))")
        #expect(try machine.mustFail("keybroker policy explain --unit refused.service --key web").status == 77)
        #expect(try machine.run("keybroker policy explain --unit other.service --key web").status == 0)
    }

    @Test func instancesOfATemplate() throws {
        try policy("permit unit:w@*.service key web")
        try machine.write(
            "/run/systemd/system/w@.service",
            """
            [Service]
            Type=oneshot
            DynamicUser=yes
            LoadCredential=web:\(Self.socket)
            ExecStart=/bin/sh -c 'cat $CREDENTIALS_DIRECTORY/web'
            StandardOutput=truncate:/run/unit.out

            """)
        try machine.must("systemctl daemon-reload; systemctl start 'w@a\\x2db.service'")
        #expect(try machine.must("cat /run/unit.out") == "THE KEY")
        #expect(try machine.records().last?["unit"] as? String == "w@a\\x2db.service")
    }

    // MARK: Direct callers

    @Test func aCallerWithoutAnAccount() throws {
        try policy("permit unit:caller.service key web")
        let lines = "DynamicUser=yes\nSupplementaryGroups=keyusers"
        #expect(try run("caller.service", lines, "keybroker get web") == "THE KEY")
        #expect(try machine.records().last?["verb"] as? String == "get")
        #expect(try machine.records().last?["unit"] as? String == "caller.service")
        let other = try machine.run(
            "systemd-run --quiet --wait -p DynamicUser=yes -p SupplementaryGroups=keyusers keybroker get web")
        #expect(other.status == 77)
    }

    @Test func aServiceThatStartsAsRoot() throws {
        try policy("permit unit:rootly.service key web")
        #expect(
            try run(
                "rootly.service", "",
                "keybroker get web; setpriv --reuid games --regid games --groups keyusers keybroker get web")
                == "THE KEY\nTHE KEY")
        #expect(try machine.mustFail("keybroker get web").status == 77)
        #expect(try machine.mustFail("systemd-run --quiet --wait keybroker get web").status == 77)
    }

    /// Many accounts that hold all the places that strangers have do not keep the service from its key.
    @Test func strangersDoNotKeepAServiceFromItsKey() throws {
        try policy("permit unit:caller.service key web")
        try machine.write(
            "/run/strangers.py",
            """
            import os, socket, sys, time
            held = []
            for uid in range(70000, 70000 + int(sys.argv[1])):
                child = os.fork()
                if child == 0:
                    os.setgroups([int(sys.argv[2])])
                    os.setresgid(uid, uid, uid)
                    os.setresuid(uid, uid, uid)
                    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    connection.connect("/run/keybroker/broker.sock")
                    time.sleep(25)
                    os._exit(0)
            print("connected", flush=True)
            time.sleep(25)
            """)
        try machine.must(
            """
            systemctl start keybrokerd.service
            systemd-run --quiet --unit=strangers -p StandardOutput=truncate:/run/strangers.out \
                python3 /run/strangers.py 300 $(getent group keyusers | cut -d: -f3)
            """)
        try machine.wait(until: "keybroker status --format json | grep -q '\"connections\":2[5-9][0-9]'")
        let lines = "DynamicUser=yes\nSupplementaryGroups=keyusers"
        #expect(try run("caller.service", lines, "keybroker get web") == "THE KEY")
        try machine.must("systemctl kill --signal=KILL strangers.service")
    }

    // MARK: The sockets

    @Test func theServiceBringsTheSocket() throws {
        try policy("permit unit:dyn.service key web\npermit www-data key web")
        try machine.must("systemctl stop keybrokerd-credential.socket keybrokerd.service")
        try machine.must(Machine.asUser("www-data", "keybroker get web"))
        #expect(try machine.property("ActiveState", of: "keybrokerd-credential.socket") == "active")
        #expect(
            try run(
                "dyn.service", "LoadCredential=web:\(Self.socket)\nDynamicUser=yes", "cat $CREDENTIALS_DIRECTORY/web")
                == "THE KEY")
    }

    @Test func theSocketCanBeMasked() throws {
        try policy("permit www-data key web")
        try machine.must(
            "systemctl stop keybrokerd-credential.socket keybrokerd.service; systemctl mask --runtime keybrokerd-credential.socket"
        )
        defer { _ = try? machine.must("systemctl unmask --runtime keybrokerd-credential.socket") }
        #expect(try machine.must(Machine.asUser("www-data", "keybroker get web")) == "THE KEY")
        #expect(try machine.property("ActiveState", of: "keybrokerd-credential.socket") == "inactive")
        try machine.must("[[ ! -e \(Self.socket) ]]")
    }

    /// How long the names may be, as keybrokerd(8) says.
    @Test func longNames() throws {
        func load(_ length: Int) throws -> String {
            let unit = String(repeating: "u", count: length - "web".count - ".service".count) + ".service"
            try policy("permit unit:\(unit) key web")
            return try run(
                unit, "LoadCredential=web:\(Self.socket)\nDynamicUser=yes", "wc -c <$CREDENTIALS_DIRECTORY/web")
        }
        #expect(try load(83) == "8")
        #expect(throws: Waited.self) { try load(100) }
    }
}
