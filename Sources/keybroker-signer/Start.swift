// The start of keybroker-signer: the daemon's child, which signs for clients with keys that they do not get.
//
// This process starts the one that signs, and replaces it if it ends by a fault. It holds no key and receives nothing. Must
// never go on with a right that signing does not need. Must never be started by hand: descriptor 3 is the daemon's.

internal import Kernel
internal import SigningKeys
internal import Wire

@main
struct Start {
    static func main() {
        StandardStream.openClosedOnes()
        do throws(Failure) {
            guard let account = account(), ChildProcess.hasEnd else {
                StandardStream.error.writeLine("keybroker-signer is started by keybrokerd, see keybrokerd(8)")
                exitProcess(64)
            }
            try giveUpRights(account)
            exitProcess(try keepServing())
        } catch {
            StandardStream.error.writeLine("keybroker-signer: \(error)")
            exitProcess(71)
        }
    }

    private enum Account {
        case same
        case other(uid: UInt32, gid: UInt32)
    }

    /// The account to become, from the arguments UID and GID. Nil if they are wrong, or would leave it root's.
    private static func account() -> Account? {
        let arguments = ProgramArguments.all
        if arguments.isEmpty { return Privileges.isRoot ? nil : .same }
        let numbers = arguments.compactMap { decimal($0, as: UInt32.self) }
        guard arguments.count == 2, numbers.count == 2, !numbers.contains(where: { $0 == 0 || $0 == .max }) else {
            return nil
        }
        return .other(uid: numbers[0], gid: numbers[1])
    }

    private static func giveUpRights(_ account: Account) throws(Failure) {
        _ = try Privileges.raiseDescriptorLimit()
        if case .other(let uid, let gid) = account {
            Privileges.permitLockedMemory()
            try Privileges.becomeWithoutRights(uid: uid, gid: gid)
        }
        // After the change of the account, which would undo it.
        try Privileges.harden()
        guard Privileges.giveUpCapabilities() else { throw Failure("capset", code: Failure.notPermitted) }
    }

    /// Returns when the daemon has ended, or a signer cannot begin at all.
    private static func keepServing() throws(Failure) -> Int32 {
        var generation: UInt64 = 0
        var rest = Limits.firstSignerAgain
        while true {
            generation += 1
            let began = Instant.now
            let status = try ChildProcess.run { Signer.run(generation) }
            if status == Signer.daemonHasEnded || status == Signer.cannotBegin { return status }
            if began.until(.now) > Limits.lastSignerAgain { rest = Limits.firstSignerAgain }
            _ = try pause(until: Instant.now.after(rest))
            rest = min(rest * 2, Limits.lastSignerAgain)
        }
    }
}
