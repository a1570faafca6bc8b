// The start of the process that signs: which program, and as which account.
//
// It is started while the daemon still may execute programs, and holds nothing that the signer must not get. Must never
// start it as root.

internal import Kernel
internal import NameLookup
internal import SignerControl

extension SignerProcess {
    /// The account that the program becomes if the daemon is started as root, and there is such an account.
    private static let account = "keybroker-signer"

    /// Starts the program. Returns nil if there is none; keys cannot be lent then.
    /// - Parameter account: that of the daemon, or nil if it keeps its own.
    static func started(_ options: Options, besideDaemonOf account: Account?, _ logger: Logger) -> SignerProcess? {
        guard options.signer != "none", let program = options.signer ?? found() else { return nil }
        do throws(Failure) {
            guard program.hasPrefix("/"), ProgramArguments.canExecute(program) else {
                throw Failure("execve", code: Failure.notFound, on: program)
            }
            let own = account == nil ? nil : try Accounts.user(named: Self.account)
            return try SignerProcess(program, becoming: (own ?? account).map { ($0.uid, $0.gid) })
        } catch {
            logger.log("keys cannot be lent, as the signer does not start: \(error)", .failure)
            return nil
        }
    }

    /// Where it was installed with this program, or built.
    private static func found() -> String? {
        guard let folder = ProgramArguments.program.map({ folder(of: $0) }) else { return nil }
        return ["\(folder)/keybroker-signer", "\(folder)/../lib/keybroker/keybroker-signer"]
            .first(where: ProgramArguments.canExecute)
    }
}
