// What OpenSSL says went wrong: its error queue, as one line.
//
// Must be asked right after the call that failed, and leaves the queue empty, as the next call needs it.

internal import COpenSSL

/// A call of OpenSSL's that failed, and all that its error queue held.
package struct LibraryFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ what: String) { description = what }

    /// `what` failed just now.
    static func now(_ what: String) -> LibraryFailure { ErrorQueue.taken().failure(what) }
}

/// The errors that OpenSSL kept for this thread, taken out of its queue.
struct ErrorQueue {
    private let codes: [UInt]

    static func taken() -> ErrorQueue {
        var codes: [UInt] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { return ErrorQueue(codes: codes) }
            codes.append(code)
        }
    }

    /// PEM was looked for, and there was none (any more).
    var foundNoPEM: Bool {
        codes.contains { ERR_GET_LIB($0) == ERR_LIB_PEM && ERR_GET_REASON($0) == PEM_R_NO_START_LINE }
    }

    /// `what` failed, for the reasons in the queue, each said once.
    func failure(_ what: String) -> LibraryFailure {
        var reasons: [String] = []
        for code in codes {
            // Safety: the texts are static strings of the library.
            let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) } ?? "error \(code)"
            if !reasons.contains(reason) { reasons.append(reason) }
        }
        return LibraryFailure(reasons.isEmpty ? what : "\(what) (OpenSSL: \(reasons.joined(separator: "; ")))")
    }
}
