// Tries crash states in a release build: 100,000 by default, or as many as KEYBROKER_CRASH_STATES says, from the seed
// KEYBROKER_CRASH_SEED. The exit status is 1 if one of them breaks a promise of the log.

internal import CrashStates
internal import Foundation

@main struct Main {
    static func main() {
        let campaign = Campaign(seed: 1, states: 100_000)
        let began = Date()
        print("crash states from seed \(campaign.seed)")
        do {
            let tally = try campaign.run()
            let seconds = Date().timeIntervalSince(began).formatted(.number.precision(.fractionLength(1)))
            print(
                "\(tally.states) states in \(seconds) s: \(tally.distinct) distinct, \(tally.cut) with something cut off, "
                    + "\(tally.zeros) of them with zeros, \(tally.again) after a second crash; "
                    + "\(tally.verified) verified, \(tally.mutations) with a record taken away")
        } catch {
            print("\(error)")
            exit(1)
        }
    }
}
