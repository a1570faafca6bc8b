// keybroker reload: a new policy into force, or the reasons why not.
//
// Must never report success before the running daemon says that it decides by just the policy that was
// checked here.

internal import ArgumentParser
internal import Kernel
internal import KeyBrokerClient
internal import Policy
internal import PolicyLoading
internal import Wire

struct Reload: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the broker read its policy anew.",
        discussion: """
            Checks the files that the running daemon reads, asks it (by SIGHUP) and waits until the new policy is in \
            force. A faulty policy is never asked for: the old one stays in force. The audit log is reopened as well. \
            For root, and for the account that the daemon runs as. Exit status: 0 where the policy is in force, \
            78 where it is faulty.
            """)

    @OptionGroup var options: BrokerOptions

    func run() throws {
        let before = BrokerStatus(
            try asking(try options.broker.status(waitingUpTo: options.patience)))
        let checked = try check(before)
        let page = try asking(try options.broker.reload())
        let after = BrokerStatus(page)
        guard after.value("last-reload") == "applied" else {
            for fault in after.lastReloadFaults { say(printable(fault)) }
            throw fail(
                "the broker did not take the policy (its own messages have all the reasons); the old one stays in force",
                status: 78)
        }
        guard let digest = after.value("policy") else { throw fail("the broker names no policy", status: 71) }
        if let checked, checked.digest != digest {
            throw fail(
                "the broker took a policy, but not the one that was checked: the files changed meanwhile; reload again",
                status: 75)
        }
        for (key, path) in after.keysOutside {
            say(
                "keybroker: warning: key '\(printable(key))' cannot be handed out until the broker is restarted: "
                    + "\(printable(path)) is in a directory that it did not know when it started, and it keeps itself from "
                    + "reading elsewhere")
        }
        let keys = Int(clamping: after.number("policy-keys") ?? 0)
        let permits = Int(clamping: after.number("policy-permits") ?? 0)
        try output(
            line: "in force: \(counted(keys, "key")), \(counted(permits, "permission")); policy \(printable(digest))")
    }

    /// The policy as it would be read now; nil where the broker's paths are too long for it to tell them.
    private func check(_ status: BrokerStatus) throws(ExitCode) -> LoadedPolicy? {
        let (paths, optional) = status.policyPaths
        guard !paths.isEmpty else { return nil }
        let files = PolicyFiles(paths + [optional].compactMap(\.self), optional: optional, owners: .now)
        let loading = files.load()
        for diagnostic in loading.diagnostics {
            for line in diagnostic.lines { say(line) }
        }
        guard let loaded = loading.loaded else {
            throw fail(
                "\(counted(loading.faults, "error")) in the policy; the broker was not asked, and the old one stays in force",
                status: 78)
        }
        return loaded
    }
}
