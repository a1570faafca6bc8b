// The metrics' timer on a machine: what it writes, as whom, and what is left when the package goes. And the package's own
// tests, which Debian runs.
//
// Must never leave a trace on the machine that runs the tests. Everything happens in the container.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Machine.condition) struct MetricsTimerTests {
    @Test func theTimerWritesTheMetrics() throws {
        let machine = try Machine()
        try machine.install(policy: "permit www-data key web")
        #expect(try machine.run("systemctl is-enabled keybroker-metrics.timer").output == "disabled\n")
        try machine.must("systemctl enable --quiet --now keybroker-metrics.timer")
        let file = "/run/keybroker-metrics/keybroker.prom"
        try machine.wait(until: "grep -qx 'keybroker_up 1' \(file)")
        #expect(try machine.must("stat -c '%a %U' \(file)") == "644 keybroker")
        #expect(try machine.must("grep -c . \(file)") != "0")
        let unit = "/usr/lib/systemd/system/keybroker-metrics.service"
        let verified = try machine.run("systemd-analyze verify \(unit)")
        #expect(verified.status == 0 && verified.errors.isEmpty, "\(verified.errors)")
        // It sees neither policy nor log.
        try machine.must("systemd-analyze security --offline=true --threshold=20 \(unit)")
        // A broker without a policy answers too, and the file says what is wrong.
        try machine.must(
            """
            mv /etc/keybroker/keybroker.policy /etc/keybroker/aside
            echo nonsense >/etc/keybroker/keybroker.policy
            systemctl restart keybrokerd
            systemctl start keybroker-metrics.service
            grep -qx 'keybroker_up 1' \(file) && grep -qx 'keybroker_policy_in_force 0' \(file)
            mv /etc/keybroker/aside /etc/keybroker/keybroker.policy
            """)
        // If the broker cannot be reached, the file says so, and the journal why, once.
        try machine.must(
            """
            systemctl stop keybrokerd.socket keybrokerd-credential.socket keybrokerd.service
            systemctl start keybroker-metrics.service
            systemctl start keybroker-metrics.service
            grep -qx 'keybroker_up 0' \(file)
            """)
        let said = try machine.must(
            "journalctl --sync; journalctl -q -u keybroker-metrics.service -o cat | grep -c 'no broker at'")
        #expect(said == "1")
        try machine.must("dpkg --no-triggers -P keybroker")
        #expect(
            try machine.must("find /etc/systemd /run/keybroker-metrics -name '*keybroker*' 2>/dev/null || true").isEmpty
        )
    }
}
