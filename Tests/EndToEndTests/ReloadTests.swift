// A reload in the daemon's own sandbox.

import Foundation
import TestSupport
import Testing

struct ReloadTests {
    private let folder = TemporaryFolder("reload")

    /// Regression: the filter of system calls did not permit what fdopendir(3) does, so no directory could be read again.
    @Test func aDirectoryOfPoliciesIsReadAgain() throws {
        try folder.write("key", "KEY", mode: 0o600)
        try folder.directory("policy.d")
        try folder.write("policy.d/a.policy", "key a \(folder["key"])\n")
        let daemon = try Daemon(folder, policy: "", policyPath: folder["policy.d"])
        try folder.write("policy.d/b.policy", "key b \(folder["key"])\npermit \(geteuid()) key a b\n")
        #expect(try daemon.reload().contains("the policy was read anew: 2 keys"))
        let list = try Program.run(Program.built("keybroker"), ["list", "--socket", daemon.socket])
        #expect(list.output == "a\nb\n")
    }
}
