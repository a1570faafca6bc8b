// The life of a broker and its log, from a seed: groups of requests, corrections, rotations, outages, restarts.
//
// The broker, its ledger and the log are the real ones. Only files and callers are made here. Must never depend on
// anything but the seed.

internal import Audit
internal import Broker
internal import Kernel
internal import Keys
internal import Policy
package import PolicyLoading
internal import TestSupport
internal import Wire

/// What must never be, and what to type to see it again.
package struct Broken: Error, CustomStringConvertible {
    package var description: String
}

/// Keys that are all the same file, which every machine has.
final class OneKey: KeyOpener {
    let sandbox = Sandbox()
    let keysOutside: [(key: KeyName, path: String)] = []
    let keysHidden: [(key: KeyName, path: String, setting: HidingSetting)] = []

    func handOut(_ key: Key) throws(TrustError) -> HandOut {
        HandOut(key: try TrustedOwners.now.place(of: "/etc/passwd").open(), certificate: nil)
    }

    func handOutHere(_ key: Key) throws(TrustError) -> HandOut { try handOut(key) }

    func adopt(_ policy: LoadedPolicy) {}
    func noteChanges() {}
    func takeFileChanges() -> Bool { false }
    func takeMountChanges() -> Bool { false }
    func look(at key: Key) throws(TrustError) -> Sighting {
        Sighting(content: Content(of: try handOut(key)), isFollowed: true)
    }
}

/// A caller with known answers in place of the kernel's.
struct KnownPeer: PeerSource {
    let credentials: PeerCredentials
    let unit: String

    init(_ number: Int, unit: String) {
        credentials = PeerCredentials(uid: 1001 + UInt32(number % History.users), gid: 1001, pid: 4321)
        self.unit = unit
    }

    func peerGroups(among wanted: [UInt32], limit: Int) throws(Failure) -> PeerGroups? {
        PeerGroups(named: [], others: 2)
    }

    func peerIsRunning() throws(Failure) -> Bool? { true }
    func peerProcess(_ pid: Int32, units: UnitTable?) throws(Failure) -> (comm: String?, unit: String?)? {
        ("caller", unit)
    }
}

/// One such life. Afterwards `machine.calls` has what it did to the files.
package final class History {
    static let users = 60
    package let machine = Machine()
    package let syncs: Bool
    private var random: Seeded
    private let policy: LoadedPolicy
    private var log: LogWriter<MachineFile>
    private var broker: Broker
    private var callers = 0
    private var rotations = 0

    /// The text of the policy that it takes.
    package static var policy: String {
        "key web /etc/passwd\nkey api /etc/passwd\nlimit each-user requests 100000 connections 1000\n"
            + (0..<users).map { "permit \(1001 + $0) key web\n" }.joined()
    }

    package init(seed: UInt64, policy: LoadedPolicy) throws {
        var random = Seeded(state: seed)
        syncs = Int.random(in: 0..<5, using: &random) > 0
        self.random = random
        self.policy = policy
        log = try LogWriter(Machine.log, syncs: syncs, in: MachineFolder(machine))
        broker = Self.broker(policy, log)
    }

    private static func broker(_ policy: LoadedPolicy, _ log: LogWriter<MachineFile>) -> Broker {
        Broker(
            policy: policy, log: log, keys: OneKey(), capacity: Capacity(total: 4096),
            overflow: OverflowIDs(uid: 65_534, gid: 65_534))
    }

    private func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }

    /// Lives for this many steps.
    package func live(_ steps: Int) throws {
        try start()
        for _ in 0..<steps {
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<12: try ask(Int.random(in: 1...(chance(4) ? 24 : 4), using: &random))
            case 12, 13: try rotate()
            case 14, 15: try outage()
            case 16: try restart()
            case 17: try die()
            case 18: try rotateDuringAWrite()
            default:
                _ = broker.adopt(LoadResult(loaded: policy, diagnostics: []), askedBy: 0, pid: 1)
                commit([])
            }
        }
        machine.faults = Machine.Faults()
        try ask(1)
    }

    private func start() throws {
        try broker.start()
        machine.acknowledge(log.lastNumber)
    }

    private func commit(_ answers: [Answer]) {
        switch broker.commit(answers) {
        case .written, .recovered: machine.acknowledge(log.lastNumber)
        case .failed, .failedAgain: break
        }
        broker.count()
    }

    /// A turn with a group of requests. Some grants do not arrive, and are corrected.
    private func ask(_ count: Int) throws {
        var asked: [(answer: Answer, client: Client)] = []
        for _ in 0..<count {
            callers += 1
            let unit = String(repeating: "u", count: Int.random(in: 1...(chance(5) ? 400 : 40), using: &random))
            let peer = KnownPeer(callers, unit: "\(unit).service")
            guard case .admitted(let client) = try broker.admit(peer.credentials, from: peer) else { continue }
            let packet = ["1Gweb", "1Gweb", "1Gweb", "1Gapi", "1L", "nonsense"].randomElement(using: &random) ?? ""
            let load = Load(connections: 1, mostConnections: 64, oldestWaiting: .zero)
            let decided = try broker.answer(.bytes(Array(packet.utf8)[...]), from: client, of: peer, under: load)
            if let answer = decided.known { asked.append((answer, client)) }
        }
        commit(asked.map(\.answer))
        if chance(3) {
            for (answer, client) in asked where answer.carriesDescriptors && chance(2) {
                _ = broker.undelivered(answer, to: client, Failure("sendmsg", code: Failure.brokenPipe))
            }
            commit([])
        }
        for (_, client) in asked { broker.dismiss(client) }
    }

    // MARK: Rotation

    /// What logrotate does: renames, with the date or by counting, and may create the new file.
    private func moveAway() {
        guard machine.names[Machine.log] != nil else { return }
        rotations += 1
        machine.rename(Machine.log, to: "\(Machine.log)-\(1000 + rotations)")
        if !chance(3) { _ = machine.create(Machine.log) }
    }

    private func rotate() throws {
        moveAway()
        // The daemon may write to the old file before it looks.
        if chance(2) { try ask(2) }
        if chance(4) { moveAway() }
        try reopen()
    }

    private func reopen() throws {
        let mayFail = machine.faults.failingCuts > 0 || machine.faults.failingSyncs > 0
        do throws(LogError) { _ = try broker.reopenLog() } catch {
            if !mayFail { throw Broken(description: "not reopened: \(error)") }
        }
    }

    private func rotateDuringAWrite() throws {
        machine.beforeSync = { [weak self] in self?.moveAway() }
        try ask(3)
        machine.beforeSync = {}
        if chance(2) { try ask(1) }
        try reopen()
    }

    // MARK: Trouble

    /// Some writes fail, and the log may be rotated meanwhile.
    private func outage() throws {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            switch Int.random(in: 0..<3, using: &random) {
            case 0: machine.faults.writeTakes = Int.random(in: 0...3000, using: &random)
            case 1: machine.faults.failingSyncs = Int.random(in: 1...3, using: &random)
            default:
                machine.faults.writeTakes = Int.random(in: 1...900, using: &random)
                machine.faults.failingCuts = Int.random(in: 1...2, using: &random)
            }
            try ask(Int.random(in: 1...8, using: &random))
            machine.faults.writeTakes = nil
            if chance(4) { try rotate() }
        }
        machine.faults = Machine.Faults()
        try reopen()
        try ask(1)
    }

    private func restart() throws {
        do throws(Failure) { try broker.stop() } catch { throw Broken(description: "not stopped: \(error)") }
        machine.acknowledge(log.lastNumber)
        if chance(3) { moveAway() }
        try startAgain()
    }

    /// The process is killed while it writes. The kernel goes on.
    private func die() throws {
        machine.faults.writeTakes = Int.random(in: 0...2000, using: &random)
        machine.faults.failingCuts = 9
        try ask(Int.random(in: 1...8, using: &random))
        machine.faults = Machine.Faults()
        if chance(3) { moveAway() }
        try startAgain()
    }

    private func startAgain() throws {
        do throws(LogError) {
            log = try LogWriter(Machine.log, syncs: syncs, in: MachineFolder(machine))
        } catch { throw Broken(description: "after the end of the process: \(error)") }
        broker = Self.broker(policy, log)
        try start()
    }
}
