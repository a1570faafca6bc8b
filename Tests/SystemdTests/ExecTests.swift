// `keybroker exec` in units of a real systemd: who the main process is, who may say that it is ready, and what is left
// when the unit stops.

import Foundation
import TestSupport
import Testing

extension ServiceTests {
    /// The unit needs no setting because of `keybroker exec`: no NotifyAccess=, no KillMode=.
    @Test func aNotifyingServiceGetsItsNextKey() throws {
        try machine.must(
            "echo ONE >/etc/ssl/private/n.pem; echo 1 >/etc/ssl/private/n.crt; chmod 600 /etc/ssl/private/n.pem")
        try machine.policy(
            """
            key n /etc/ssl/private/n.pem certificate /etc/ssl/private/n.crt
            permit www-data unit notifying.service key n
            permit www-data key web
            """)
        try machine.write(
            "/run/systemd/system/notifying.service",
            """
            [Service]
            Type=notify
            User=www-data
            SupplementaryGroups=keyusers
            ExecStart=keybroker exec --wait 30s --on-rotate HUP -- python3 /tests/notify.py {n} {n.certificate}

            """)
        try machine.must("systemctl daemon-reload; systemctl start keybrokerd.service notifying.service")
        func property(_ name: String) throws -> String { try machine.property(name, of: "notifying.service") }
        #expect(try property("StatusText") == "reading 1: ONE 1")
        let pid = try property("MainPID")
        #expect(try machine.must("tr '\\0' ' ' </proc/\(pid)/cmdline").hasPrefix("python3 /tests/notify.py"))
        let others = try machine.must(
            "grep -v '^\(pid)$' /sys/fs/cgroup/system.slice/notifying.service/cgroup.procs | xargs -n 1 ps -o args= -p")
        #expect(others.hasPrefix("keybroker: watches n for \(pid)"))

        try machine.must("cd /etc/ssl/private; echo TWO >new; chmod 600 new; echo 2 >n.crt; mv new n.pem")
        try machine.wait(until: "[[ $(systemctl show -P StatusText notifying.service) == 'reading '*': TWO 2' ]]")
        #expect(try property("MainPID") == pid)

        try machine.must("systemctl stop notifying.service")
        #expect(try property("Result") == "success")
        #expect(try machine.run("pgrep -f 'keybroker: watches'").status == 1)
        let journal = try machine.must("journalctl --sync; journalctl -q -o cat -u notifying.service")
        #expect(!journal.contains("remains running"), "\(journal)")
        try machine.must("rm /run/systemd/system/notifying.service; systemctl daemon-reload")
    }
}
