// A service that runs under `keybroker exec --on-rotate`. See Peers/service.py.

import Foundation
import TestSupport
import Testing

/// The service, and the process beside it.
final class RotatingService {
    let program: Program
    let pid: Int32

    /// - Parameters:
    ///   - python: the program that runs the service.
    ///   - before: a command that runs the command that is given to it.
    init(
        _ fixture: ExecFixture, _ arguments: [String] = [], options: [String] = ["--on-rotate", "HUP"],
        python: String = "/usr/bin/python3", before: [String] = [],
        environment: [String: String] = [:]
    ) throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/service.py").path
        let (setpriv, words) = fixture.commandLine(
            options, [python, script, "{web}", "{web.certificate}"] + arguments)
        let line = before + [setpriv] + words
        program = try Program(line[0], Array(line.dropFirst()), environment: environment)
        let said = try program.nextLine()
        let first = try JSONSerialization.jsonObject(with: Data(said.utf8)) as? [String: Any]
        pid = Int32(try #require(first?["pid"] as? Int))
    }

    /// What the service reads next, on its own.
    func nextReading() throws -> Reading { try Reading(try program.nextLine()) }

    /// What it reads if it is asked to.
    func read() throws -> Reading {
        try program.send("read")
        while true {
            let reading = try nextReading()
            if reading.why == "asked" { return reading }
        }
    }

    /// Ends the service, and returns its status.
    func end() throws -> Int32 {
        try program.send("end")
        return try program.waitForExit()
    }

    deinit { program.signal(SIGKILL) }

    /// The process that looks after the files, once it does.
    func watcher() throws -> Int32 {
        var found: Int32?
        try waitUntil("a process watches for \(pid)") {
            found = try titled()
            return found.map(OtherProcess.polls) == true
        }
        return try #require(found)
    }

    /// The process that says of itself that it looks after the files.
    private func titled() throws -> Int32? {
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let number = Int32(name), let line = FileManager.default.contents(atPath: "/proc/\(name)/cmdline")
            else { continue }
            let title = String(decoding: line.prefix { $0 != 0 }, as: UTF8.self)
            if title.hasPrefix("keybroker: watches "), title.hasSuffix(" for \(pid)") { return number }
        }
        return nil
    }

    /// Whether there is such a process, be it a zombie.
    static func exists(_ pid: Int32) -> Bool { FileManager.default.fileExists(atPath: "/proc/\(pid)") }

    static func descriptors(_ pid: Int32) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
    }
}

/// What the service read of its files.
struct Reading {
    let why: String
    let key: String
    let certificate: String
    let isPair: Bool
    let error: String
    let mtime: Int
    let descriptors: Int

    init(_ line: String) throws {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        why = try #require(object["why"] as? String)
        key = try #require(object["key"] as? String)
        certificate = try #require(object["certificate"] as? String)
        isPair = try #require(object["pair"] as? Bool)
        error = object["error"] as? String ?? ""
        mtime = try #require(object["mtime"] as? Int)
        descriptors = try #require(object["descriptors"] as? Int)
    }

    /// Whether it is the pair of that name.
    func isOf(_ name: String, in folder: TemporaryFolder) throws -> Bool {
        let (newKey, newCertificate) = (try folder.text("\(name).key"), try folder.text("\(name).crt"))
        return isPair && key == newKey && certificate == newCertificate
    }
}

extension ExecFixture {
    /// Replaces the key `web` and its certificate, as certbot would.
    func rotate(to name: String) throws {
        try folder.shell("cp \(name).crt new.crt; cp -p \(name).key new.key; mv new.crt web.crt; mv new.key web.key")
    }
}
