// Which records are wanted, by key, user and unit. The commands on the log share it.
//
// Must never pass over a name that nobody has: an empty answer would look like a good one.

internal import ArgumentParser
internal import AuditReading
internal import Kernel
internal import NameLookup
internal import Policy
internal import Wire

struct SubjectOptions: ParsableArguments {
    @Option(help: "Only records about this key.", completion: .keys)
    var key: String?

    @Option(help: "Only records of this user, a name or a uid.", completion: .users)
    var user: String?

    @Option(help: "Only records of this systemd unit; * stands for any part of it.", completion: .units)
    var unit: String?

    var isEmpty: Bool { key == nil && user == nil && unit == nil }

    func keyName() throws(ExitCode) -> String? {
        guard let key else { return nil }
        if let fault = KeyName.fault(in: Array(key.utf8)[...]) { throw fail("--key: \(fault)", status: 64) }
        return key
    }

    func wantedUser() throws(ExitCode) -> Selection.User? {
        guard let user else { return nil }
        if let uid = decimal(user, as: UInt32.self) {
            return Selection.User(uid: uid, name: nil)
        }
        let account: Account?
        do throws(Failure) { account = try Accounts.user(named: user) } catch {
            throw fail("the user cannot be looked up: \(error)", status: 71)
        }
        // An account that no longer exists on this machine can still be in the log.
        return Selection.User(uid: account?.uid, name: user)
    }

    func pattern() throws(ExitCode) -> UnitPattern? {
        guard let unit else { return nil }
        let bytes = Array(unit.utf8)
        guard let pattern = UnitPattern(bytes) else {
            throw fail("--unit: \(UnitPattern.fault(in: bytes) ?? "not a unit's name")", status: 64)
        }
        return pattern
    }
}

/// Looks in the log for a user's name that this machine does not know.
struct UnknownUser {
    private let name: String?
    private let bytes: [UInt8]
    private var isInLog = false

    init(_ user: Selection.User?) {
        name = user?.uid == nil ? user?.name : nil
        bytes = Array((name ?? "").utf8)
    }

    mutating func look(in record: LoggedRecord) {
        if name != nil, !isInLog, record.says(.user, bytes) { isInLog = true }
    }

    /// Ends the program if neither this machine nor the log has the name.
    func mustBeInLog() throws(ExitCode) {
        guard let name, !isInLog else { return }
        throw fail(
            "--user: there is no user '\(name)' on this machine, and the log names none; a user that was removed is found "
                + "by its uid", status: 64)
    }
}
