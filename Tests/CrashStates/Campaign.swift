// Many histories, on all cores.

internal import Foundation
internal import Synchronization

/// What is to be tried, and what came of it.
package struct Campaign: Sendable {
    /// The seed of the first history. The next one has the next number.
    package let seed: UInt64
    package let states: Int

    /// - Parameters: what KEYBROKER_CRASH_SEED and KEYBROKER_CRASH_STATES say, or these numbers.
    package init(seed: UInt64, states: Int) {
        let environment = ProcessInfo.processInfo.environment
        self.seed = environment["KEYBROKER_CRASH_SEED"].flatMap { UInt64($0) } ?? seed
        self.states = environment["KEYBROKER_CRASH_STATES"].flatMap { Int($0) } ?? states
    }

    /// Throws the failure with the smallest seed, and what to type to see it again.
    package func run() throws -> Tally {
        let each = Trial.statesPerHistory
        let next = Mutex(0)
        let sum = Mutex(Tally())
        let failure = Mutex<(history: Int, text: String)?>(nil)
        DispatchQueue.concurrentPerform(iterations: ProcessInfo.processInfo.activeProcessorCount) { _ in
            var history = 0
            do {
                let trial = try Trial()
                while true {
                    history = next.withLock { number in
                        defer { number += 1 }
                        return number
                    }
                    guard sum.withLock({ $0.states }) < states, failure.withLock({ $0 == nil }) else { return }
                    try trial.run(seed: seed &+ UInt64(history))
                    sum.withLock { $0 += trial.takeTally() }
                }
            } catch {
                let text = "\(error)"
                failure.withLock { first in
                    if first.map({ $0.history > history }) ?? true { first = (history, text) }
                }
            }
        }
        if let (history, text) = failure.withLock({ $0 }) {
            let again = "KEYBROKER_CRASH_SEED=\(seed &+ UInt64(history)) KEYBROKER_CRASH_STATES=\(each)"
            throw Broken(description: "\(text)\nto see it again: \(again) make crash")
        }
        return sum.withLock { $0 }
    }
}
