// keybroker policy: the commands that read a policy, without the daemon. This file has what they share.
//
// Must never read or judge a policy with code of its own. It uses the daemon's.

internal import ArgumentParser
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire
internal import NameLookup

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Looks after the policy.",
        discussion: """
            None of these needs a running daemon, or a privilege beyond reading the files; but edit, which writes. Without \
            --policy it is the daemon's policy; for a user with a broker of its own, that one's.
            """,
        subcommands: [
            PolicyCheck.self, PolicyExplain.self, PolicyShow.self, PolicyDiff.self, PolicyTest.self, PolicyReplay.self,
            PolicySuggest.self, PolicyEdit.self,
        ])
}

/// Which policy to read.
struct PolicyOptions: ParsableArguments {
    @Option(
        name: .customLong("policy"),
        help: ArgumentHelp(
            "A file, or a directory of *.policy files; may be repeated (default: the daemon's).", valueName: "path"))
    var paths: [String] = []

    /// The policy. Ends the program with all errors if there are any. Says so if it is the daemon's own, and another one
    /// is in force.
    func load() throws(ExitCode) -> LoadedPolicy {
        let loaded = try Self.load(paths)
        if paths.isEmpty { PolicyInForce.compare(with: loaded) }
        return loaded
    }

    /// The policy at `paths`. Ends the program with all errors if there are any.
    static func load(_ paths: [String]) throws(ExitCode) -> LoadedPolicy {
        let loading = loading(paths, warns: false)
        if let loaded = loading.loaded { return loaded }
        say(loading.diagnostics.filter { $0.severity == .error })
        throw fail(counted(loading.faults, "error") + " in the policy", status: 78)
    }

    /// Loads a policy. If it is at paths of the command line, it may still be in work, so untrusted files are only
    /// warned about. The daemon's own policy must meet the daemon's rules.
    /// - Parameter warns: whether to look for warnings, which the caller then says. Without it, the lines about accounts
    ///   that this machine lacks are said here: they have no effect, and an answer without them looks like a full one.
    static func loading(_ paths: [String], warns: Bool = true) -> LoadResult {
        let result = read(paths, warns: warns)
        if !warns, let missing = result.loaded?.missing { sayMissing(missing) }
        return result
    }

    private static func read(_ paths: [String], warns: Bool) -> LoadResult {
        let hidden = warns ? hidden(paths) : .none
        guard paths.isEmpty else {
            // What another account than root names may be the policy of its own daemon.
            let owners = Privileges.isRoot ? TrustedOwners.ofService : .now
            return PolicyFiles(paths, owners: owners).warning(of: hidden).load(distrusted: .isWarning, warns: warns)
        }
        let files = StandardFiles.policy
        StandardFiles.say("the policy", files.paths.first ?? "")
        return files.warning(of: hidden).load(warns: warns)
    }

    private static func sayMissing(_ missing: MissingAccounts) {
        for line in missing.listed.prefix(mostMissing) { say("keybroker: warning: \(line)") }
        let rest = missing.count - mostMissing
        if rest > 0 {
            say("keybroker: warning: and \(counted(rest, "more account")) not found; see: keybroker policy check")
        }
    }

    /// How many lines about accounts that are not found are listed. A policy for another machine may be full of them.
    private static let mostMissing = 10

    /// The uid that the daemon runs as which reads the policy. Nil if there is no such account.
    static var uidOfDaemon: UInt32? { StandardFiles.areOwn ? Privileges.effectiveUID : ServiceAccount.uid }

    /// What the unit of the system's daemon hides from it. Nothing if the policy may be that of a user's own daemon.
    static func hidden(_ paths: [String]) -> HiddenFolders {
        let isOfSystem = paths.isEmpty ? !StandardFiles.areOwn : Privileges.isRoot
        return isOfSystem ? .ofService : .none
    }
}

/// The caller that a service of this user would be if it asked now, with the groups that the name service gives it. Nil
/// if there is no such user.
func caller(_ user: String, unit: String?) throws(Failure) -> Caller? {
    let overflow = OverflowIDs.ofThisKernel()
    let isNumber = !user.isEmpty && user.utf8.allSatisfy(\.isDigit)
    let account: Account?
    if isNumber {
        guard let uid = UInt32(user), uid != .max else { return nil }
        // A uid without an account is valid too, but then no groups are known.
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

/// The same caller, for an option of the command line. Ends the program if there is no such user.
func lookedUp(_ user: String, unit: String? = nil) throws(ExitCode) -> Caller {
    if let caller = try lookedUpIfThere(user, unit: unit) { return caller }
    throw fail("there is no user '\(user)'", status: 64)
}

/// The same. Nil if there is no such user.
func lookedUpIfThere(_ user: String, unit: String? = nil) throws(ExitCode) -> Caller? {
    do throws(Failure) { return try caller(user, unit: unit) } catch {
        throw fail("the user cannot be looked up: \(error)", status: 71)
    }
}

/// The key's name of an option. Ends the program if it is none.
func namedKey(_ text: String) throws(ExitCode) -> KeyName {
    if let name = KeyName(text) { return name }
    throw fail("--key: \(KeyName.fault(in: Array(text.utf8)[...]) ?? "not a key name")", status: 64)
}

/// The unit of an option. Ends the program if no unit can have that name.
func namedUnit(_ text: String) throws(ExitCode) -> String {
    guard let fault = UnitPattern.fault(inName: text) else { return text }
    throw fail("--unit: no unit has the name '\(text)': \(fault)", status: 64)
}

/// "1 key", "2 keys"
func counted(_ number: Int, _ thing: String) -> String { "\(number) \(thing)\(number == 1 ? "" : "s")" }
