// A keybrokerd for one test: a real process with a real socket and a real log, all in one folder.

internal import Foundation

package final class Daemon {
    package let folder: TemporaryFolder
    package private(set) var program: Program
    private let arguments: [String]
    private let executable: String
    private let environment: [String: String]

    /// The account that the daemon becomes if the tests run as root. It needs no entry in the user database.
    package static let uid: UInt32 = 61_000

    /// Starts the daemon and waits until it serves.
    /// - Parameters:
    ///   - policyPath: the path of an existing policy. Nil writes `policy` to a file in the folder.
    ///   - descriptors: the limit of its file descriptors (RLIMIT_NOFILE).
    package init(
        _ folder: TemporaryFolder, policy: String, options: [String] = [], environment: [String: String] = [:],
        policyPath: String? = nil, descriptors: Int? = nil
    ) throws {
        self.folder = folder
        if policyPath == nil { try folder.write("policy", policy) }
        self.environment = environment
        var arguments = ["--policy", policyPath ?? folder["policy"], "--socket", folder["run/broker.sock"]]
        if !options.contains("--audit") { arguments += ["--audit", folder["log/audit.jsonl"]] }
        if !options.contains("--socket-mode") { arguments += ["--socket-mode", "0666"] }
        if isRoot {
            if !options.contains("--user") { arguments += ["--user", String(Self.uid)] }
            if !options.contains("--socket-group") { arguments += ["--socket-group", "0"] }
        }
        if let descriptors {
            executable = "/bin/sh"
            self.arguments =
                ["-c", "ulimit -n \(descriptors); exec \"$0\" \"$@\"", Program.built("keybrokerd")] + arguments
                + options
        } else {
            executable = Program.built("keybrokerd")
            self.arguments = arguments + options
        }
        program = try Program(executable, self.arguments, environment: environment)
        try waitUntilServing()
    }

    private func waitUntilServing() throws {
        try program.wait(for: "readiness", in: .error) { $0.contains("serves ") ? true : nil }
    }

    package var socket: String { folder["run/broker.sock"] }
    package var audit: String { folder["log/audit.jsonl"] }
    package var pid: Int32 { program.pid }

    /// Starts the daemon again after it was stopped or killed.
    package func restart() throws {
        program = try Program(executable, arguments, environment: environment)
        try waitUntilServing()
    }

    @discardableResult
    package func stop() throws -> Int32 {
        program.signal(SIGTERM)
        return try program.waitForExit()
    }

    package func kill() throws {
        program.signal(SIGKILL)
        try program.waitForExit()
    }

    /// Sends SIGHUP, waits for the result, and returns what the daemon said.
    package func reload() throws -> String {
        let before = program.text(.error).count
        program.signal(SIGHUP)
        return try program.wait(for: "the outcome of the reload", in: .error) { text in
            let new = String(text.dropFirst(before))
            return new.contains("read anew") || new.contains("stays in force") ? new : nil
        }
    }

    /// The number of file descriptors that the daemon has open.
    package func openDescriptors() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
    }

    /// The records of the log.
    package func records() throws -> [[String: Any]] { try Self.records(in: audit) }

    package static func records(in path: String) throws -> [[String: Any]] {
        let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
        return try text.split(separator: "\n").map {
            guard let record = try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] else {
                throw Waited(description: "a line that is no object: \($0)")
            }
            return record
        }
    }

    /// The records of signing channels that have ended, once there are so many.
    package func endedChannels(_ count: Int) throws -> [[String: Any]] {
        let deadline = Date(timeIntervalSinceNow: 30)
        while Date() < deadline {
            let ends = try records().filter { $0["event"] as? String == "channel" }
            if ends.count >= count { return ends }
            Thread.sleep(forTimeInterval: 0.01)
        }
        throw Waited(description: "there were no \(count) ends of channels")
    }

    /// The record of a decision.
    package func record(_ decision: Int) throws -> [String: Any] {
        guard let record = try records().first(where: { $0["seq"] as? Int == decision }) else {
            throw Waited(description: "no record \(decision)")
        }
        return record
    }
}

/// A client in a process of its own, under any identity. See EndToEndTests/Peers.
package final class PeerProcess {
    package let program: Program

    package init(
        _ socket: String, uid: UInt32? = nil, gid: UInt32? = nil, groups: [UInt32] = [], script: String = "peer.py"
    ) throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/\(script)").path
        var arguments = [script, socket]
        if let uid {
            arguments += [String(uid), String(gid ?? uid), groups.map(String.init).joined(separator: ",")]
        }
        guard let python = installed("python3") else { throw Waited(description: "python3 is not installed") }
        program = try Program(python, arguments)
    }

    /// Makes the peer do one step. Returns the result that the script prints.
    package func step(_ step: String) throws -> [String: Any] {
        try program.send(step)
        let line = try program.nextLine()
        guard let result = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
        else { throw Waited(description: "no result of \(step)") }
        return result
    }

    /// Sends a request and returns the reply.
    package func ask(_ request: String) throws -> PeerReply {
        let sent = try step("send \(request)")
        // A busy broker sends its reply and closes before it is asked, so a broken pipe is no error: the reply can be
        // read.
        if let error = sent["error"] as? String, !error.hasPrefix("BrokenPipeError") {
            throw Waited(description: "send: \(error)")
        }
        return try receive()
    }

    package func receive() throws -> PeerReply { PeerReply(try step("receive")) }

    /// Asks until the reply is none that a busy machine may cause. Returns the last one.
    package func ask(_ request: String, while isPassing: (PeerReply) -> Bool) throws -> PeerReply {
        let deadline = Date(timeIntervalSinceNow: 20)
        while true {
            let reply = try ask(request)
            guard isPassing(reply), Date() < deadline else { return reply }
            if reply.status == "B" { usleep(20_000) }
        }
    }

    /// Asks until something else than a key is given. How many requests a rate permits depends on how long they take.
    package func askBeyondTheRate(_ request: String) throws -> PeerReply { try ask(request) { $0.status == "K" } }

    /// Asks until it is not told to come back. Who opens keys outside of the sandbox has a moment for it.
    package func askWhileBusy(_ request: String) throws -> PeerReply { try ask(request) { $0.status == "B" } }

    deinit { program.signal(SIGKILL) }
}

/// What a peer received.
package struct PeerReply {
    package let packet: String
    /// The contents of the files that were received, and what the kernel says about their file descriptors.
    package let files: [[String: Any]]
    package let error: String?

    init(_ result: [String: Any]) {
        packet = result["packet"] as? String ?? ""
        files = result["files"] as? [[String: Any]] ?? []
        error = result["error"] as? String
    }

    package var status: String { String(packet.dropFirst().prefix(1)) }
    /// The decision number, or -1 if the packet has none.
    package var decision: Int { Int(packet.dropFirst(2).prefix { $0.isNumber }) ?? -1 }
    package var text: String {
        String(packet.dropFirst(2).drop { $0.isNumber }.drop { $0 == " " })
    }
    package var contents: [String] { files.compactMap { $0["content"] as? String } }
}
