// What the library makes of the pages that say who has which content.

import Testing
import Wire

@testable import KeyBrokerClient

@Suite struct HoldersTests {
    /// A page can end with the line of a key, and the next one begins with it.
    @Test func aKeyWhoseLineIsRepeatedIsOneKey() throws {
        var all: [KeyHolders] = []
        for (name, value) in [
            (StatusName.rotation, "a generation 1 settled"), (.holder, "a 5 generation 1 uid 7"),
            (.rotation, "b generation 2 settled"), (.rotation, "b generation 3 settling"),
            (.holder, "b 6 generation 2 uid 8"), (.rotation, "b generation 3 settled"),
            (.channel, "b 9 generation 3 uid 9"), (.rotation, "c generation 0 settled"),
        ] {
            var page = StatusPage()
            page.add(name, value)
            for line in page.lines { try all.add(line) }
        }
        #expect(all.map(\.name.description) == ["a", "b", "c"])
        #expect(all.map { $0.holders.map(\.uid) } == [[7], [8, 9], []])
        #expect(all.map(\.generation) == [1, 3, 0])
        #expect(all.map(\.state) == [.settled, .settled, .settled])
    }
}
