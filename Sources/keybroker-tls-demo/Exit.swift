// How the server ends or complains, and what it says then.
//
// Must never write text that a stranger chose to a terminal unchanged.

internal import Kernel

/// A reason to end, or to keep the old key, with an exit status (sysexits.h).
struct Exit: Error {
    let status: Int32
    let description: String

    static let system: Int32 = 71, notPermitted: Int32 = 77, unusable: Int32 = 78

    /// Returns what `body` returns. If that fails, throws an `Exit` with the text of its system error.
    static func onFailure<R: ~Copyable>(_ body: @autoclosure () throws(Failure) -> R) throws(Exit) -> R {
        do { return try body() } catch { throw Exit(status: system, description: error.description) }
    }
}

/// Writes a message of the server to standard error, with the program's name.
func complain(_ text: String) {
    let plain = text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "?" : String($0) }.joined()
    StandardStream.error.writeLine("keybroker-tls-demo: \(plain)")
}
