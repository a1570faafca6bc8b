// A program that a test starts, writes to, reads from, and stops by its own pid.

internal import Foundation

/// The error of a test that waited for something and met something else.
package struct Waited: Error, CustomStringConvertible {
    package let description: String

    package init(description: String) { self.description = description }
}

/// Waits until the condition holds.
package func waitUntil(_ what: String, seconds: Double = 20, _ condition: () throws -> Bool) throws {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while Date() < deadline {
        if try condition() { return }
        Thread.sleep(forTimeInterval: 0.01)
    }
    throw Waited(description: "waited in vain until \(what)")
}

package final class Program: @unchecked Sendable {
    /// Held while a program is started. Another one that is started meanwhile would inherit the ends of its pipes, and keep
    /// them open until it ends itself.
    private static let starting = NSLock()
    private let process = Process()
    private let input: Pipe
    private let condition = NSCondition()
    // Both are guarded by `condition`.
    private var outputs: [Stream: Data] = [.output: Data(), .error: Data()]
    private var openStreams = 2
    private var cursor = 0

    package enum Stream: Sendable { case output, error }

    /// What `make sanitize` says to the programs that it built.
    private static let sanitizers = ProcessInfo.processInfo.environment.filter {
        ["ASAN_OPTIONS", "TSAN_OPTIONS"].contains($0.key)
    }
    /// Whether the programs have a sanitizer, which takes terabytes of addresses, time, and system calls of its own.
    package static var isSanitized: Bool { !sanitizers.isEmpty }
    /// Whether it is ThreadSanitizer, which does not see the locks of Swift's `Mutex`: the library that has them is not built
    /// with it. Where two threads are not ordered by anything else, it takes what a `Mutex` guards for a race.
    package static var missesLocks: Bool { isSanitized && built("keybrokerd").contains("/.build-thread/") }

    package init(
        _ executable: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil
    ) throws {
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.environment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
            .merging(Self.sanitizers) { $1 }.merging(environment) { $1 }
        if let directory { process.currentDirectoryURL = URL(fileURLWithPath: directory) }
        Self.starting.lock()
        defer { Self.starting.unlock() }
        input = Pipe()
        let (output, error) = (Pipe(), Pipe())
        (process.standardInput, process.standardOutput, process.standardError) = (input, output, error)
        try process.run()
        for (stream, pipe) in [(Stream.output, output), (.error, error)] {
            let handle = pipe.fileHandleForReading
            Thread.detachNewThread { [weak self] in
                while true {
                    let data = handle.availableData
                    guard let self else { return }
                    self.condition.withLock {
                        if data.isEmpty { self.openStreams -= 1 } else { self.outputs[stream]?.append(data) }
                        self.condition.broadcast()
                    }
                    if data.isEmpty { return }
                }
            }
        }
    }

    deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }

    package var pid: Int32 { process.processIdentifier }
    package var isRunning: Bool { process.isRunning }

    package func text(_ stream: Stream = .output) -> String {
        condition.withLock { String(decoding: outputs[stream] ?? Data(), as: UTF8.self) }
    }

    package func lines(_ stream: Stream = .output) -> [String] {
        text(stream).split(separator: "\n").map(String.init)
    }

    /// Waits until `predicate` accepts the output. Throws if the program ends before that, or after `seconds`.
    @discardableResult
    package func wait<R>(
        for what: String, in stream: Stream = .output, seconds: Double = 20, _ predicate: (String) -> R?
    ) throws -> R {
        let deadline = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            let text = String(decoding: outputs[stream] ?? Data(), as: UTF8.self)
            if let result = predicate(text) { return result }
            let errors = String(decoding: outputs[.error] ?? Data(), as: UTF8.self)
            if openStreams == 0 { throw Waited(description: "ended before \(what); it said: \(text) \(errors)") }
            if !condition.wait(until: deadline) { throw Waited(description: "no \(what); it said: \(text) \(errors)") }
        }
    }

    /// Waits for a number of lines on standard output and returns them.
    package func wait(forLines count: Int, seconds: Double = 20) throws -> [String] {
        try wait(for: "\(count) lines", seconds: seconds) { text in
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            return lines.count > count ? lines.prefix(count).map(String.init) : nil
        }
    }

    /// The next line of standard output that no call has returned yet.
    package func nextLine(seconds: Double = 20) throws -> String {
        let deadline = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        defer { condition.unlock() }
        while true {
            let output = outputs[.output] ?? Data()
            if let end = output[cursor...].firstIndex(of: 0x0A) {
                defer { cursor = end + 1 }
                return String(decoding: output[cursor..<end], as: UTF8.self)
            }
            let errors = String(decoding: outputs[.error] ?? Data(), as: UTF8.self)
            if openStreams == 0 { throw Waited(description: "ended before the next line; it said: \(errors)") }
            if !condition.wait(until: deadline) { throw Waited(description: "no next line; it said: \(errors)") }
        }
    }

    package func send(_ line: String) throws {
        try input.fileHandleForWriting.write(contentsOf: Data((line + "\n").utf8))
    }
    package func closeInput() { try? input.fileHandleForWriting.close() }
    package func signal(_ number: Int32) { kill(pid, number) }

    /// Waits until the program ends. Returns its exit status, or the negative number of the signal that ended it.
    @discardableResult
    package func waitForExit(seconds: Double = 20) throws -> Int32 {
        closeInput()
        let deadline = Date(timeIntervalSinceNow: seconds)
        condition.lock()
        while openStreams > 0 {
            if !condition.wait(until: deadline) {
                condition.unlock()
                let errors = text(.error)
                kill(pid, SIGKILL)
                throw Waited(description: "pid \(pid) did not end; it said: \(text()) \(errors)")
            }
        }
        condition.unlock()
        process.waitUntilExit()
        return process.terminationReason == .uncaughtSignal ? -process.terminationStatus : process.terminationStatus
    }

    /// Runs a program and waits until it ends.
    package static func run(
        _ executable: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
        seconds: Double = 60
    ) throws -> (status: Int32, output: String, errors: String) {
        let program = try Program(executable, arguments, environment: environment, directory: directory)
        let status = try program.waitForExit(seconds: seconds)
        return (status, program.text(), program.text(.error))
    }

    /// The path of a program of this project that was built together with the tests. `make sanitize` names another folder.
    package static func built(_ name: String) -> String {
        if let folder = ProcessInfo.processInfo.environment["KEYBROKER_PROGRAMS"] { return "\(folder)/\(name)" }
        let tests = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent(name).path
    }
}

/// The absolute path of an installed program, or nil if it is not installed.
package func installed(_ name: String) -> String? {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin"].map { "\($0)/\(name)" }
        .first { FileManager.default.isExecutableFile(atPath: $0) }
}
