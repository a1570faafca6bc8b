// Keys that are lent by the daemon as the package installs it, in its unit's sandbox.

import Foundation
import TestSupport
import Testing

extension ServiceTests {
    @Test func aKeyIsLentToAUnit() throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/signs.py")
        try machine.write("/opt/signs.py", try String(contentsOf: script, encoding: .utf8))
        try machine.must(
            "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /etc/ssl/private/lent.pem; "
                + "chmod 600 /etc/ssl/private/lent.pem")
        try machine.must("systemctl start keybrokerd.service")
        let permit = "permit unit:lends.service sign lent for tls-server\npermit www-data key web\n"
        try machine.policy("key lent /etc/ssl/private/lent.pem\n\(permit)")
        try machine.must("systemctl reload keybrokerd.service")
        let steps = #"printf "open lent\nsign 5\nother x\nclose\n""#
        let said = try machine.must(
            "systemd-run --quiet --wait --pipe --unit lends -p DynamicUser=yes -p SupplementaryGroups=keyusers "
                + "-p BindReadOnlyPaths=/opt/signs.py:/run/signs.py "
                + "sh -c '\(steps) | python3 /run/signs.py /run/keybroker/broker.sock' </dev/null")
        #expect(said.contains("\"descriptors\": 1") && said.contains("\"signed\": 5"), "\(said)")
        #expect(said.contains("\"kind\": \"D\""), "\(said)")
        try machine.wait(until: "keybroker audit show -n 1 --format json | grep -q '\"event\":\"channel\"'")
        let end = try #require(try machine.records().last)
        #expect(end["signatures"] as? Int == 5 && end["unit"] as? String == "lends.service")
        #expect(try machine.mustFail("keybroker get lent").status == 77)

        // What the process that signs may do.
        let worker = try machine.must(
            "keeper=$(pgrep -P $(systemctl show -P MainPID keybrokerd) -f keybroker-signer); pgrep -P $keeper")
        let status = try machine.must("cat /proc/\(worker)/status")
        #expect(status.contains("CapEff:\t0000000000000000") && status.contains("Seccomp:\t2"), "\(status)")
        let locked = status.split(separator: "\n").first { $0.hasPrefix("VmLck:") } ?? ""
        #expect(!locked.hasSuffix("\t       0 kB"), "\(locked)")
        // Nobody but root can read its memory: what stands for it in /proc is root's.
        #expect(try machine.must("stat -c %u /proc/\(worker)/mem") == "0")
        #expect(status.contains("Uid:\t\(try machine.must("id -u keybroker"))\t"), "\(status)")
    }
}
