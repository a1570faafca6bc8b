// The sandbox of the unit: what systemd says about the units as text, and what an attacker who has taken over the
// broker can still do inside of it.
//
// Must never count an attempt as stopped if it would also have failed without the sandbox.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct SandboxTests {
    private let machine: Machine

    private static let shared = Result {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web")
        return machine
    }

    init() throws { machine = try Self.shared.get() }

    // MARK: The units as text

    @Test func systemdHasNothingToSayOfTheUnits() throws {
        let units = "/usr/lib/systemd"
        #expect(
            try machine.must(
                "systemd-analyze verify \(units)/system/keybrokerd{.socket,-credential.socket,.service} 2>&1"
            ).isEmpty)
        #expect(
            try machine.must(
                "XDG_RUNTIME_DIR=/run systemd-analyze verify --user \(units)/user/keybrokerd.{socket,service} 2>&1"
            ).isEmpty)
        #expect(try machine.must("systemd-tmpfiles --create keybroker.conf 2>&1").isEmpty)
        #expect(try machine.must("systemd-sysusers keybroker.conf 2>&1").isEmpty)
    }

    /// The score and every point of it that is not perfect. keybroker-security(7) has the same list.
    @Test func theExposureIsAtMostPointEight() throws {
        let unit = projectFolder.appendingPathComponent("systemd/keybrokerd.service").path
        let analyze = try Program.run(
            installed("systemd-analyze") ?? "", ["security", "--offline=true", "--threshold=8", "--no-pager", unit])
        #expect(analyze.status == 0, "\(analyze.output)")
        let open = analyze.output.split(separator: "\n").filter { $0.hasPrefix("✗") }
            .compactMap { $0.dropFirst(2).split(separator: " ").first.map(String.init) }
        #expect(
            Set(open) == [
                "RootDirectory=/RootImage=", "AmbientCapabilities=",
                "CapabilityBoundingSet=~CAP_(DAC_*|FOWNER|IPC_OWNER)",
                "RestrictAddressFamilies=~AF_UNIX", "ProtectProc=", "ProcSubset=", "PrivateUsers=", "DeviceAllow=",
            ])
        let page = try String(
            contentsOf: projectFolder.appendingPathComponent("systemd/keybroker-security.7"), encoding: .utf8)
        for point in open { #expect(page.contains(".It Li \(point) , No 0."), "\(point)") }
    }

    @Test func everyDirectiveHasItsReason() throws {
        for name in ["keybrokerd.service", "keybrokerd.socket", "keybrokerd-credential.socket"] {
            let path = projectFolder.appendingPathComponent("systemd/\(name)").path
            let paragraphs = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n\n")
            for paragraph in paragraphs.dropFirst() where paragraph.contains(#/^# ---/#) {
                var isExplained = false
                for line in paragraph.split(separator: "\n").dropFirst() {
                    if line.hasPrefix("#") { isExplained = true }
                    #expect(isExplained, "\(name): \(line)")
                }
            }
        }
    }

    // MARK: Inside of the sandbox

    /// The sandbox of the unit lets the program set up its own sandbox as well.
    @Test func theProgramsOwnWallsStandToo() throws {
        try machine.must("systemctl start keybrokerd.service")
        let status = try machine.must("keybroker status")
        for wall in ["no-new-privileges: on", "capabilities: dac_read_search", "landlock: version", "seccomp: on"] {
            #expect(status.contains(wall), "\(status)")
        }
        #expect(!status.contains("missing"), "\(status)")
        let process = try machine.must("cat /proc/\(try machine.property("MainPID"))/status")
        #expect(process.contains("CapAmb:\t0000000000000000\n"))
        // The unit's seccomp filter forbids giving up a capability. The child process has none all the same.
        let pid = try machine.property("MainPID")
        let child = try machine.must("cat /proc/$(pgrep -P \(pid) -x keybrokerd-name)/status")
        for line in ["Name:\tkeybrokerd-name", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000"] {
            #expect(child.contains("\(line)\n"), "\(child)")
        }
        // If it ends, another child makes it anew, and has no capability either.
        let policy = "/etc/keybroker/keybroker.policy"
        try machine.must("cp -p \(policy) /tmp/before; echo 'limit games connections 2' >>\(policy)")
        try machine.must("kill -KILL $(pgrep -P \(pid) -x keybrokerd-name) && keybroker reload")
        let made = try machine.must("cat /proc/$(pgrep -n -x keybrokerd-name)/status")
        for line in ["CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
            #expect(made.contains("\(line)\n"), "\(made)")
        }
        try machine.must("cp -p /tmp/before \(policy) && keybroker reload")
        // One filter is the unit's and one is the program's.
        #expect(process.contains(#/Seccomp_filters:\t([2-9]|\d\d)\n/#), "\(process)")
    }

    /// Mounts: only a few places are writable, and nothing in them can be executed.
    @Test func nothingThatItCanWriteToCanBeExecuted() throws {
        try machine.must("systemctl start keybrokerd.service")
        let table = try machine.must("cat /proc/\(try machine.property("MainPID"))/mountinfo")
        // A later mount hides an earlier one at the same place.
        var options: [String: Set<Substring>] = [:]
        for line in table.split(separator: "\n") {
            let fields = line.split(separator: " ")
            options[String(fields[4])] = Set(fields[5].split(separator: ","))
        }
        // systemd from 254 on gives each service the one file by which it can watch its own memory.
        let own = "/keybrokerd.service/memory.pressure"
        let writable = options.filter { $0.value.contains("rw") && !$0.key.hasSuffix(own) }.keys
        #expect(
            writable.filter { !$0.hasPrefix("/dev/") && !$0.hasPrefix("/run/") && !$0.hasPrefix("/usr/lib/") }.sorted()
                == ["/proc", "/tmp", "/var/log/keybroker", "/var/tmp"])
        for path in writable { #expect(options[path]?.contains("noexec") == true, "\(path)") }
        for path in ["/", "/run", "/usr/lib", "/usr/sbin/keybrokerd", "/dev/shm"] {
            #expect(options[path]?.contains("ro") == true, "\(path)")
        }
    }

    /// Compares what the probe can do in the service with what root can do without any sandbox.
    @Test func aBrokerThatWasTakenOver() throws {
        try machine.must("touch /tmp/probe /home/probe ~root/.probe; systemctl stop keybrokerd.service")
        let outside = report(try machine.must("python3 /tests/probe.py --no-exec"))
        // The same as the service except for the program. It must be able to execute Python.
        try machine.write(
            "/run/systemd/system/keybrokerd.service.d/probe.conf",
            """
            [Service]
            Type=oneshot
            ExecStart=
            ExecStart=/usr/bin/python3 /tests/probe.py
            BindReadOnlyPaths=\(try machine.must("echo /usr/bin/python3 $(realpath /usr/bin/python3)"))
            WatchdogSec=0
            Restart=no
            StandardOutput=truncate:/run/probe.out

            """)
        try machine.must(
            """
            systemctl daemon-reload; systemctl start keybrokerd.service
            rm -r /run/systemd/system/keybrokerd.service.d; systemctl daemon-reload
            """)
        let inside = report(try machine.must("cat /run/probe.out"))

        let allowed: Set = ["read the key", "write to its log", "read its callers' units", "make its one child"]
        for (attempt, result) in inside {
            if allowed.contains(attempt) {
                #expect(result == "done", "\(attempt)")
            } else {
                // The sandbox must be the reason: not a missing file, and not a wrong call.
                let hidden = ["see /home", "see /root", "see the machine's /tmp", "read the kernel's log"]
                let walls = hidden.contains(attempt) ? ["ENOENT"] : ["EPERM", "EACCES", "EROFS", "EAFNOSUPPORT"]
                #expect(walls.contains(result), "\(attempt): \(result)")
            }
        }
        // Without the sandbox they succeed, except for what the container, or the way of the call, forbids even to
        // root.
        let notForRoot = [
            "replace itself": "ETXTBSY", "set a kernel parameter": "EROFS", "read another's memory": "EIO",
            "leave the mount namespace": "EFAULT", "load a BPF program": "E2BIG", "load a module": "ENOSYS",
            "make an io_uring": "EFAULT",
        ]
        for (attempt, result) in outside where result != "done" {
            #expect(notForRoot[attempt] != nil && !["EPERM", "EACCES"].contains(result), "\(attempt): \(result)")
        }
        #expect(
            Set(inside.keys).subtracting(outside.keys) == [
                "execute a shell", "execute systemctl", "execute what it wrote", "execute what lies nowhere",
            ])
        #expect(outside.count > 35 && Set(outside.keys).isSubset(of: inside.keys))
    }

    /// The result of each attempt.
    private func report(_ lines: String) -> [String: String] {
        Dictionary(
            lines.split(separator: "\n").map { line in
                let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
                return (parts[1], parts[0])
            }, uniquingKeysWith: { first, _ in first })
    }
}
