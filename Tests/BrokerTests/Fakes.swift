// Fakes: a log in memory that can be made to fail, keys that are all the same file, and callers.

import Audit
import Foundation
import Kernel
import Keys
import Policy
import PolicyLoading
import TestSupport
import Testing
import Wire

@testable import Broker

final class FakeLog: RecordLog {
    let path = "/fake/audit.jsonl"
    let recovery: String? = nil
    let head = String(repeating: "0", count: 64)
    private(set) var records: [(number: UInt64, record: Record)] = []
    private var waiting: [(number: UInt64, record: Record)] = []
    var isFull = false

    var lastNumber: UInt64 { records.last?.number ?? 0 }
    var hasStaged: Bool { !waiting.isEmpty }

    func stage(_ record: Record) -> UInt64 {
        let number = (waiting.last?.number ?? lastNumber) + 1
        waiting.append((number, record))
        return number
    }

    func commit() throws(Failure) {
        defer { waiting = [] }
        if isFull, hasStaged { throw Failure("write", code: 28, on: path) }
        records += waiting
    }

    var isReplaced: Bool { false }
    func reopen() throws(LogError) -> Bool { false }

    subscript(number: UInt64) -> Record? { records.first { $0.number == number }?.record }
}

final class FakeKeys: KeyOpener {
    let sandbox = Sandbox()
    let keysOutside: [(key: KeyName, path: String)] = []
    var keysHidden: [(key: KeyName, path: String, setting: HidingSetting)] = []
    private(set) var opened = 0
    var fault: TrustError?
    private let file: String

    init(_ file: String) { self.file = file }

    func handOut(_ key: Key) throws(TrustError) -> HandOut {
        if let fault { throw fault }
        opened += 1
        return HandOut(key: try TrustedOwners.now.place(of: file).open(), certificate: nil)
    }

    func handOutHere(_ key: Key) throws(TrustError) -> HandOut { try handOut(key) }

    func adopt(_ policy: LoadedPolicy) {}
    func noteChanges() {}
    var hasFileChanges = false

    func takeFileChanges() -> Bool {
        defer { hasFileChanges = false }
        return hasFileChanges
    }
    func takeMountChanges() -> Bool { false }

    func look(at key: Key) throws(TrustError) -> Sighting {
        Sighting(content: Content(of: try handOut(key)), isFollowed: isFollowed)
    }
    var isFollowed = true
}

/// A caller as the kernel would report it. It counts how often it is asked.
final class FakePeer: PeerSource {
    let credentials: PeerCredentials
    let groups: [UInt32]
    var unit: String?
    var fault: Failure?
    private(set) var askedForGroups = 0, askedForProcess = 0

    init(uid: UInt32, gid: UInt32? = nil, groups: [UInt32] = [], unit: String? = nil) {
        credentials = PeerCredentials(uid: uid, gid: gid ?? uid, pid: 1)
        self.groups = groups
        self.unit = unit
    }

    func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups? {
        askedForGroups += 1
        if groups.count > limit { return nil }
        let named = groups.filter(wanted.contains)
        return PeerGroups(named: named, others: groups.count - named.count)
    }

    var hasEnded = false

    func peerIsRunning() throws(Failure) -> Bool? { !hasEnded }

    func peerProcess(_ pid: Int32, units: UnitTable?) throws(Failure) -> (comm: String?, unit: String?)? {
        askedForProcess += 1
        if let fault { throw fault }
        return ("fake", unit)
    }
}

/// The bound that a rate sets: so many at once, and what is added while the test runs, however slow the machine is.
struct RateBound {
    private let began = ContinuousClock.now

    func most(_ perSecond: Int) -> Int {
        perSecond + Int((ContinuousClock.now - began) / .seconds(1) * Double(perSecond))
    }
}

/// A broker with these fakes.
final class Bench {
    static let policy = """
        key web /k/web
        key api /k/api
        permit 1001 key web
        permit :2001 key api
        permit 1003 unit a.service key web

        """

    let folder = TemporaryFolder("broker")
    let log = FakeLog()
    let keys: FakeKeys
    let broker: Broker

    init(_ policy: String, total: Int = 64) throws {
        keys = FakeKeys(try folder.write("key", "KEY", mode: 0o600))
        broker = Broker(
            policy: try Self.load(policy, folder), log: log, keys: keys, capacity: Capacity(total: total),
            overflow: OverflowIDs(uid: 65_534, gid: 65_534))
    }

    static func load(_ policy: String, _ folder: TemporaryFolder) throws -> LoadedPolicy {
        try folder.write("policy", policy)
        let loading = PolicyFiles([folder["policy"]], owners: .now).load(warns: false)
        guard let loaded = loading.loaded else { throw Waited(description: "\(loading.diagnostics)") }
        return loaded
    }

    func reload(_ policy: String) throws {
        let loaded = try Self.load(policy, folder)
        _ = broker.adopt(LoadResult(loaded: loaded, diagnostics: []), askedBy: 0, pid: 1)
    }

    /// Nil if the caller was turned away.
    func admit(_ peer: FakePeer) throws -> Client? {
        if case .admitted(let client) = try broker.admit(peer.credentials, from: peer) { client } else { nil }
    }

    func ask(_ packet: String, _ client: Client, _ peer: FakePeer) throws -> Answer {
        let load = Load(connections: 1, mostConnections: 64, oldestWaiting: .zero)
        let decided = try broker.answer(.bytes(Array(packet.utf8)[...]), from: client, of: peer, under: load)
        return try #require(decided.known)
    }

    /// Asks on a new connection, and commits.
    func reply(_ packet: String, _ peer: FakePeer) throws -> Reply {
        guard let client = try admit(peer) else { throw Waited(description: "turned away") }
        defer { broker.dismiss(client) }
        let answer = try ask(packet, client, peer)
        _ = broker.commit([answer])
        broker.count()
        return answer.reply
    }
}
