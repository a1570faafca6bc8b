// Signals by name and number, and whether a process would be ended by one.
//
// Must never take a process for one that handles a signal because it could not be looked at.

internal import CKernel
internal import Glibc
internal import Kernel

/// A signal that can be sent to a process so that it does something.
package struct Signal: Equatable, Sendable, CustomStringConvertible {
    package let number: Int32

    /// Reads a name such as `HUP` or `SIGHUP`, or a number. Nil if there is no such signal, or if no process can handle
    /// it.
    package init?(_ text: String) {
        // Safety: the call reads a NUL-terminated string.
        let named = unsafe ck_signal_number(text)
        let number =
            named > 0 ? named : Int32(text.utf8.count <= 2 && text.utf8.allSatisfy(Self.isDigit) ? text : "") ?? 0
        guard number > 0, number < 32, number != SIGKILL, number != SIGSTOP else { return nil }
        self.number = number
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    /// "SIGHUP"
    package var description: String {
        // Safety: the name is a static string of the C library, or nil.
        unsafe ck_signal_name(number).map { unsafe "SIG\(String(cString: $0))" } ?? "signal \(number)"
    }

    /// What the signal does to a process that is not prepared for it.
    private var isHarmless: Bool { [SIGCHLD, SIGCONT, SIGURG, SIGWINCH].contains(number) }

    /// Whether the process catches, ignores or blocks the signal, so that it is not ended or stopped by it. Nil if that
    /// cannot be seen. Reads `/proc/PID/status`.
    package func isExpected(by pid: Int32) -> Bool? {
        if isHarmless { return true }
        guard let status = try? readSmallFile("/proc/\(pid)/status", limit: 1 << 16) else { return nil }
        var hasLines = false
        for line in String(decoding: status, as: UTF8.self).split(separator: "\n") {
            guard ["SigBlk:", "SigIgn:", "SigCgt:"].contains(where: line.hasPrefix) else { continue }
            guard let set = UInt64(line.dropFirst(8), radix: 16) else { continue }
            if set >> UInt64(number - 1) & 1 == 1 { return true }
            hasLines = true
        }
        return hasLines ? false : nil
    }
}
