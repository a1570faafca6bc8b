// Crashes a history in many places, has the log recover from each state, and checks what must be true afterwards.
//
// The checks know the lines that were written. They share no code with the recovery.

internal import Audit
internal import AuditReading
internal import Foundation
internal import Kernel
internal import PolicyLoading
internal import TestSupport

/// How many states were tried, and what was seen.
package struct Tally: Sendable {
    package var states = 0
    /// States that differ from all others of their history.
    package var distinct = 0
    package var verified = 0
    /// States in which something was cut off, and among them those with zeros.
    package var cut = 0, zeros = 0
    /// States after a crash that came soon after the recovery from another.
    package var again = 0
    /// Logs from which a durable record was taken.
    package var mutations = 0

    package static func += (sum: inout Tally, other: Tally) {
        sum.states += other.states
        sum.distinct += other.distinct
        sum.verified += other.verified
        sum.cut += other.cut
        sum.zeros += other.zeros
        sum.again += other.again
        sum.mutations += other.mutations
    }

    package init() {}
}

/// Tries the states of histories.
package final class Trial {
    private let desk: Desk
    private let policy: LoadedPolicy
    private let scratch = TemporaryFolder("crash")
    private var known: Set<[UInt8]> = []
    private var seen: Set<[UInt8]> = []
    private var tally = Tally()

    /// How many states are tried of each history.
    package static let statesPerHistory = 500

    package init() throws {
        desk = try Desk()
        try scratch.write("policy", History.policy)
        guard let loaded = PolicyFiles([scratch["policy"]], owners: .now).load(warns: false).loaded else {
            throw Broken(description: "the policy of the histories is faulty")
        }
        policy = loaded
    }

    /// What was counted since the last call.
    package func takeTally() -> Tally {
        defer { tally = Tally() }
        return tally
    }

    /// Lives the history of a seed, and tries states of it.
    package func run(seed: UInt64, states: Int = statesPerHistory) throws {
        (known, seen) = ([], [])
        var place = "its life"
        var before: ArraySlice<Call> = []
        do {
            let history = try History(seed: seed, policy: policy)
            try history.live(Int(3 + seed % 12))
            let lines = try lines(of: history.machine.logFiles, mayBeBroken: false)
            var random = Seeded(state: seed ^ 0x5EED)
            var disk = Disk(hasJournal: Bool.random(using: &random))
            let calls = history.machine.calls
            var places = (0..<states).map { _ in Int.random(in: 0...calls.count, using: &random) }
            places.sort()
            var (made, certain) = (0, 0)
            for (number, crash) in places.enumerated() {
                while made < crash {
                    disk.apply(calls[made])
                    if case .acknowledge(let count) = calls[made] { certain = count }
                    made += 1
                }
                place = "state \(number), after call \(crash) of \(calls.count)"
                before = calls[..<crash].suffix(12)
                try crashed(disk, Array(lines[..<certain]), syncs: history.syncs, depth: 0, &random)
            }
        } catch {
            let words = before.map(\.words).joined(separator: "\n")
            throw Broken(description: "seed \(seed), \(place): \(error)\n\(words)")
        }
    }

    /// Crashes, recovers, checks, and sometimes crashes again.
    private func crashed(
        _ disk: Disk, _ certain: [ArraySlice<UInt8>], syncs: Bool, depth: Int, _ random: inout Seeded
    ) throws {
        let left = disk.afterPowerCut(&random)
        let machine = Machine(files: left.files, names: left.names)
        tally.states += 1
        if depth > 0 { tally.again += 1 }
        let state = fingerprint(machine.logFiles)
        if seen.insert(state).inserted { tally.distinct += 1 }
        if Int.random(in: 0..<24, using: &random) == 0 { try look(at: machine.logFiles, syncs: syncs) }

        let log: LogWriter<MachineFile>
        do throws(LogError) { log = try LogWriter(Machine.log, syncs: syncs, in: MachineFolder(machine)) } catch {
            throw Broken(description: "a person is needed: \(error)")
        }
        if let recovery = log.recovery, recovery.contains("cut off") {
            tally.cut += 1
            if recovery.contains("zeros") { tally.zeros += 1 }
        }
        let isNew = known.insert(fingerprint(machine.logFiles)).inserted
        var start = Record(.start)
        start.detail = log.recovery
        _ = log.stage(start)
        try log.commit()
        machine.acknowledge(log.lastNumber)
        let now = try check(machine, certain, syncs: syncs)
        if isNew { try verify(machine, now, log.head, syncs: syncs, &random) }

        // The recovery and what follows it can be cut off, too.
        guard depth < 3, Int.random(in: 0..<5, using: &random) == 0 else { return }
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                var record = Record(.request)
                record.detail = String(repeating: "d", count: Int.random(in: 0...600, using: &random))
                _ = log.stage(record)
            }
            try log.commit()
            machine.acknowledge(log.lastNumber)
        }
        let all = try lines(of: machine.logFiles, mayBeBroken: !syncs)
        var next = Disk(files: left.files, names: left.names, hasJournal: Bool.random(using: &random))
        var known = certain
        for call in machine.calls.prefix(Int.random(in: 0...machine.calls.count, using: &random)) {
            next.apply(call)
            if case .acknowledge(let count) = call, syncs { known = Array(all[..<count]) }
        }
        try crashed(next, known, syncs: syncs, depth: depth + 1, &random)
    }

    // MARK: What must be true

    /// The records of the files in the order of their numbers, each number once.
    private func lines(
        of files: [(name: String, bytes: [UInt8])], mayBeBroken: Bool
    ) throws -> [ArraySlice<UInt8>] {
        var found: [(number: Int, line: ArraySlice<UInt8>)] = []
        // What was cut off is kept in a file whose name begins otherwise.
        for (name, bytes) in files
        where name == Machine.log || name.hasPrefix(Machine.log) && bytes.starts(with: Self.begin) {
            guard bytes.isEmpty || bytes.last == 0x0A || mayBeBroken else {
                throw Broken(description: "\(name) ends within a line")
            }
            // What has no line feed at the end was never a whole record.
            let whole = bytes[..<(bytes.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0)]
            for line in whole.split(separator: 0x0A) {
                if let number = Self.number(line) {
                    found.append((number, line))
                } else if !mayBeBroken {
                    throw Broken(description: "\(name) has a line that is no record: \(Self.text(line))")
                }
            }
        }
        found.sort { $0.number < $1.number }
        for (before, next) in zip(found, found.dropFirst()) where before.number == next.number {
            throw Broken(description: "seq \(next.number) twice: \(Self.text(before.line)) and \(Self.text(next.line))")
        }
        if !mayBeBroken, let last = found.last, last.number != found.count {
            throw Broken(description: "\(found.count) records up to \(last.number)")
        }
        return found.map(\.line)
    }

    /// Checks that every certain record is there once, as it was. Returns all records.
    private func check(
        _ machine: Machine, _ certain: [ArraySlice<UInt8>], syncs: Bool
    ) throws -> [ArraySlice<UInt8>] {
        let now = try lines(of: machine.logFiles, mayBeBroken: !syncs)
        guard syncs else { return now }
        guard now.count > certain.count else {
            throw Broken(description: "\(certain.count) records were durable, and \(now.count - 1) are left")
        }
        for (index, line) in certain.enumerated() where now[index] != line {
            throw Broken(description: "durable record \(index + 1) is now \(Self.text(now[index]))")
        }
        return now
    }

    /// `verify` on what a crash left, before anything recovers it. It may say that something is cut, and no more.
    private func look(at files: [(name: String, bytes: [UInt8])], syncs: Bool) throws {
        tally.verified += 1
        guard let fault = try desk.verify(files).fault, syncs, fault.kind != .cut else { return }
        if fault.kind == .unreadable, !files.contains(where: { $0.name == Machine.log }) { return }
        throw Broken(description: "verify takes a crash for something else: \(fault)")
    }

    private func verify(
        _ machine: Machine, _ lines: [ArraySlice<UInt8>], _ head: String, syncs: Bool, _ random: inout Seeded
    ) throws {
        let files = machine.logFiles
        let (fault, records, isWhole) = try desk.verify(files, expecting: head)
        tally.verified += 1
        if let fault {
            // Without fdatasync records can be lost in the middle. It must say that, and not that they were changed.
            if !syncs, [.cut, .missing, .headUnknown].contains(fault.kind) { return }
            throw Broken(description: "verify after the recovery: \(fault)")
        }
        guard records == lines.count, isWhole || !syncs else {
            throw Broken(description: "verify sees \(records) records of \(lines.count)")
        }
        guard Int.random(in: 0..<8, using: &random) == 0 else { return }
        // Now a record is taken away or overwritten, which must not go unnoticed.
        tally.mutations += 1
        let victim = lines[Int.random(in: 0..<lines.count, using: &random)]
        let isOverwritten = Bool.random(using: &random)
        let damaged = files.map { name, bytes in
            var bytes = bytes
            if let place = Self.place(of: victim, in: bytes) {
                if isOverwritten {
                    let byte: UInt8 = Bool.random(using: &random) ? 0 : 0x20
                    for index in place.prefix(Int.random(in: 20...60, using: &random)) { bytes[index] = byte }
                } else {
                    bytes.removeSubrange(place.lowerBound...min(place.upperBound, bytes.count - 1))
                }
            }
            return (name: name, bytes: bytes)
        }
        // If it was the only record of the first file, that file seems to be missing, as after a year of rotations.
        let after = try desk.verify(damaged, expecting: head)
        if after.fault == nil, after.isWhole {
            throw Broken(description: "verify does not miss the record \(Self.text(victim))")
        }
    }

    /// Where a line is in a file. Nil if it is not there.
    private static func place(of line: ArraySlice<UInt8>, in bytes: [UInt8]) -> Range<Int>? {
        var start = 0
        for part in bytes.split(separator: 0x0A, omittingEmptySubsequences: false) {
            if part == line { return start..<(start + part.count) }
            start += part.count + 1
        }
        return nil
    }

    private static func number(_ line: ArraySlice<UInt8>) -> Int? {
        guard line.starts(with: begin), line.last == 0x7D, !line.contains(0) else { return nil }
        return Int(String(decoding: line.dropFirst(begin.count).prefix { $0 != 0x2C }, as: UTF8.self))
    }

    private static let begin = Array(#"{"seq":"#.utf8)

    private static func text(_ line: ArraySlice<UInt8>) -> String { String(decoding: line.prefix(200), as: UTF8.self) }

    private func fingerprint(_ files: [(name: String, bytes: [UInt8])]) -> [UInt8] {
        var all: [UInt8] = []
        for (name, bytes) in files {
            all += name.utf8
            all.append(0xFF)
            all += bytes
            all.append(0xFF)
        }
        return all
    }
}
