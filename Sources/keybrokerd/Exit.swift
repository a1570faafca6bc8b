// How the daemon ends if it cannot serve, and what it says then.

internal import Kernel

/// A reason to end, with an exit status (sysexits.h) and one or more lines for standard error.
struct Exit: Error {
    enum Status: Int32 {
        case usage = 64, system = 71, audit = 74, busy = 75, notPermitted = 77, policy = 78
    }
    let status: Status
    let lines: [String]

    init(_ status: Status, _ line: String) { self.init(status, lines: [line]) }

    init(_ status: Status, lines: [String]) {
        self.status = status
        self.lines = lines
    }

    /// Returns what `body` returns. If that fails, throws an `Exit` with the text of its system error.
    static func onFailure<R: ~Copyable>(
        _ body: @autoclosure () throws(Failure) -> R, status: Status = .system
    ) throws(Exit) -> R {
        do { return try body() } catch {
            let isPermission = error.code == Failure.permissionDenied || error.code == Failure.notPermitted
            throw Exit(isPermission && status == .system ? .notPermitted : status, error.description)
        }
    }
}
