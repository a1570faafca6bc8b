// Many callers under any uids and groups, each a process of its own. See Peers/callers.py.
//
// Must never ask as somebody else than it says.

import Foundation
import TestSupport

/// A process that asks.
struct Asker: Encodable {
    let uid: UInt32, gid: UInt32
    let groups: [UInt32]
    let requests: [String]

    /// As the model knows it: the primary group is one of its groups.
    func caller(in unit: String?) -> ModelCaller { ModelCaller(uid: uid, groups: [gid] + groups, unit: unit) }
}

/// What it is told.
struct AskedReply {
    let packet: String
    /// The contents of the files that came with it.
    let contents: [String]

    var status: String { String(packet.dropFirst().prefix(1)) }
    var decision: Int { Int(packet.dropFirst(2).prefix { $0.isNumber }) ?? -1 }
}

struct Askers {
    private let program: Program

    init(_ socket: String) throws {
        guard let python = installed("python3") else { throw Waited(description: "python3 is not installed") }
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/callers.py").path
        program = try Program(python, [script, socket])
    }

    /// The replies to each request of each caller.
    func ask(_ askers: [Asker]) throws -> [[AskedReply]] {
        try program.send(String(decoding: try JSONEncoder().encode(askers), as: UTF8.self))
        let line = Data(try program.nextLine(seconds: 60).utf8)
        guard let all = try JSONSerialization.jsonObject(with: line) as? [[[Any]]],
            zip(all, askers).allSatisfy({ $0.count == $1.requests.count })
        else { throw Waited(description: "not all were answered: \(program.text(.error))") }
        return all.map { replies in
            replies.map { AskedReply(packet: $0.first as? String ?? "", contents: $0.last as? [String] ?? []) }
        }
    }

    func stop() throws {
        let status = try program.waitForExit()
        if status != 0 { throw Waited(description: "the callers ended with \(status): \(program.text(.error))") }
    }
}
