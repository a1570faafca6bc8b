// A system call that failed: which one, why, and on what.
//
// The one funnel for errno. A Failure is a fault of the system or of the set-up; conditions that a
// caller is expected to meet (denied, missing, busy) are types of their own and never come as one.

internal import CKernel
internal import Glibc

/// A system call that did not succeed.
package struct Failure: Error, Equatable, Sendable {
    /// The call, as its manual page is named: `open`, `fdatasync`.
    package let call: String
    /// The `errno` it left.
    package let code: Int32
    /// What it was called on, where that helps: a path, an account's name.
    package let subject: String?
    /// What to say in place of the C library's words, if they would tell an admin too little.
    private let explanation: String?

    /// - Parameter explanation: is said in place of the C library's words.
    package init(_ call: String, code: Int32, on subject: String? = nil, because explanation: String? = nil) {
        self.call = call
        self.code = code
        self.subject = subject
        self.explanation = explanation
    }

    /// The same failure, said to be on `subject`.
    package func on(_ subject: String) -> Failure { Failure(call, code: code, on: subject, because: explanation) }

    /// The reason as the C library words it: "Permission denied".
    package var reason: String {
        if let explanation { return explanation }
        // Safety: the text is a static string of the C library, or nil.
        return unsafe ck_error_text(code).map { unsafe String(cString: $0) } ?? "error \(code)"
    }

    /// The number's name: "EACCES".
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
    /// The numbers that this program tells apart, named as the kernel names them.
    package static let notFound = ENOENT
    package static let permissionDenied = EACCES
    package static let notPermitted = EPERM
    package static let wouldBlock = EAGAIN
    package static let connectionRefused = ECONNREFUSED
    package static let connectionReset = ECONNRESET
    package static let brokenPipe = EPIPE
    package static let noMemory = ENOMEM
    /// What was read is damaged or ends too early.
    package static let badData = EBADMSG

    /// Whether the system ran out of something that comes back: the affected client is told to wait.
    package var isShortage: Bool {
        [EMFILE, ENFILE, ENOBUFS, ENOMEM, ETOOMANYREFS].contains(code)
    }
}

/// The result of a C function that returns its negative errno, or the failure it stands for.
package func succeed(_ result: Int32, _ call: String, on subject: String? = nil) throws(Failure) -> Int32 {
    guard result >= 0 else { throw Failure(call, code: -result, on: subject) }
    return result
}

/// The result of a function of the C library that sets errno, called again where a signal interrupted it.
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
    /// What the call brings, or how it fails.
    package init(of call: @autoclosure () throws(Failure) -> Success) { self.init(catching: call) }
}
