// What the kernel says of other processes: their children, their names, and whether they have ended.
//
// Must never take a process that has ended, and that nobody has waited for yet, for one that runs.

internal import Foundation

package enum OtherProcess {
    /// The children of a process, in the order in which they were made. None if there is no such process.
    package static func children(of pid: Int32) -> [Int32] {
        let text = try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/children", encoding: .utf8)
        return (text ?? "").split(separator: " ").compactMap { Int32($0) }
    }

    /// Its children, and the children of each.
    package static func descendants(of pid: Int32) -> [Int32] {
        let children = children(of: pid)
        return children + children.flatMap(descendants)
    }

    /// The name of a process, at most 15 bytes. Nil if it has ended.
    package static func name(of pid: Int32) -> String? {
        let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
        guard !status.contains("\nState:\tZ") else { return nil }
        return status.split(separator: "\n").first.map { String($0.dropFirst("Name:\t".count)) }
    }

    /// What a process has open, as the links of `/proc/PID/fd` say. What it closes meanwhile is left out.
    package static func openFiles(of pid: Int32) throws -> [String] {
        let folder = "/proc/\(pid)/fd"
        return try FileManager.default.contentsOfDirectory(atPath: folder).compactMap {
            try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\($0)")
        }
    }

    /// Stops a process, and waits until each of its threads stands still: one of them takes the signal, and it can be
    /// another than the one that works.
    package static func stop(_ pid: Int32) throws {
        guard kill(pid, SIGSTOP) == 0 else { throw Waited(description: "a process that can be stopped") }
        try waitUntil("process \(pid) stands still") {
            try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").allSatisfy { thread in
                let status = try String(contentsOfFile: "/proc/\(pid)/task/\(thread)/status", encoding: .utf8)
                return status.contains("\nState:\tT")
            }
        }
    }

    /// Whether the first thread of a process waits in poll(2).
    package static func polls(_ pid: Int32) -> Bool {
        let call = (try? String(contentsOfFile: "/proc/\(pid)/task/\(pid)/syscall", encoding: .utf8)) ?? ""
        // poll(2) or ppoll(2), by their numbers on x86-64 and arm64.
        return ["7 ", "271 ", "73 "].contains { call.hasPrefix($0) }
    }

    /// Whether a process waits for something in the kernel that no signal interrupts.
    package static func waitsInKernel(_ pid: Int32) -> Bool {
        (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8))?.contains("\nState:\tD") == true
    }

    /// Whether a process has not ended.
    package static func isRunning(_ pid: Int32) -> Bool { name(of: pid) != nil }
}
