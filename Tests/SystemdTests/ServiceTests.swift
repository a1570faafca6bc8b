// The shipped units under a real systemd: what is started when, what a reload and a restart mean for callers, and which
// processes belong to which unit.
//
// Must never wait for a fixed time if there is an event to wait for.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct ServiceTests {
    let machine: Machine

    private static let shared = Result {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web")
        return machine
    }

    init() throws {
        machine = try Self.shared.get()
        // The state after an installation, however the last test ended.
        try machine.policy("permit www-data key web\nlimit www-data connections 64 requests 100000")
        try machine.must("systemctl stop keybrokerd.service; systemctl start keybrokerd.socket")
    }

    let get = Machine.asUser("www-data", "keybroker get web")

    // MARK: Start

    @Test func theFirstRequestStartsIt() throws {
        #expect(try machine.property("ActiveState") == "inactive")
        #expect(
            try machine.must("stat -c '%A %U %G' /run/keybroker /run/keybroker/broker.sock") == """
                drwx--x--x root root
                srw-rw---- root keyusers
                """)
        #expect(try machine.must(get) == "THE KEY")
        #expect(try machine.property("ActiveState") == "active")
        #expect(try machine.property("StatusText").hasPrefix("serves the service manager's socket: 1 key"))
        #expect(
            try machine.must("stat -c '%A %U %G' /var/log/keybroker /var/log/keybroker/audit.jsonl") == """
                drwxr-x--- keybroker keybroker
                -rw-r----- keybroker keybroker
                """)
        // An account that is not in the group cannot even connect.
        let stranger = try machine.mustFail("setpriv --reuid games --regid games --clear-groups keybroker get web")
        #expect(stranger.status == 77)
    }

    /// It runs as its own account with one capability, and cannot gain privileges.
    @Test func itIsWhatTheUnitSays() throws {
        try machine.must("systemctl start keybrokerd.service")
        let pid = try machine.property("MainPID")
        let uid = try machine.must("id -u keybroker")
        let status = try machine.must("cat /proc/\(pid)/status")
        #expect(status.contains("Uid:\t\(uid)\t\(uid)\t\(uid)\t\(uid)\n"))
        for set in ["CapPrm", "CapEff", "CapBnd"] { #expect(status.contains("\(set):\t0000000000000004\n")) }
        #expect(status.contains("NoNewPrivs:\t1\n"))
        #expect(status.contains("Seccomp:\t2\n"))
        // One serves, and the others read policies and mounts, close, and tell the service manager.
        #expect(status.contains("Threads:\t5\n"))
        let limits = try machine.must("cat /proc/\(pid)/limits")
        #expect(limits.contains(#/Max core file size +0 +0 /#))
        // systemd's settings. The container may not be permitted to apply them in full.
        #expect(try machine.property("LimitNOFILE") == "262144")
        #expect(try machine.property("OOMScoreAdjust") == "-900")
    }

    /// Resident memory when idle, of which most is the code of libcrypto: that of OpenSSL 3.5 is larger.
    @Test func itIsSmall() throws {
        try machine.must("systemctl start keybrokerd.service")
        let pid = try machine.property("MainPID")
        let memory = try machine.must("sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\) kB/\\1/p' /proc/\(pid)/status")
        let isOld = try machine.must("openssl version").hasPrefix("OpenSSL 3.0")
        #expect(try #require(Int(memory)) <= (isOld ? 10 : 12) * 1024)
    }

    /// A search for a text in a text brings in Swift's regular expressions, which are a megabyte.
    @Test(arguments: ["/usr/sbin/keybrokerd", "/usr/lib/keybroker/keybroker-signer"])
    func itHasNoRegularExpressions(_ program: String) throws {
        #expect(try machine.must("grep -ac RegexParser \(program) || true") == "0")
    }

    /// `systemctl start` returns as soon as the broker serves, and fails if it cannot.
    @Test func itIsReadyWhenSystemdSaysSo() throws {
        try machine.must("systemctl start keybrokerd.service")
        #expect(try machine.property("SubState") == "running")
        let records = try machine.records()
        #expect(records.last?["event"] as? String == "start")
    }

    /// While the policy is faulty at the start, callers are told so at once, and systemd knows what to type.
    @Test func aFaultyPolicyAtTheStartIsSaidToEverybody() throws {
        try machine.policy("permit www-data kee web")
        let refused = try machine.mustFail(get)
        #expect(refused.status == 75 && refused.errors.contains("the broker's policy is faulty"), "\(refused)")
        let fault = "/etc/keybroker/keybroker.policy:2:17: error: unknown word 'kee'"
        let status = try machine.must("systemctl status keybrokerd.service")
        #expect(status.contains("Active: active (running)"), "\(status)")
        #expect(status.contains("Status: \"serves nobody, as the policy is faulty: \(fault)"), "\(status)")
        let journal = try machine.must("journalctl --sync; journalctl -q -p err -u keybrokerd.service")
        #expect(journal.contains(fault) && journal.contains("type: keybroker reload"), "\(journal)")
        #expect(try machine.mustFail("keybroker status").status == 78)
        #expect(try machine.mustFail("systemctl reload keybrokerd.service").status != 0)
        #expect(try machine.property("NRestarts") == "0")
        let pid = try machine.property("MainPID")
        // A unit is given an empty credential, and the journal says why.
        let load =
            "systemd-run --quiet --wait --pipe -p LoadCredential=web:/run/keybroker/credential.sock "
            + "sh -c 'wc -c <$CREDENTIALS_DIRECTORY/web'"
        #expect(try machine.must(load) == "0")
        try machine.policy("permit www-data key web")
        try machine.must("systemctl reload keybrokerd.service")
        #expect(try machine.must(get) == "THE KEY")
        #expect(try machine.property("MainPID") == pid)
        #expect(try machine.property("StatusText").hasPrefix("the policy was read anew: 1 key"))
        try machine.must("keybroker status")
    }

    /// A key that the unit hides: each place that an admin looks at names the setting, and what is to be typed helps.
    @Test func aKeyThatTheUnitHidesIsExplained() throws {
        for file in ["/home/keys/home.pem", "/tmp/temp.pem"] { try machine.write(file, "HIDDEN\n", mode: "600") }
        let dropIn = "/run/systemd/system/keybrokerd.service.d"
        defer { _ = try? machine.must("rm -rf /home/keys /tmp/temp.pem \(dropIn); systemctl daemon-reload") }
        let policy = "key home /home/keys/home.pem\nkey temp /tmp/temp.pem\npermit www-data key web home temp"
        try machine.must("systemctl start keybrokerd.service")
        try machine.policy(policy)

        func names(_ text: String, _ setting: String, _ remedy: String, _ unit: String = "keybrokerd") -> Bool {
            text.contains("\(setting)= of the unit \(unit) hides it; type: systemctl edit \(unit), write the lines")
                && text.contains("'[Service]' and '\(setting)=\(remedy)'")
        }
        let check = try machine.run("keybroker policy check")
        #expect(check.status == 0 && check.errors.contains("keybroker.policy:2:10: warning: the daemon cannot see"))
        #expect(names(check.errors, "ProtectHome", "read-only") && names(check.errors, "PrivateTmp", "no"))
        #expect(try machine.mustFail("keybroker policy check --strict").status == 78)
        let explained = try machine.must("keybroker policy explain --user www-data --key home")
        #expect(explained.contains("nothing would be handed out: /home/keys/home.pem is there, but ProtectHome= of"))

        let reload = try machine.run("keybroker reload")
        #expect(reload.status == 0)
        #expect(
            reload.errors.contains(
                "key 'home' cannot be handed out: /home/keys/home.pem is hidden from the broker by ProtectHome= of its unit; "
                    + "type: systemctl edit keybrokerd, write the lines"), "\(reload.errors)")
        #expect(reload.errors.contains("key 'temp'") && reload.errors.contains("PrivateTmp= of its unit"))
        let journal = try machine.must("journalctl --sync; journalctl -q -p warning -u keybrokerd.service")
        let unit = "keybrokerd.service"
        #expect(
            names(journal, "ProtectHome", "read-only", unit) && names(journal, "PrivateTmp", "no", unit), "\(journal)")
        let status = try machine.must("keybroker status")
        #expect(status.contains("2 key files hidden by the daemon's unit:"), "\(status)")
        #expect(status.contains("home: /home/keys/home.pem (ProtectHome=)"))
        let getHome = Machine.asUser("www-data", "keybroker get home")
        #expect(try machine.mustFail(getHome).status == 75)
        #expect(names(try machine.must("keybroker audit show -n 1 --format json"), "ProtectHome", "read-only", unit))

        try machine.write("\(dropIn)/home.conf", "[Service]\nProtectHome=read-only\n")
        try machine.must("systemctl daemon-reload; systemctl restart keybrokerd.service")
        #expect(try machine.must(getHome) == "HIDDEN")
        let mended = try machine.run("keybroker policy check")
        #expect(!mended.errors.contains("ProtectHome") && mended.errors.contains("PrivateTmp"), "\(mended.errors)")
        #expect(try machine.must("keybroker status").contains("1 key file hidden by the daemon's unit:"))
    }

    // MARK: Reload

    @Test func reload() throws {
        try machine.must("systemctl start keybrokerd.service")
        let pid = try machine.property("MainPID")
        try machine.policy("permit games key web")
        try machine.must("systemctl reload keybrokerd.service")
        // The new policy is in force when the command returns.
        #expect(try machine.mustFail(get).status == 77)
        #expect(try machine.must(Machine.asUser("games", "keybroker get web")) == "THE KEY")

        try machine.policy("permit www-data key nosuchkey")
        _ = try machine.mustFail("systemctl reload keybrokerd.service")
        let journal = try machine.must("journalctl --sync; journalctl -q -u keybrokerd.service")
        #expect(journal.contains("keybroker.policy:2:21: error: no key 'nosuchkey' is declared"))
        // The old policy stays in force, the same process serves, and the unit has not failed.
        #expect(try machine.must(Machine.asUser("games", "keybroker get web")) == "THE KEY")
        #expect(try machine.property("MainPID") == pid)
        #expect(try machine.property("ActiveState") == "active")
    }

    // MARK: Restart

    /// Starts a stream of requests, runs `body`, and returns how many were answered and which failed.
    private func stream(during body: () throws -> Void) throws -> String {
        try machine.must(
            """
            systemd-run --quiet --unit=stream -p StandardOutput=truncate:/run/stream.out \
                \(Machine.asUser("www-data", "python3 /tests/stream.py 4"))
            """)
        try machine.wait(until: "grep -q streams /run/stream.out")
        try body()
        try machine.must("systemctl stop stream.service")
        return try machine.must("tail -n 1 /run/stream.out")
    }

    @Test func aRestartLosesNoRequest() throws {
        try machine.must("systemctl start keybrokerd.service")
        let result = try stream {
            for _ in 0..<5 {
                let before = try machine.property("MainPID")
                try machine.must("systemctl restart keybrokerd.service")
                #expect(try machine.property("MainPID") != before)
            }
        }
        #expect(result.contains(" errors 0 "), "\(result)")
        #expect(try machine.must("keybroker audit verify").contains("records, 1 to"))
    }

    @Test func theWatchdogEndsWhatHangs() throws {
        try machine.write(
            "/run/systemd/system/keybrokerd.service.d/watchdog.conf", "[Service]\nWatchdogSec=1s\nRestartSec=0\n")
        defer {
            _ = try? machine.must("rm -r /run/systemd/system/keybrokerd.service.d; systemctl daemon-reload")
        }
        try machine.must("systemctl daemon-reload; systemctl start keybrokerd.service")
        let pid = try machine.property("MainPID")
        try machine.must("kill -STOP \(pid)")
        // A request that comes meanwhile is answered by the next process.
        #expect(try machine.must("\(get) --wait 20") == "THE KEY")
        #expect(try machine.property("MainPID") != pid)
        #expect(try machine.must("journalctl --sync; journalctl -q -u keybrokerd.service").contains("Watchdog timeout"))
    }

    // MARK: Rotation

    @Test(.enabled(if: installed("logrotate") != nil, "logrotate is not installed")) func logrotate() throws {
        try machine.must("systemctl start keybrokerd.service")
        #expect(try machine.must(get) == "THE KEY")
        let rotate = "logrotate --force --state /run/logrotate.state /etc/logrotate.d/keybroker"
        for round in 1...3 {
            let before = try machine.records().count
            #expect(before > 0)
            #expect(try machine.must("\(rotate) 2>&1").isEmpty)
            try machine.wait(until: "[[ -s /var/log/keybroker/audit.jsonl ]] || { \(get) >/dev/null; false; }")
            #expect(try machine.records().first?["previous"] is String, "round \(round)")
            #expect(
                try machine.must("stat -c '%A %U %G' /var/log/keybroker/audit.jsonl")
                    == "-rw-r----- keybroker keybroker")
        }
        // The newest rotated file is plain text, the older ones are compressed.
        let names = try machine.must("ls /var/log/keybroker").split(separator: "\n")
        #expect(names == ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2.gz", "audit.jsonl.3.gz"])
        // It also continues after a restart directly after a rotation.
        try machine.must("\(rotate); systemctl restart keybrokerd.service")
        #expect(try machine.must(get) == "THE KEY")
        try machine.must("cd /var/log/keybroker; gunzip audit.jsonl.*.gz; keybroker audit verify")
        // If the daemon does not run, the rotation reports nothing and does not fail.
        try machine.must("systemctl stop keybrokerd.service")
        #expect(try machine.must("\(rotate) 2>&1").isEmpty)
    }

    // MARK: A broker of a user

    @Test func aUsersOwnBroker() throws {
        try machine.must(
            """
            id somebody >/dev/null 2>&1 || useradd --create-home --uid 61500 somebody
            install -d -m 700 -o somebody /run/user/61500
            install -d -o somebody ~somebody/.config/keybroker
            printf 'MINE\\n' >~somebody/mine.pem
            printf 'key mine /home/somebody/mine.pem\\npermit somebody key mine\\n' \
                >~somebody/.config/keybroker/keybroker.policy
            chown somebody ~somebody/mine.pem ~somebody/.config ~somebody/.config/keybroker/keybroker.policy
            chmod 600 ~somebody/mine.pem
            systemctl start user@61500.service
            """)
        let user = "setpriv --reuid somebody --regid somebody --clear-groups env -C / XDG_RUNTIME_DIR=/run/user/61500"
        let socket = "/run/user/61500/keybroker/broker.sock"
        try machine.must("\(user) systemctl --user enable --now keybrokerd.socket")
        #expect(try machine.must("\(user) systemctl --user show -P ActiveState keybrokerd.service") == "inactive")
        #expect(try machine.must("\(user) keybroker get mine --socket \(socket)") == "MINE")
        #expect(try machine.must("stat -c '%A %U' \(socket)") == "srw------- somebody")
        #expect(try machine.must("stat -c '%A' ~somebody/.local/state/keybroker/audit.jsonl") == "-rw-------")
        let entries = "journalctl --sync; journalctl -q -o cat _SYSTEMD_USER_UNIT=keybrokerd.service KEY=mine"
        #expect(try machine.must(entries).contains("granted mine to uid 61500 in with-systemd-command.scope (dec"))
        try machine.must("\(user) systemctl --user restart keybrokerd.service")
        #expect(try machine.must("\(user) keybroker get mine --socket \(socket)") == "MINE")
        try machine.must("\(user) systemctl --user reload keybrokerd.service")
        try machine.must("systemctl stop user@61500.service")
    }
}
