// keybroker reload: makes the daemon use a new policy, or says why it cannot.
//
// Must never report success before the running daemon says that it uses exactly the policy that was checked here. Must
// never open a path because the daemon named it: if an attacker took over the daemon, root would print any file for it.

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
            Checks the policy, asks the daemon (by SIGHUP) and waits until the new policy is in force. A faulty policy \
            is never asked for: the old one stays in force. If the daemon does not read the standard files, name with \
            --policy what it reads; without that the daemon checks them alone. The audit log is reopened as well. For \
            root, and for the account that the daemon runs as. Exit status: 0 where the policy is in force, 78 where \
            it is faulty.
            """)

    @OptionGroup var daemonPolicy: DaemonPolicyOptions

    @OptionGroup var options: BrokerOptions

    func run() throws { try Reloading(paths: daemonPolicy.paths, options: options).run() }
}

/// Where a daemon reads its policy that does not read the standard files.
struct DaemonPolicyOptions: ParsableArguments {
    @Option(
        name: .customLong("policy"),
        help: ArgumentHelp(
            "What the daemon reads, where that is not the standard: as its own --policy; may be repeated.",
            valueName: "path"),
        completion: .file())
    var paths: [String] = []
}

/// Has the broker read its policy anew, for the commands that do so.
struct Reloading {
    /// What the daemon reads, or none for the standard files.
    let paths: [String]
    let options: BrokerOptions

    func run() throws(ExitCode) {
        let before = BrokerStatus(
            try askingAsAdministrator(try options.broker.status(waitingUpTo: options.patience)))
        let checked = try check(before)
        let page = try askingAsAdministrator(try options.broker.reload())
        let after = BrokerStatus(page)
        guard after.value(.lastReload) == "applied" else {
            for fault in after.lastReloadFaults { say(fault) }
            throw fail(
                "the broker did not take the policy (its own messages have all the reasons); \(remains(after))",
                status: 78)
        }
        guard let digest = after.value(.policy) else { throw fail("the broker names no policy", status: 71) }
        if let checked, checked.digest != digest {
            throw fail(
                "the broker took a policy, but not the one that was checked: the files changed meanwhile; reload again",
                status: 75)
        }
        for (key, path) in after.keysOutside {
            say(
                "keybroker: warning: key '\(key)' cannot be handed out until the broker is restarted: "
                    + "\(path) is in a directory that it did not know when it started, and it keeps itself from "
                    + "reading elsewhere")
        }
        for (key, setting, path) in after.keysHidden {
            let advice = HidingSetting(rawValue: setting).map { "; " + $0.advice(unit: "keybrokerd") } ?? ""
            say(
                "keybroker: warning: key '\(key)' cannot be handed out: \(path) is hidden from the broker by "
                    + "\(setting)= of its unit\(advice)")
        }
        // If the policy was checked here, they were said.
        if checked == nil { for account in after.missingAccounts { say("keybroker: warning: \(account)") } }
        let keys = Int(clamping: after.number(.policyKeys) ?? 0)
        let permits = Int(clamping: after.number(.policyPermits) ?? 0)
        try output(
            line: "in force: \(counted(keys, "key")), \(counted(permits, "permission")); policy \(digest)")
    }

    private func remains(_ status: BrokerStatus) -> String {
        status.isWithoutPolicy ? "there is no old one, so nobody is served still" : "the old one stays in force"
    }

    /// The policy as it would be loaded now. Nil if the daemon uses other files than those that are known here.
    private func check(_ status: BrokerStatus) throws(ExitCode) -> LoadedPolicy? {
        guard let files = try files(of: status) else { return nil }
        let loading = files.load()
        say(loading.diagnostics)
        guard let loaded = loading.loaded else {
            throw fail(
                "\(counted(loading.faults, "error")) in the policy; the broker was not asked, and \(remains(status))",
                status: 78)
        }
        return loaded
    }

    /// The files to check: those of the command line, or the standard ones. The paths that the broker names are only
    /// compared with them, and never opened.
    private func files(of status: BrokerStatus) throws(ExitCode) -> PolicyFiles? {
        let named = status.allPolicyPaths
        guard paths.isEmpty else {
            let given = try paths.map(absolute)
            // A broker names no paths if they are too long for a packet. A path may be written in several ways. If two that
            // look alike are not the same after all, the policies are not, which is seen after the reload.
            guard named.isEmpty || named.map(normalized) == given.map(normalized) else {
                throw fail(
                    "the broker reads its policy from \(named.joined(separator: ", ")), not from "
                        + "\(given.map(normalized).joined(separator: ", ")); it was not asked", status: 64)
            }
            return PolicyFiles(given, owners: Privileges.isRoot ? .ofService : .now)
        }
        if let standard = standardFiles.first(where: { $0.paths == named }) { return standard }
        say(
            "keybroker: the broker reads its policy from \(named.isEmpty ? "elsewhere" : named.joined(separator: ", ")), "
                + "which only itself checks now; to have it checked before, repeat the command with --policy PATH "
                + "('keybroker policy check PATH' shows all faults)")
        return nil
    }

    private func absolute(_ path: String) throws(ExitCode) -> String {
        do { return try absolutePath(path) } catch { throw fail("--policy: \(error)", status: 64) }
    }

    /// Where the system's daemon and a user's own daemon read their policies.
    private var standardFiles: [PolicyFiles] {
        [StandardFiles.ofSystem] + [StandardFiles.ofUser].compactMap(\.self)
    }
}
