// The calls that the log makes, where their order decides what a power cut may leave.

import Audit
import CrashStates
import Kernel
import Testing

struct CallTests {
    private let machine = Machine()

    private func opened() throws -> LogWriter<MachineFile> {
        try LogWriter(Machine.log, syncs: true, in: MachineFolder(machine))
    }

    private func write(_ count: Int, _ length: Int = 0, to log: LogWriter<MachineFile>) throws {
        for _ in 0..<count {
            var record = Record(.request)
            record.detail = String(repeating: "d", count: length)
            _ = log.stage(record)
        }
        try log.commit()
    }

    private var calls: [String] {
        machine.calls.map { call in
            switch call {
            case .create: "create"
            case .write: "write"
            case .cut: "cut"
            case .sync: "sync"
            case .syncFolder: "syncFolder"
            case .rename: "rename"
            case .acknowledge: "acknowledge"
            }
        }
    }

    @Test func aRecordIsWrittenAndSynchronizedOnce() throws {
        let log = try opened()
        try write(3, to: log)
        try write(1, to: log)
        #expect(calls == ["create", "syncFolder", "sync", "write", "sync", "write", "sync"])
    }

    /// If the new bytes mixed with the old ones, the line would look like one that somebody changed.
    @Test func whatIsCutOffIsOffTheDiskBeforeAnythingIsWrittenInItsPlace() throws {
        let log = try opened()
        machine.faults.writeTakes = 50
        #expect(throws: Failure.self) { try write(1, to: log) }
        machine.faults.writeTakes = nil
        try write(1, to: log)
        #expect(calls == ["create", "syncFolder", "sync", "write", "cut", "sync", "write", "sync"])
        // The cut succeeds, but nobody knows whether it is on disk.
        machine.faults.failingSyncs = 2
        #expect(throws: Failure.self) { try write(1, to: log) }
        try write(1, to: log)
        #expect(calls.suffix(5) == ["write", "cut", "sync", "write", "sync"])
    }

    /// A record that could not be committed must not come back in the old file, with a number that was given again.
    @Test func theOldFileIsCleanBeforeTheNewOneIsTaken() throws {
        let log = try opened()
        machine.faults.failingSyncs = 3
        #expect(throws: Failure.self) { try write(1, to: log) }
        machine.rename(Machine.log, to: "\(Machine.log).1")
        #expect(throws: LogError.self) { _ = try log.reopen() }
        #expect(try log.reopen())
        try write(1, to: log)
        #expect(calls.suffix(3) == ["sync", "write", "sync"])
    }

    /// The process ended before it had synchronized its last write. Other records follow only when it is on disk.
    @Test func whatIsContinuedIsSynchronizedFirst() throws {
        try write(2, to: opened())
        machine.rename(Machine.log, to: "\(Machine.log).1")
        let before = calls.count
        try write(1, to: opened())
        #expect(calls[before...] == ["create", "syncFolder", "sync", "sync", "write", "sync"])
    }

    /// However many records there are, a power cut damages no more than the recovery looks at.
    @Test func aVeryLongWriteIsSynchronizedInParts() throws {
        try write(1500, 2048, to: opened())
        var (unsynced, parts) = (0, 0)
        for call in machine.calls {
            switch call {
            case .write(_, let bytes): unsynced += bytes.count
            case .sync:
                parts += 1
                unsynced = 0
            default: break
            }
            #expect(unsynced <= 1 << 20)
        }
        #expect(parts > 2)
    }
}
