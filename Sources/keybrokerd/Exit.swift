// The ways in which the daemon ends before it serves, and what it says then.

internal import Kernel

/// A reason to end, with its exit status (sysexits.h) and one or more lines for standard error.
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

    /// What the calls return, or the end with a system error.
    static func onFailure<R: ~Copyable>(
        _ status: Status = .system, _ body: () throws(Failure) -> R
    ) throws(Exit) -> R {
        do { return try body() } catch {
            let isPermission = error.code == Failure.permissionDenied || error.code == Failure.notPermitted
            throw Exit(isPermission && status == .system ? .notPermitted : status, error.description)
        }
    }
}

/// The daemon's own lines. They go to standard error, each with the program's name, and hold nothing
/// but printable ASCII and what the C library words in its messages.
enum Say {
    static func line(_ text: String) {
        StandardStream.error.writeLine(
            "keybrokerd: " + text.unicodeScalars.map { isPlain($0) ? String($0) : "?" }.joined())
    }

    /// Tabs stand in lines of a policy, and in the caret lines under them.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "\t" || (0x20...0x7E).contains(scalar.value)
    }
}

/// Lets a message through at most once in an interval, and says how often it was held back.
struct Sparing {
    private var until = Instant(nanoseconds: 0)
    private var heldBack = 0

    private static let intervalMilliseconds = 10_000

    mutating func say(_ text: @autoclosure () -> String) {
        let now = Instant.now
        guard now >= until else {
            heldBack += 1
            return
        }
        Say.line(text() + (heldBack > 0 ? " (and \(heldBack) more times since it was last said)" : ""))
        until = now.after(milliseconds: Self.intervalMilliseconds)
        heldBack = 0
    }
}
