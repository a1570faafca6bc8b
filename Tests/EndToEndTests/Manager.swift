// A service manager that loads credentials, or somebody who pretends to be one.

import Foundation
import TestSupport

/// Control groups of units, as a service manager makes them.
final class UnitGroups {
    /// The mount of cgroup2, or nil if there is none that the tests can use.
    static let mount = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].first {
        FileManager.default.fileExists(atPath: "\($0)/cgroup.procs")
    }

    let path: String
    private var units: Set<String> = []

    init() { path = "\(Self.mount ?? "")/kbtest\(UUID().uuidString.prefix(8)).slice" }

    /// Makes the group of a unit.
    func make(_ unit: String) throws {
        guard units.insert(unit).inserted else { return }
        try FileManager.default.createDirectory(atPath: "\(path)/\(unit)", withIntermediateDirectories: true)
    }

    deinit {
        _ = try? Program.run("/bin/rmdir", units.map { "\(path)/\($0)" } + [path])
    }
}

/// Somebody at the credential socket. See Peers/credential.py.
final class Manager {
    let program: Program
    private let groups = UnitGroups()

    init(_ socket: String, uid: UInt32? = nil) throws {
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/credential.py").path
        program = try Program(
            installed("python3") ?? "python3", [script, socket] + (uid.map { [String($0)] } ?? []),
            environment: ["GROUPS_OF_UNITS": groups.path])
    }

    func step(_ step: String) throws -> [String: Any] {
        try program.send(step)
        return try JSONSerialization.jsonObject(with: Data(try program.nextLine().utf8)) as? [String: Any] ?? [:]
    }

    /// What a peer of this name reads.
    /// - Parameter unit: the unit that it runs in.
    func load(_ name: String, in unit: String) throws -> String {
        try groups.make(unit)
        let result = try step("load \(name) \(unit)")
        return result["content"] as? String ?? "error: \(result["error"] ?? "")"
    }

    /// The same as the service manager does it for a unit.
    func load(_ id: String, for unit: String) throws -> String { try load(Self.name(id, unit), in: unit) }

    /// Connects for a unit, waits for the first bytes, and does not read them. Returns the number of the connection.
    func open(_ id: String, for unit: String) throws -> Int {
        try groups.make(unit)
        let result = try step("open \(Self.name(id, unit)) \(unit)")
        guard let number = result["number"] as? Int else { throw Waited(description: "\(result)") }
        return number
    }

    func length(_ step: String) throws -> Int { try self.step(step)["length"] as? Int ?? -1 }

    private static func name(_ id: String, _ unit: String) -> String {
        "@\(String(UInt64.random(in: 1 ... .max), radix: 16))/unit/\(unit)/\(id)"
    }

    deinit {
        program.signal(SIGKILL)
        _ = try? program.waitForExit()
    }
}
