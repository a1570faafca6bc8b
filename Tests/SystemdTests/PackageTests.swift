// The life of the package on a machine: installed, used, upgraded while the daemon runs, removed, purged.
//
// Must never leave a trace on the machine that runs the tests. Everything happens in the container.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct PackageTests {
    private let folder = TemporaryFolder("package")

    @Test(.enabled(if: installed("lintian") != nil, "lintian is not installed")) func lintianHasNothingToSay() throws {
        // A later one does not know each tag that the overrides for Debian 12 are for.
        let isOld = try Program.run(installed("lintian") ?? "", ["--version"]).output.contains("v2.116.")
        let lintian = try Program.run(
            installed("lintian") ?? "",
            [
                "--allow-root", "--pedantic", "--display-info", "--fail-on", "error,warning,info,pedantic",
                try Machine.package(),
            ] + (isOld ? [] : ["--suppress-tags", "alien-tag"]), seconds: 300)
        #expect(lintian.status == 0 && lintian.output.isEmpty, "\(lintian.output)\(lintian.errors)")
    }

    /// It depends only on the C library and libcrypto. The Swift runtime and the C++ library are linked in.
    @Test func itNeedsWhatItSays() throws {
        let needs = try Program.run("/usr/bin/dpkg-deb", ["-f", try Machine.package(), "Depends"]).output
        let libraries = needs.split(separator: ", ").compactMap { $0.split(separator: " ").first }
            .filter { $0.hasPrefix("lib") }
        // Debian 13 has another name for the same library.
        let names = libraries.map { $0 == "libssl3t64" ? "libssl3" : $0 }
        #expect(Set(names) == ["libc6", "libgcc-s1", "libssl3"])
    }

    /// The list in SPDX names every file of the package with its digest, and every library that it needs.
    @Test func itsBillOfMaterialsIsComplete() throws {
        let package = try Machine.package()
        try folder.shell("dpkg-deb -x '\(package)' root")
        let name = "usr/share/doc/keybroker/keybroker.spdx.json"
        let data = Data(try folder.text("root/\(name)").utf8)
        let document = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        #expect(document["spdxVersion"] as? String == "SPDX-2.3" && document["dataLicense"] as? String == "CC0-1.0")
        let files = try #require(document["files"] as? [[String: Any]])
        var listed: [String: String] = [:]
        for file in files {
            let sums = file["checksums"] as? [[String: String]] ?? []
            let sum = sums.first { $0["algorithm"] == "SHA256" }?["checksumValue"]
            listed[file["fileName"] as? String ?? ""] = sum
            #expect(sums.contains { $0["algorithm"] == "SHA1" })
        }
        let found = try Program.run(
            "/bin/sh", ["-c", "find . -type f ! -path './\(name)' -exec sha256sum {} +"], directory: folder["root"])
        let lines = found.output.split(separator: "\n").map { $0.split(separator: " ", maxSplits: 1) }
        #expect(lines.count == listed.count && lines.count > 20)
        for line in lines { #expect(listed[line[1].trimmingCharacters(in: .whitespaces)] == String(line[0])) }

        let packages = try #require(document["packages"] as? [[String: Any]])
        let parts = Set(packages.compactMap { $0["name"] as? String })
        let needs = try Program.run("/usr/bin/dpkg-deb", ["-f", package, "Depends"]).output
        let libraries = needs.split(separator: ", ").compactMap { $0.split(separator: " ").first.map(String.init) }
            .filter { $0.hasPrefix("lib") }
        #expect(parts.isSuperset(of: libraries + ["keybroker", "swift-runtime", "swift-argument-parser"]), "\(parts)")
        for part in packages {
            #expect((part["versionInfo"] as? String)?.isEmpty == false, "\(part)")
            #expect(part["downloadLocation"] is String && part["SPDXID"] is String)
        }
        // Each relation is of parts that there are, and no name stands twice.
        let names = (files + packages).compactMap { $0["SPDXID"] as? String } + ["SPDXRef-DOCUMENT"]
        #expect(Set(names).count == names.count)
        for relation in try #require(document["relationships"] as? [[String: String]]) {
            #expect(names.contains(relation["spdxElementId"] ?? ""), "\(relation)")
            #expect(names.contains(relation["relatedSpdxElement"] ?? ""), "\(relation)")
        }
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
            "keybroker-protocol.7", "keybroker-provider.7",
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
        // The provider is where the system's OpenSSL looks for it.
        try machine.must(
            "OPENSSL_CONF=/usr/share/keybroker/openssl.cnf openssl list -providers | grep -A3 keybroker | grep active")

        // An upgrade under constant requests: the daemon is a new one, the socket is the same, and no caller is
        // refused.
        try upgrade(machine)

        // An upgrade does not restart a daemon whose policy is faulty, because it could not start with that policy
        // again.
        let (pid, policy) = (try machine.property("MainPID"), try machine.must("cat /etc/keybroker/keybroker.policy"))
        try machine.policy("permit www-data key nosuchkey")
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
        func make(_ target: String, for managers: String = "systemd") throws {
            let made = try Program.run(
                projectFolder.appendingPathComponent("systemd/install").path,
                (target == "uninstall" ? ["--remove"] : [])
                    + [projectFolder.appendingPathComponent(".build-release/release").path],
                environment: ["DESTDIR": folder["root"], "PREFIX": "/opt/broker", "INIT": managers])
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
        // A prefix where OpenSSL does not look by itself.
        let module = try folder.text("root/opt/broker/share/keybroker/openssl.cnf").firstMatch(
            of: #/\nmodule = (\S+)\n/#)
        let path = try #require(module).1
        #expect(path.hasPrefix("/opt/broker/lib/"))
        #expect(FileManager.default.fileExists(atPath: folder["root"] + path))
        // An existing policy is never overwritten and never removed.
        try folder.write("root/etc/keybroker/keybroker.policy", "# mine\n")
        try make("install")
        #expect(try folder.text("root/etc/keybroker/keybroker.policy") == "# mine\n")
        // The service files are examples, unless they are asked for.
        #expect(
            try !folder.text("root/opt/broker/share/doc/keybroker/examples/openrc/keybrokerd").contains("/usr/sbin"))
        #expect(!FileManager.default.fileExists(atPath: folder["root/etc/init.d/keybrokerd"]))
        try make("install", for: "openrc runit")
        for (path, text) in [
            ("init.d/keybrokerd", "command=\"/opt/broker/sbin/keybrokerd\""),
            ("sv/keybrokerd/run", "exec /opt/broker/sbin/"),
        ] {
            #expect(try folder.text("root/etc/\(path)").contains(text))
            #expect(FileManager.default.isExecutableFile(atPath: folder["root/etc/\(path)"]))
        }
        try make("uninstall")
        let left = FileManager.default.enumerator(atPath: folder["root"])?.compactMap { $0 as? String } ?? []
        #expect(
            left.filter { $0.contains("keybroker") }.sorted() == [
                "etc/keybroker", "etc/keybroker/keybroker.policy", "etc/keybroker/policy.d",
            ])
    }
}
