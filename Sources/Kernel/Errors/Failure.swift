// A system call that failed: which one, why, and on what.
//
// Every errno becomes a Failure here and nowhere else. A Failure is a fault of the system or of its configuration. Must
// never stand for a condition that a caller has to expect (denied, missing, busy): those have types of their own.

internal import CKernel
internal import Glibc

/// A system call that failed.
package struct Failure: Error, Equatable, Sendable {
    /// The name of the call as in its manual page: `open`, `fdatasync`.
    package let call: String
    /// The `errno` of the failed call.
    package let code: Int32
    /// What the call was about, if that helps: a path, or an account's name.
    package let subject: String?
    /// A text that replaces the C library's, if that would tell an admin too little.
    private let explanation: String?

    /// - Parameter explanation: replaces the text of the C library.
    package init(_ call: String, code: Int32, on subject: String? = nil, because explanation: String? = nil) {
        self.call = call
        self.code = code
        self.subject = subject
        self.explanation = explanation
    }

    /// The same failure with another subject.
    package func on(_ subject: String) -> Failure { Failure(call, code: code, on: subject, because: explanation) }

    /// The reason in the C library's words: "Permission denied".
    package var reason: String {
        if let explanation { return explanation }
        // Safety: the text is a static string of the C library, or nil.
        return unsafe ck_error_text(code).map { unsafe String(cString: $0) } ?? "error \(code)"
    }

    /// The name of the errno: "EACCES".
    package var name: String {
        // Safety: as above.
        unsafe ck_error_name(code).map { unsafe String(cString: $0) } ?? "errno \(code)"
    }
}

extension Failure: CustomStringConvertible {
    /// "open /etc/x: Permission denied (EACCES)"
    package var description: String {
        let what = subject.map { "\(call) \($0)" } ?? call
        return "\(what): \(reason) (\(name))"
    }
}

extension Failure {
    /// The errnos that this program distinguishes, with names for readers.
    package static let notFound = ENOENT
    package static let permissionDenied = EACCES
    package static let notPermitted = EPERM
    package static let wouldBlock = EAGAIN
    package static let connectionRefused = ECONNREFUSED
    package static let connectionReset = ECONNRESET
    package static let brokenPipe = EPIPE
    package static let noMemory = ENOMEM
    package static let timedOut = ETIMEDOUT
    /// The data is damaged or ends too early.
    package static let badData = EBADMSG

    /// Whether the system is short of a resource that becomes free again. The client is then told to try again later.
    package var isShortage: Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, ETOOMANYREFS].contains(code)
    }
}

/// Returns the result of a C function that returns a negative errno on failure, or throws that failure.
package func succeed(_ result: Int32, _ call: String, on subject: String? = nil) throws(Failure) -> Int32 {
    guard result >= 0 else { throw Failure(call, code: -result, on: subject) }
    return result
}

/// Returns the result of a C library function that sets errno, or throws that failure. Calls it again if a signal
/// interrupted it.
package func retrying<T: SignedInteger>(
    _ call: String, on subject: String? = nil, _ body: () -> T
) throws(Failure) -> T {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw Failure(call, code: code, on: subject) }
    }
}

extension Result {
    /// The result of the call, or its failure.
    package init(of call: @autoclosure () throws(Failure) -> Success) { self.init(catching: call) }
}
