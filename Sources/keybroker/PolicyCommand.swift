// keybroker policy: what an admin asks of a policy, without the daemon; and what its commands share.
//
// Must never have an opinion of its own: reading and judging are the daemon's code.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire
internal import NameLookup

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Looks after the policy.",
        discussion: "None of these needs a running daemon, or a privilege beyond reading the files.",
        subcommands: [
            PolicyCheck.self, PolicyExplain.self, PolicyShow.self, PolicyDiff.self, PolicyTest.self, PolicyReplay.self,
        ])
}

/// Which policy is asked about.
struct PolicyOptions: ParsableArguments {
    @Option(
        name: .customLong("policy"),
        help: ArgumentHelp(
            "A file, or a directory of *.policy files; may be repeated (default: the daemon's).", valueName: "path"))
    var paths: [String] = []

    /// The policy, or the end of the program with all that is wrong with it.
    func load() throws(ExitCode) -> LoadedPolicy { try Self.load(paths) }

    /// The policy of `paths`, or the end of the program with all that is wrong with it.
    static func load(_ paths: [String]) throws(ExitCode) -> LoadedPolicy {
        let loading = loading(paths, warns: false)
        if let loaded = loading.loaded { return loaded }
        say(loading.diagnostics.filter { $0.severity == .error })
        throw fail(counted(loading.faults, "error") + " in the policy", status: 78)
    }

    /// A policy that is being written lies where its author may write; the daemon's own must be as the
    /// daemon wants it.
    static func loading(_ paths: [String], warns: Bool = true) -> LoadResult {
        let owners = TrustedOwners.now
        return paths.isEmpty
            ? PolicyFiles.standard(in: "/etc/keybroker", owners: owners).load(warns: warns)
            : PolicyFiles(paths, owners: owners).load(distrusted: .isWarning, warns: warns)
    }
}

/// A caller as it would be if a service of that user asked now: with the groups of the name service.
func caller(_ user: String, unit: String?) throws(Failure) -> Caller? {
    let overflow = OverflowIDs.ofThisKernel()
    let isNumber = !user.isEmpty && user.utf8.allSatisfy(\.isDigit)
    let account: Account?
    if isNumber {
        guard let uid = UInt32(user), uid != .max else { return nil }
        // A number needs no entry; without one it has no groups that are known.
        guard let found = try Accounts.user(numbered: uid) else {
            return Caller(uid: uid == overflow.uid ? nil : uid, groups: [], unit: unit)
        }
        account = found
    } else {
        account = try Accounts.user(named: user)
    }
    guard let account else { return nil }
    return Caller(
        uid: account.uid == overflow.uid ? nil : account.uid,
        groups: Accounts.groups(of: account).filter { $0 != overflow.gid }, unit: unit)
}

/// "1 key", "2 keys"
func counted(_ number: Int, _ thing: String) -> String { "\(number) \(thing)\(number == 1 ? "" : "s")" }
