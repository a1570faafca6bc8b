// OpenSSL's error queue, as one line of text.
//
// It must be read right after the call that failed. Reading empties the queue, as the next call needs it.

internal import CCrypto

/// A failed call of OpenSSL, with all errors that its queue held.
package struct LibraryFailure: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ what: String) { description = what }

    /// The failure of a call that was just made. `what` says what failed.
    package static func now(_ what: String) -> LibraryFailure { ErrorQueue.taken().failure(what) }
}

/// Makes OpenSSL overwrite all memory before it gives it back, because it does not do so with all parts of private keys.
/// For processes that live longer than they need a key. Must be called before anything else of OpenSSL. Returns false if
/// that is too late.
package func wipeWhatOpenSSLFrees() -> Bool { kb_wipe_what_is_freed() == 1 }

/// The errors that OpenSSL kept for this thread. Taking them empties the queue.
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

    /// True if OpenSSL looked for a PEM block and found none, or no more.
    var foundNoPEM: Bool {
        codes.contains { ERR_GET_LIB($0) == ERR_LIB_PEM && ERR_GET_REASON($0) == PEM_R_NO_START_LINE }
    }

    /// A failure with the reasons in the queue, each of them once. `what` says what failed.
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
