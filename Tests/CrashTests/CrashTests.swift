// The log recovers by itself from every state that a power cut may leave, and loses no durable record.

import CrashStates
import Testing

struct CrashTests {
    /// A few states with the debug build. `make test` and `make crash` try many more with the release build.
    @Test func everyStateRecovers() throws {
        let campaign = Campaign(seed: 1, states: 1_000)
        let tally = try campaign.run()
        #expect(tally.states >= campaign.states)
        #expect(tally.cut > 0 && tally.zeros > 0 && tally.again > 0 && tally.mutations > 0, "\(tally)")
    }
}
