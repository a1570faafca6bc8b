// Threads that may hang: a lane that does takes one of them.

import Synchronization
import TestSupport
import Testing

@testable import Kernel

struct LanesTests {
    /// ThreadSanitizer does not see the locks of Swift's Mutex, and takes what it guards for a race.
    @Test(.disabled(if: Program.missesLocks, "ThreadSanitizer sees no Mutex"))
    func aLaneThatHangsStopsNoOther() throws {
        let lanes = try Lanes(threads: 2) {}
        let (hang, done) = (try WakeUp(), try WakeUp())
        let log = Log()
        lanes.add(in: 1) {
            _ = try? hang.takeOne()
            log.add(0)
        }
        lanes.add(in: 1) { log.add(1) }
        for number in 2..<50 { lanes.add(in: 2) { log.add(number) } }
        lanes.add(in: 2) { done.signal() }
        try done.takeOne()
        #expect(log.all == Array(2..<50))
        lanes.add(in: 1) { done.signal() }
        hang.signal()
        try done.takeOne()
        #expect(log.all == Array(2..<50) + [0, 1])
    }

    private final class Log: Sendable {
        private let numbers = Mutex<[Int]>([])
        func add(_ number: Int) { numbers.withLock { $0.append(number) } }
        var all: [Int] { numbers.withLock { $0 } }
    }
}
