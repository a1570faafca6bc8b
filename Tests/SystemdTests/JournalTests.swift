// What the real journal records of the daemon: lines with fields. Nobody else can forge them, and nobody waits for the
// journal.
//
// Must never leave journald stopped.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct JournalTests {
    private let machine: Machine
    /// When the test began. (A cursor would not do: with matches, systemd 252 forgets the first entry after it.)
    private let began: String

    private static let shared = Result {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web")
        return machine
    }

    init() throws {
        machine = try Self.shared.get()
        try machine.policy("permit www-data key web\nlimit www-data connections 64 requests 100000")
        try machine.must(
            "systemctl stop keybrokerd.service; systemctl start keybrokerd.socket; systemctl start keybrokerd.service")
        began = try machine.must("journalctl --sync; date +@%s.%6N")
    }

    private let get = Machine.asUser("www-data", "keybroker get web")

    private func ask(_ packet: String, times: Int = 1) throws -> String {
        try machine.must(Machine.asUser("www-data", "python3 /tests/ask.py \(times) '\(packet)'"))
    }

    /// The entries since the test began that journalctl finds with these matches.
    private func entries(_ matches: String) throws -> [[String: String]] {
        try machine.must("journalctl --sync; journalctl -q -o json --since \(began) \(matches)")
            .split(separator: "\n").map {
                let entry = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
                return entry.compactMapValues { $0 as? String }
            }
    }

    @Test func keysAreFoundByTheirNames() throws {
        #expect(try machine.must("systemd-run --quiet --pipe --unit=asks \(get)") == "THE KEY")
        let granted = try #require(try machine.records().last)
        let found = try entries("KEY=web")
        #expect(found.count == 1)
        let entry = try #require(found.first)
        let number = try #require(granted["seq"] as? Int)
        let uid = try machine.must("id -u www-data")
        #expect(entry["MESSAGE"] == "granted web to uid \(uid) in asks.service (decision \(number))")
        let expected = [
            "PRIORITY": "6", "SYSLOG_IDENTIFIER": "keybrokerd", "PEER_UID": uid, "PEER_UNIT": "asks.service",
            "DECISION": "granted", "REASON": "permitted", "SEQ": "\(number)", "_TRANSPORT": "journal",
            "_SYSTEMD_UNIT": "keybrokerd.service", "_PID": try machine.property("MainPID"),
            "PEER_PID": "\(granted["pid"] as? Int ?? 0)",
        ]
        for (field, value) in expected { #expect(entry[field] == value, "\(field)") }

        _ = try machine.mustFail(Machine.asUser("games", "keybroker get web"))
        let denied = try entries("-u keybrokerd DECISION=denied")
        #expect(denied.count == 1)
        #expect(denied.first?["MESSAGE"]?.contains(": no-rule (decision \(number + 1))") == true)
        #expect(denied.first?["PRIORITY"] == "4")
        #expect(try entries("SEQ=\(number + 1)").count == 1)

        // Queries that monitoring makes all day are only in the audit log.
        try machine.must("keybroker status >/dev/null")
        #expect(try machine.records().last?["verb"] as? String == "status")
        #expect(try entries("-t keybrokerd").count == 2)
    }

    @Test func reloads() throws {
        try machine.must("systemctl reload keybrokerd.service")
        let applied = try #require(try entries("-u keybrokerd DECISION=applied").first)
        #expect(applied["MESSAGE"]?.hasPrefix("the policy was read anew: 1 key, policy ") == true)
        #expect(applied["PEER_UID"] == "0")
        try machine.policy("permit www-data key nosuchkey")
        // `systemctl reload` would find the fault itself, and not ask the daemon.
        try machine.must("kill -HUP \(try machine.property("MainPID"))")
        try machine.wait(
            until: "journalctl -q --since \(began) -u keybrokerd DECISION=rejected | grep -q 'stays in force'")
        let rejected = try #require(try entries("-u keybrokerd DECISION=rejected").first)
        #expect(rejected["PRIORITY"] == "3")
        #expect(rejected["REASON"] == "policy-faulty")
        #expect(try entries("-t keybrokerd -p err").count == 4)
    }

    /// The unit is recorded even for a process that has ended, and so is the priority.
    @Test func theLastWordsAreTheServices() throws {
        let settings = "/run/systemd/system/keybrokerd.service.d"
        try machine.write("\(settings)/faulty.conf", "[Service]\nExecStart=\nExecStart=keybrokerd --nonsense\n")
        try machine.must("systemctl daemon-reload")
        _ = try machine.mustFail("systemctl restart keybrokerd.service")
        try machine.must("systemctl stop keybrokerd.service; rm -r \(settings); systemctl daemon-reload")
        let said = try entries("-t keybrokerd -p err")
        #expect(said.contains { $0["MESSAGE"]?.contains("see keybrokerd --help") == true })
        for entry in said {
            #expect(entry["_SYSTEMD_UNIT"] == "keybrokerd.service" && entry["PRIORITY"] == "3", "\(entry)")
        }
    }

    // MARK: Hostile callers

    /// An attacker tries it with its name, with the key that it asks for, and with its control group.
    @Test func nobodyForgesAField() throws {
        for packet in [
            "1Gx\\nKEY=forged", "1Gx\\nKEY=forged\\n", "KEY=forged\\n1Gweb", "1Gweb\\0\\nKEY=forged",
            "1Gx\\n\\nMESSAGE=forged\\nKEY=forged\\n", "1G\\xff\\nKEY\\n\\6\\0\\0\\0\\0\\0\\0\\0forged\\n",
        ] {
            #expect(try ask(packet) == "('E', 1)")
        }
        // The kernel accepts any name without a line feed.
        let group = "/sys/fs/cgroup/$'MESSAGE=forged\\e[2J\\rKEY=forged.service'"
        try machine.must(
            """
            mkdir \(group)
            (echo $BASHPID >\(group)/cgroup.procs; exec \(get)) >/dev/null
            rmdir \(group)
            """)
        _ = try machine.mustFail("mkdir /sys/fs/cgroup/$'x\\nKEY=forged.service'")
        #expect(try ask("1Gweb") == "('K', 1)")

        #expect(try entries("KEY=forged").isEmpty)
        #expect(try entries("MESSAGE=forged").isEmpty)
        #expect(try entries("DECISION=malformed").count == 6)
        let granted = try entries("KEY=web")
        #expect(granted.count == 2)
        #expect(granted.first?["PEER_UNIT"] == "MESSAGE=forged\\u{1b}[2J\\u{d}KEY=forged.service")
        let known = try Set(entries("-t keybrokerd").flatMap(\.keys).filter { !$0.hasPrefix("_") })
        #expect(
            known == [
                "MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "KEY", "PEER_UID", "PEER_UNIT", "PEER_PID", "DECISION",
                "REASON", "SEQ",
            ])
    }

    // MARK: A journal that stops

    @Test func aJournalThatWasRestartedIsTold() throws {
        let pid = try machine.property("MainPID")
        for signal in ["TERM", "KILL"] {
            #expect(try ask("1Gweb") == "('K', 1)")
            // What it has read but not stored would be lost with it.
            try machine.must("journalctl --sync; systemctl kill --signal=\(signal) systemd-journald.service")
            #expect(try ask("1Gweb") == "('K', 1)")
            try machine.wait(until: "systemctl is-active --quiet systemd-journald.service")
            #expect(try ask("1Gweb") == "('K', 1)")
        }
        try machine.must("systemctl restart systemd-journald.service")
        #expect(try ask("1Gweb") == "('K', 1)")
        // No entry is lost, whichever journald read it.
        #expect(try entries("KEY=web").count == 7)
        #expect(try machine.property("MainPID") == pid)
    }

    /// A journal that reads nothing blocks nobody, and receives everything later. An entry that does not fit into the
    /// socket's queue is written to standard error, where systemd has room for megabytes.
    @Test func aJournalThatStandsStillHoldsUpNobody() throws {
        let asked = 1000
        try machine.must("systemctl kill --signal=STOP systemd-journald.service")
        do {
            defer { _ = try? machine.must("systemctl kill --signal=CONT systemd-journald.service") }
            #expect(try ask("1Gweb", times: asked) == "('K', \(asked))")
        }
        #expect(try ask("1Gweb") == "('K', 1)")
        let entries = "journalctl -q -o cat --since \(began) -u keybrokerd"
        // A line on standard error may be read after an entry that was sent later.
        try machine.wait(until: "[[ $(\(entries) | grep -c '^granted web\\|: granted web') = \(asked + 1) ]]")
        let withFields = try machine.must("\(entries) DECISION=granted | wc -l")
        #expect((2...asked).contains(try #require(Int(withFields))))
        #expect(try machine.must("\(entries) -p 6..6 | grep -c '^keybrokerd: granted web'") != "0")
        #expect(try machine.property("NRestarts") == "0")
    }
}
