// A second thread for one job at a time.

import Foundation
import Kernel
import Synchronization
import Testing

struct WorkerTests {
    private func wait<R>(_ worker: Worker<Int, R>) throws -> R {
        let poller = try Poller(capacity: 1)
        try worker.register(with: poller, as: 7)
        while true {
            let events = try poller.wait(atMost: .seconds(20))
            try #require(!events.isEmpty, "no outcome in time")
            #expect(events.map(\.token) == [7])
            if let outcome = worker.take() { return outcome }
        }
    }

    @Test func anOutcomeComesFromAnotherThread() throws {
        let own = ObjectIdentifier(Thread.current)
        let worker = try Worker<Int, (Int, Bool)>(confinedBy: { () throws(Failure) in }) {
            ($0 * 2, ObjectIdentifier(Thread.current) == own)
        }
        #expect(worker.take() == nil)
        for number in 1...100 {
            worker.begin(number)
            #expect(try wait(worker) == (number * 2, false))
            #expect(worker.take() == nil)
        }
    }

    /// It reports nothing before it was given anything to do, however fast its thread began: a loop that waits for it would
    /// turn for ever. The workers are made by several threads, so that some of them are slow.
    @Test func whoDidNothingIsSilent() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask {
                    for _ in 0..<40 {
                        let worker = try Worker<Int, Int>(confinedBy: { () throws(Failure) in }) { $0 }
                        let poller = try Poller(capacity: 1)
                        try worker.register(with: poller, as: 7)
                        #expect(try poller.wait(atMost: .milliseconds(1)).isEmpty)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// It does nothing before it is confined.
    @Test func aThreadThatCannotBeConfinedIsNoWorker() throws {
        let isConfined = Mutex(false)
        #expect(throws: Failure("seccomp", code: 1)) {
            _ = try Worker<Int, Int>(confinedBy: { () throws(Failure) in throw Failure("seccomp", code: 1) }) { $0 }
        }
        let worker = try Worker<Int, Bool>(confinedBy: { () throws(Failure) in isConfined.withLock { $0 = true } }) {
            _ in
            isConfined.withLock { $0 }
        }
        worker.begin(1)
        #expect(try wait(worker))
    }
}
