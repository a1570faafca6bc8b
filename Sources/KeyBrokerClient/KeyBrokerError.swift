// The errors of a request to the broker. There is a case for each condition that a program may want to distinguish.
//
// Must never have a description that does not say what to do.

internal import Kernel
internal import Wire
internal import ClientKernel

/// Why a request to the broker failed.
public enum KeyBrokerError: Error, Equatable, Sendable {
    /// The policy does not permit the key to the caller, or there is no such key. The broker does not say which.
    /// `decision` is the `seq` of the audit record, which does say it.
    case denied(key: String, decision: UInt64)
    /// The caller may have the key, but the file cannot be handed over now. `reason` is the reason in the audit record,
    /// such as `file-missing`. If `decision` is 0, the broker could not write its audit log.
    case unavailable(key: String, decision: UInt64, reason: String)
    /// Only root and the account that the broker runs as may make this request.
    case notAdministrator(decision: UInt64)
    /// The broker was not told to reload its policy. The text says why.
    case notReloaded(String)
    /// A limit was reached, and nothing was opened. Ask again after the delay.
    case busy(decision: UInt64, retryAfter: Duration)
    /// Nothing listens at the socket.
    case notRunning(socket: String, reason: String)
    /// The caller may not connect to the socket (`EACCES`).
    case mayNotConnect(socket: String)
    /// Somebody else could have created the socket, or an account other than root and the caller answered.
    case untrusted(socket: String, reason: String)
    /// The broker runs, but did not answer in time.
    case noAnswer(socket: String, after: Duration)
    /// The answer does not follow the protocol.
    case protocolViolation(String)
    /// The name is not a valid name of a key. No request was sent.
    case invalidName(String, reason: String)
    /// The file that was handed over cannot be read as a key or certificate.
    case unusableFile(key: String, reason: String)
    /// The policy permits signatures with the key, but not of this message. `decision` is that of the signing channel,
    /// whose audit record says what is permitted.
    case messageDenied(key: String, decision: UInt64, reason: String)
    /// The key does not sign in this way, or not now. The text says why.
    case cannotSign(key: String, reason: String)
    /// More signatures than the policy's `limit … signatures` permits in a second. Ask again after the delay.
    case tooManySignatures(key: String, retryAfter: Duration)
    /// The signer did not answer in time.
    case noSignature(key: String, after: Duration)
    /// The channel to the key had ended, and its name now stands for another key.
    case keyChanged(key: String)
    /// The task that made the request was cancelled.
    case cancelled
    /// This process or the system has no free descriptor, or no memory. The text says which.
    case shortage(String)
    /// A system call of this process failed: its name and its errno.
    case system(call: String, code: Int32)

    /// The broker closed the connection without an answer.
    static func withoutAnswer(_ socket: String) -> KeyBrokerError {
        .notRunning(socket: socket, reason: "it closed the connection without an answer")
    }

    init(_ failure: Failure) {
        self = failure.isShortage ? .shortage("\(failure)") : .system(call: failure.call, code: failure.code)
    }
}

/// Returns the result of system calls, or throws the error that their failure means to the caller.
func calling<R: ~Copyable>(
    _ body: @autoclosure () throws(Failure) -> R, failing meaning: (Failure) -> KeyBrokerError = { KeyBrokerError($0) }
) throws(KeyBrokerError) -> R {
    do { return try body() } catch { throw meaning(error) }
}

extension KeyBrokerError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .denied(let key, 0):
            "key '\(key)': not permitted; the broker cannot write its audit log, so no record says why"
        case .denied(let key, let decision):
            "key '\(key)': not permitted (decision \(decision)); "
                + "the audit log has the reason: keybroker audit show --seq \(decision)"
        case .unavailable(let key, 0, _):
            "key '\(key)': the broker cannot write its audit log, and grants nothing until it can; "
                + "the admin finds the cause in the daemon's own messages"
        case .unavailable(_, let decision, "policy-faulty"):
            "the broker's policy is faulty, so it serves nobody (decision \(decision)); "
                + "the admin finds the faults with: keybroker policy check"
        case .unavailable(let key, let decision, let reason):
            "key '\(key)': permitted, but it cannot be handed over now: \(reason) (decision \(decision)); "
                + "the audit log says what is wrong with which file: keybroker audit show --seq \(decision)"
        case .notAdministrator(let decision):
            "not permitted (decision \(decision)): it takes root, the broker's account, or for a status 'permit USER status'"
        case .notReloaded(let reason):
            reason
        case .busy(let decision, let delay):
            "the broker is busy (decision \(decision)): a limit was reached; ask again in \(delay)"
        case .notRunning(let socket, let reason):
            "no broker at \(socket): \(reason); start keybrokerd, or name its socket with KEYBROKER_SOCKET"
        case .mayNotConnect(let socket):
            Self.mayNotConnect(to: socket, groupOfSocket(socket))
        case .untrusted(let socket, let reason):
            "\(socket) is not to be trusted: \(reason)"
        case .noAnswer(let socket, let delay):
            "the broker at \(socket) did not answer within \(delay)"
        case .protocolViolation(let what):
            "what answered is not this broker, or of another version: \(what)"
        case .invalidName(let name, let reason):
            "'\(printable(name))': \(reason)"
        case .unusableFile(let key, let reason):
            "key '\(key)': the file that was handed over cannot be read: \(reason)"
        case .messageDenied(let key, let decision, let reason):
            "key '\(key)': not signed: \(reason) (decision \(decision)); "
                + "the audit log says what is permitted: keybroker audit show --seq \(decision)"
        case .cannotSign(let key, let reason):
            "key '\(key)': not signed: \(reason)"
        case .tooManySignatures(let key, let delay):
            "key '\(key)': not signed: there were too many signatures in a second; ask again in \(delay), "
                + "or raise the policy's limit of signatures"
        case .noSignature(let key, let delay):
            "key '\(key)': no signature within \(delay); the admin sees how the signer is with: keybroker status"
        case .keyChanged(let key):
            "key '\(key)': it is another key by now; begin anew with it and its certificate"
        case .cancelled:
            "cancelled"
        case .shortage(let reason):
            "\(reason): this process may have no more open files (raise RLIMIT_NOFILE, ulimit -n), "
                + "or the system has none left"
        case .system(let call, let code):
            "\(Failure(call, code: code))"
        }
    }

    private static func mayNotConnect(to socket: String, _ group: String) -> String {
        "may not connect to \(socket): this account is not in the socket's group, \(group); "
            + "add the account (usermod -aG \(group) ACCOUNT), or give its unit SupplementaryGroups=\(group); "
            + "either counts from the next login or service start"
    }

    /// The exit status for a program that ends because of this error (sysexits.h): 64 usage, 69 the broker cannot be
    /// reached, 71 system error, 74 its audit log cannot be written, 75 try again, 77 not permitted.
    public var exitStatus: Int32 {
        switch self {
        case .denied, .notAdministrator, .mayNotConnect, .messageDenied: 77
        case .unavailable(_, 0, _): 74
        case .busy, .unavailable, .tooManySignatures, .keyChanged: 75
        case .notRunning, .untrusted, .noAnswer, .noSignature: 69
        case .invalidName: 64
        case .protocolViolation, .notReloaded, .unusableFile, .cannotSign, .cancelled, .shortage, .system: 71
        }
    }
}
