// What OpenSSL says went wrong: its error queue, as one line.
//
// Must be asked right after the call that failed, and leaves the queue empty, as the next call needs it.

internal import COpenSSL

/// A call of OpenSSL's that failed, and all that its error queue held.
package struct LibraryFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    init(_ what: String) { description = what }

    /// `what` failed just now.
    static func now(_ what: String) -> LibraryFailure {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { break }
            // Safety: the texts are static strings of the library.
            reasons.append(unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) } ?? "error \(code)")
        }
        return LibraryFailure(reasons.isEmpty ? what : "\(what): \(reasons.joined(separator: "; "))")
    }
}
