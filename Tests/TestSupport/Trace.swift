// Records the system calls of a running process with strace.

internal import Foundation

package enum Trace {
    /// The names of the system calls that `pid` makes while `body` runs, in order.
    /// - Parameters:
    ///   - allThreads: those of its other threads too. Without it, only those of its first thread.
    ///   - condition: as ``lines(of:options:until:_:)`` takes it.
    package static func of(
        _ pid: Int32, allThreads: Bool = false, until condition: (String) -> Bool = { _ in true },
        _ body: () throws -> Void
    ) throws -> [String] {
        try lines(of: pid, options: allThreads ? ["-f"] : [], until: condition, body).compactMap { line in
            // A call of one of several threads begins with `[pid 123] `. What another one interrupted comes a second time.
            let call = line.hasPrefix("[pid") ? line.drop { $0 != "]" }.dropFirst(2) : line[...]
            guard let end = call.firstIndex(of: "("), !call.hasPrefix("strace:"), !call.hasPrefix("<...") else {
                return nil
            }
            return String(call[..<end])
        }
    }

    /// Whether strace's text has so many calls of that name that have returned.
    package static func has(_ call: String, times count: Int = 1) -> (String) -> Bool {
        { text in text.split(separator: "\n").count { $0.contains("\(call)(") && $0.contains(") = ") } >= count }
    }

    /// The lines of strace, in which each descriptor is followed by the path of its file.
    /// - Parameters:
    ///   - options: more of strace's: `-f` is for all threads of the process.
    ///   - condition: what its text must be after `body`. strace writes of a call after whoever waited for it goes on.
    package static func lines(
        of pid: Int32, options: [String] = [], until condition: (String) -> Bool = { _ in true },
        _ body: () throws -> Void
    ) throws -> [String] {
        guard let strace = installed("strace") else { throw Waited(description: "strace is not installed") }
        let tracer = try Program(strace, ["-y", "-p", String(pid)] + options)
        try tracer.wait(for: "strace's attaching", in: .error) { $0.contains("attached") ? true : nil }
        try body()
        try tracer.wait(for: "strace's lines", in: .error) { condition($0) ? true : nil }
        // strace may have inherited a mask that blocks other signals from the thread of the test.
        tracer.signal(SIGKILL)
        try tracer.waitForExit()
        return tracer.lines(.error)
    }
}
