// What the service manager is still to be told: the newest of each kind, in order.

import Testing

@testable import Kernel

@Suite struct NotificationsTests {
    /// What is told after these messages, each with its number as its text.
    private func told(_ kinds: [Notifications.Kind]) -> [Int] {
        var notifications = Notifications()
        for (number, kind) in kinds.enumerated() { notifications.add(kind, String(number)) }
        var told: [Int] = []
        while let text = notifications.next() { told.append(Int(text) ?? -1) }
        #expect(notifications.isEmpty)
        return told
    }

    @Test func eachIsToldInOrder() {
        #expect(told([]) == [])
        #expect(told([.ready, .alive, .reloading, .stopping]) == [1, 2, 3])
        #expect(told([.reloading, .ready, .status, .alive, .stopping]) == [0, 1, 2, 3, 4])
    }

    @Test func theNewestOfAKindIsEnough() {
        #expect(told(Array(repeating: .alive, count: 1000)) == [999])
        #expect(told([.status, .alive, .status]) == [1, 2])
        #expect(told([.ready, .ready]) == [1])
    }

    /// A service manager that hears of a reload waits for the end of it, which is the next "ready".
    @Test func aReloadIsToldBeforeItsEnd() {
        #expect(told([.reloading, .ready, .reloading, .ready]) == [2, 3])
        #expect(told([.reloading, .ready, .reloading]) == [2])
        #expect(told([.ready, .status, .reloading, .status]) == [2, 3])
    }
}
