// The second mind: what a policy means by a model in Python, which goes by keybroker.policy(5)
// (Tests/PolicyTests/Model/model.py).
//
// Must never answer anything itself.

internal import Foundation

/// Somebody who asks. Without a uid, and `alone`, it is a unit whatever account it runs as.
package struct ModelCaller: Encodable, Sendable {
    package let uid: UInt32?
    package let groups: [UInt32]
    package let unit: String?
    package let alone: Bool

    package init(uid: UInt32? = nil, groups: [UInt32] = [], unit: String? = nil, alone: Bool = false) {
        (self.uid, self.groups, self.unit, self.alone) = (uid, groups, unit, alone)
    }
}

/// What the model says of one policy. Each array has an entry for each caller, and in it one for each key.
package struct ModelAnswer: Decodable, Sendable {
    /// Why the policy is faulty. Then there is nothing else.
    package let faulty: String?
    /// The first line that permits the key, or 0. After the keys there is the line that permits the status.
    package let lines: [[Int]]?
    /// Whether a `never` line excludes the caller.
    package let excluded: [[Bool]]?
    /// Connections, requests, watches.
    package let bounds: [[Int?]]?
}

package final class PolicyModel {
    private struct Question: Encodable {
        let machine: [String: [String: UInt32]]
        let policies: [String]
        let callers: [ModelCaller]
        let keys: [String]
    }

    private let machine: [String: [String: UInt32]]
    private let keys: [String]
    private var program: Program
    private var asked = 0

    package init(users: [String: UInt32], groups: [String: UInt32], keys: [String]) throws {
        machine = ["users": users, "groups": groups]
        self.keys = keys
        program = try Self.start()
    }

    private static func start() throws -> Program {
        let path = testsFolder.appendingPathComponent("PolicyTests/Model/model.py").path
        guard let python = installed("python3") else { throw Waited(description: "python3 is not installed") }
        return try Program(python, [path])
    }

    /// What each of the policies says of the callers.
    package func ask(_ policies: [String], _ callers: [ModelCaller]) throws -> [ModelAnswer] {
        // What a program has said is kept, so a long run takes a new one now and then.
        asked += 1
        if asked % 1000 == 0 {
            try stop()
            program = try Self.start()
        }
        let question = Question(machine: machine, policies: policies, callers: callers, keys: keys)
        try program.send(String(decoding: try JSONEncoder().encode(question), as: UTF8.self))
        return try JSONDecoder().decode([ModelAnswer].self, from: Data(try program.nextLine().utf8))
    }

    package func stop() throws {
        let status = try program.waitForExit()
        if status != 0 { throw Waited(description: "the model ended with \(status): \(program.text(.error))") }
    }
}
