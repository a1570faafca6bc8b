// The life of the package on a machine: installed, used, upgraded while the daemon runs, removed, purged.
//
// Must never leave a trace on the machine that runs the tests. Everything happens in the container.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct PackageTests {
    private let folder = TemporaryFolder("package")

    @Test(.enabled(if: installed("lintian") != nil, "lintian is not installed")) func lintianHasNothingToSay() throws {
        let lintian = try Program.run(
            installed("lintian") ?? "", ["--allow-root", "--fail-on", "error,warning", try Machine.package()])
        #expect(lintian.status == 0 && lintian.output.isEmpty, "\(lintian.output)\(lintian.errors)")
    }

    /// It depends only on the C library and libcrypto. The Swift runtime and the C++ library are linked in.
    @Test func itNeedsWhatItSays() throws {
        let needs = try Program.run("/usr/bin/dpkg-deb", ["-f", try Machine.package(), "Depends"]).output
        let libraries = needs.split(separator: ", ").compactMap { $0.split(separator: " ").first }
            .filter { $0.hasPrefix("lib") }
        #expect(Set(libraries) == ["libc6", "libgcc-s1", "libssl3"])
    }

    @Test func itsLife() throws {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web\nlimit www-data connections 64 requests 100000")
        #expect(try machine.must("systemctl is-enabled keybrokerd.socket") == "enabled")
        #expect(try machine.must("systemctl is-active keybrokerd.socket") == "active")
        #expect(try machine.must("systemctl is-enabled keybrokerd-credential.socket") == "enabled")
        #expect(try machine.must("systemctl is-active keybrokerd-credential.socket") == "active")
        #expect(try machine.must("getent passwd keybroker | cut -d: -f6,7") == "/:/usr/sbin/nologin")
        let get = Machine.asUser("www-data", "keybroker get web")
        #expect(try machine.must(get) == "THE KEY")
        for page in [
            "keybroker.1", "keybrokerd.8", "keybroker.policy.5", "keybroker-audit.5", "keybroker.3",
            "keybroker-protocol.7",
        ] {
            try machine.must("gzip -t /usr/share/man/man\(page.last ?? "1")/\(page).gz")
        }
        try machine.must("bash -n /usr/share/bash-completion/completions/keybroker")
        // The clients for other languages.
        try machine.must("[[ -s /usr/include/keybroker.h && -s /usr/share/doc/keybroker/examples/keybroker.go ]]")
        try machine.must("grep -q '^Version: [0-9.]*$' /usr/share/pkgconfig/keybroker.pc")
        let load = "/usr/bin/python3 -c \"import keybroker; keybroker.KeyBroker().get('web').close()\""
        try machine.must(Machine.asUser("www-data", load))
        try machine.must("/usr/bin/python3 -c 'import keybroker'")

        // An upgrade under constant requests: the daemon is a new one, the socket is the same, and no caller is
        // refused.
        try upgrade(machine)

        // An upgrade does not restart a daemon whose policy is faulty, because it could not start with that policy
        // again.
        let (pid, policy) = (try machine.property("MainPID"), try machine.must("cat /etc/keybroker/keybroker.policy"))
        try machine.policy("permit nosuchuser key web")
        let again = try machine.run("dpkg --force-unsafe-io --no-triggers -i /run/later.deb")
        #expect(again.status == 0)
        #expect(again.errors.contains("the policy is faulty, so the old daemon was left running"))
        #expect(try machine.property("MainPID") == pid)
        #expect(try machine.must(get) == "THE KEY")
        try machine.write("/etc/keybroker/keybroker.policy", policy + "\n")

        // Removed: service and socket are gone, policy and log stay.
        try machine.must("dpkg --no-triggers -r keybroker")
        #expect(
            try machine.run("systemctl is-active keybrokerd.socket keybrokerd-credential.socket keybrokerd.service")
                .status != 0)
        try machine.must("[[ ! -e /run/keybroker && ! -e /usr/sbin/keybrokerd ]]")
        try machine.must("[[ -s /etc/keybroker/keybroker.policy && -s /var/log/keybroker/audit.jsonl ]]")
        try machine.must(
            "[[ -z $(find /usr /run/systemd -name '*keybroker*' -not -path '/usr/lib/systemd/system/*') ]]")

        // Purged: the package's policy is gone, the log stays.
        let purge = try machine.run("dpkg --no-triggers -P keybroker")
        #expect(purge.status == 0)
        #expect(purge.errors.contains("the audit log in /var/log/keybroker is kept"))
        try machine.must("[[ ! -e /etc/keybroker && ! -e /etc/logrotate.d/keybroker ]]")
        try machine.must("[[ -s /var/log/keybroker/audit.jsonl ]]")
        #expect(try machine.must("find /etc/systemd /var/lib/systemd -name '*keybroker*'").isEmpty)

        // Installed again: it is enabled again, and the log continues.
        try machine.install(policy: "permit www-data key web")
        let count = "wc -l </var/log/keybroker/audit.jsonl"
        let before = try #require(Int(machine.must(count)))
        #expect(try machine.must(get) == "THE KEY")
        #expect(try machine.must(count) == String(before + 2))
        try machine.must("keybroker audit verify")
        try machine.must("systemctl stop keybrokerd.socket keybrokerd.service; : >/var/log/keybroker/audit.jsonl")
        try machine.must("dpkg --no-triggers -P keybroker; [[ ! -e /var/log/keybroker ]]")
    }

    /// The version before had one socket. The running daemon gets the second one at its restart, and no caller notices.
    @Test func anUpgradeFromAVersionWithoutTheSocketForCredentials() throws {
        let machine = try Machine()
        try machine.must(
            """
            dpkg-deb -R /package/*.deb /run/old
            cd /run/old
            rm usr/lib/systemd/system/keybrokerd-credential.socket
            sed -i 's/ keybrokerd-credential.socket//' usr/lib/systemd/system/keybrokerd.service DEBIAN/p*
            sed -i 's/^Version: .*/Version: 0.0.1/' DEBIAN/control
            dpkg-deb --root-owner-group -Znone -b /run/old /run/old.deb
            dpkg --force-unsafe-io --no-triggers -i /run/old.deb
            """)
        try machine.write("/etc/ssl/private/web.pem", "THE KEY\n", mode: "600")
        try machine.policy(
            "permit unit:probe.service key web\npermit www-data key web\nlimit www-data connections 64 requests 100000")
        try machine.must(
            """
            systemctl reload-or-restart keybrokerd.service
            [[ ! -e /run/keybroker/credential.sock ]]
            systemd-run --quiet --unit=stream -p StandardOutput=truncate:/run/stream.out \
                \(Machine.asUser("www-data", "python3 /tests/stream.py 2"))
            """)
        try machine.wait(until: "grep -q streams /run/stream.out")
        let upgrade = try machine.run("dpkg --force-unsafe-io --no-triggers -i /package/*.deb")
        #expect(upgrade.status == 0 && !upgrade.errors.contains("failed"), "\(upgrade.errors)")
        try machine.must("systemctl stop stream.service")
        let result = try machine.must("tail -n 1 /run/stream.out")
        #expect(result.contains(" errors 0 "), "\(result)")
        #expect(try machine.must("systemctl is-enabled keybrokerd-credential.socket") == "enabled")
        #expect(
            try machine.must(
                """
                systemd-run --quiet --pipe --wait --unit=probe -p LoadCredential=web:/run/keybroker/credential.sock \
                    sh -c 'cat $CREDENTIALS_DIRECTORY/web'
                """) == "THE KEY")
    }

    private func upgrade(_ machine: Machine) throws {
        // The same package with a later version number.
        try machine.must(
            """
            dpkg-deb -R /package/*.deb /run/later
            sed -i 's/^Version: .*/&+later/' /run/later/DEBIAN/control
            dpkg-deb --root-owner-group -Znone -b /run/later /run/later.deb
            systemd-run --quiet --unit=stream -p StandardOutput=truncate:/run/stream.out \
                \(Machine.asUser("www-data", "python3 /tests/stream.py 2"))
            """)
        try machine.wait(until: "grep -q streams /run/stream.out")
        let before = try machine.property("MainPID")
        let socket = try machine.must("stat -c %i /run/keybroker/broker.sock")
        try machine.must("dpkg --force-unsafe-io --no-triggers -i /run/later.deb")
        #expect(try machine.property("MainPID") != before)
        #expect(try machine.must("stat -c %i /run/keybroker/broker.sock") == socket)
        try machine.must("systemctl stop stream.service")
        let result = try machine.must("tail -n 1 /run/stream.out")
        #expect(result.contains(" errors 0 "), "\(result)")
        // The policy that the admin wrote is unchanged.
        #expect(try machine.must("cat /etc/keybroker/keybroker.policy").contains("permit www-data"))
    }

    // MARK: Without a package manager

    @Test func makeInstall() throws {
        try folder.directory("root")
        func make(_ target: String) throws {
            let made = try Program.run(
                projectFolder.appendingPathComponent("systemd/install").path,
                (target == "uninstall" ? ["--remove"] : [])
                    + [projectFolder.appendingPathComponent(".build-release/release").path],
                environment: ["DESTDIR": folder["root"], "PREFIX": "/opt/broker"])
            #expect(made.status == 0, "\(made.errors)")
        }
        try make("install")
        let unit = try folder.text("root/opt/broker/lib/systemd/system/keybrokerd.service")
        #expect(unit.contains("\nExecStart=/opt/broker/sbin/keybrokerd\n"))
        #expect(unit.contains("\nExecReload=+/opt/broker/bin/keybroker reload\n"))
        #expect(unit.contains("\nExecPaths=/opt/broker/sbin/keybrokerd "))
        #expect(!unit.contains("/usr/sbin/keybrokerd"))
        let version = try Program.run(folder["root/opt/broker/sbin/keybrokerd"], ["--version"])
        #expect(version.output.hasPrefix("keybrokerd "))
        // An existing policy is never overwritten and never removed.
        try folder.write("root/etc/keybroker/keybroker.policy", "# mine\n")
        try make("install")
        #expect(try folder.text("root/etc/keybroker/keybroker.policy") == "# mine\n")
        try make("uninstall")
        let left = FileManager.default.enumerator(atPath: folder["root"])?.compactMap { $0 as? String } ?? []
        #expect(
            left.filter { $0.contains("keybroker") }.sorted() == [
                "etc/keybroker", "etc/keybroker/keybroker.policy", "etc/keybroker/policy.d",
            ])
    }
}
