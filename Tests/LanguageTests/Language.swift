// The clients in other languages, each as a program that does what its arguments say.

import Foundation
import TestSupport
import Testing

/// A client in a language that does all that the protocol has. See Clients/client.c and Clients/client.py.
enum Language: String, CaseIterable, Sendable {
    case c, cxx, python

    /// The folder of the clients' sources.
    static let sources = projectFolder.appendingPathComponent("Sources/Clients").path
    static let tests = testsFolder.appendingPathComponent("LanguageTests").path

    /// What the client is run by. Nil if that is not installed.
    private var needed: String? {
        switch self {
        case .c: installed("cc")
        case .cxx: installed("c++")
        case .python: installed("python3")
        }
    }

    static var installedOnes: [Language] { allCases.filter { $0.needed != nil } }

    /// The command that runs the client: built once, where every account can read it.
    func command() throws -> [String] { try Self.built.command(self) }

    fileprivate static let built = Built()

    /// Runs the client.
    /// - Parameter uid: the account that it runs as. Nil: the tests' own.
    func start(
        _ arguments: [String], socket: String, uid: UInt32? = nil, gid: UInt32? = nil
    ) throws -> Program {
        var command = try command() + arguments
        if let uid {
            let id = ["--reuid=\(uid)", "--regid=\(gid ?? uid)", "--clear-groups"]
            command = [installed("setpriv") ?? "setpriv"] + id + command
        }
        return try Program(command[0], Array(command[1...]), environment: Self.environment(socket))
    }

    static func environment(_ socket: String) -> [String: String] {
        ["KEYBROKER_SOCKET": socket, "PYTHONPATH": built.folder["python"], "PYTHONDONTWRITEBYTECODE": "1"]
    }

    func run(
        _ arguments: String..., socket: String, uid: UInt32? = nil, gid: UInt32? = nil
    ) throws -> (status: Int32, output: String) {
        let program = try start(arguments, socket: socket, uid: uid, gid: gid)
        let status = try program.waitForExit(seconds: 60)
        return (status, program.text() + program.text(.error))
    }
}

/// The clients, built in one folder for all tests.
private final class Built: Sendable {
    let folder = TemporaryFolder("languages")
    private let lock = NSLock()

    /// Nothing releases what belongs to all tests.
    init() { atexit { try? FileManager.default.removeItem(atPath: Language.built.folder.path) } }

    func command(_ language: Language) throws -> [String] {
        lock.lock()
        defer { lock.unlock() }
        if language == .python {
            if !FileManager.default.fileExists(atPath: folder["python"]) {
                try folder.shell(
                    "cp -r '\(Language.sources)/Python/src' python && cp '\(Language.tests)/Clients/client.py' .")
                try folder.shell("chmod -R a+rX python client.py")
            }
            return [installed("python3") ?? "python3", "-W", "error", folder["client.py"]]
        }
        let program = folder[language.rawValue]
        if !FileManager.default.fileExists(atPath: program) {
            let compiler = language == .c ? "cc -std=c99" : "c++ -x c++ -std=c++11"
            try folder.shell(
                "\(compiler) -O2 -Wall -Wextra -Wshadow -Werror -pedantic -I'\(Language.sources)/C' "
                    + "'\(Language.tests)/Clients/client.c' -o \(language.rawValue)")
        }
        return [program]
    }
}

extension Language {
    /// A broker for watches that answers what it is told to. See Brokers/watched.py.
    static func watchedBroker(at socket: String) throws -> Program {
        let broker = try Program(installed("python3") ?? "python3", [tests + "/Brokers/watched.py", socket])
        #expect(try broker.nextLine() == "listens")
        return broker
    }
}

/// The text of the last example of a manual page.
func lastExample(of page: String) throws -> String {
    let text = try String(contentsOf: projectFolder.appendingPathComponent(page), encoding: .utf8)
    let start = try #require(text.ranges(of: ".Bd -literal -offset indent\n").last).upperBound
    let end = try #require(text[start...].range(of: "\n.Ed\n")).lowerBound
    return text[start..<end].replacing("\\e", with: "\\").replacing("\\&", with: "") + "\n"
}
