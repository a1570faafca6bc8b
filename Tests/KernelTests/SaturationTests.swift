// Moments and durations at the limits of their numbers.

import Kernel
import Testing

struct SaturationTests {
    @Test(arguments: [
        Duration.milliseconds(Int.max), .seconds(Int64.max), .seconds(Int64.max) * 9, Duration(attoseconds: .max),
    ])
    func noDurationIsTooLong(_ duration: Duration) {
        #expect(Instant.now.after(duration) == .never)
        #expect(Instant.never.after(duration) == .never)
        #expect(Instant.now.until(Instant.now.after(duration)) > .seconds(1_000_000))
        #expect(duration.wholeMilliseconds == .max)
    }

    @Test func aMomentIsAsMuchLaterAsWasAsked() {
        let now = Instant.now
        #expect(now.until(now.after(.milliseconds(1500))) == .milliseconds(1500))
        #expect(now.after(.seconds(-1)) < now)
        #expect(now.after(Duration(attoseconds: .min)) < now)
        #expect(now.after(.zero) == now)
        #expect(Duration.microseconds(1).wholeMilliseconds == 1)
    }
}
