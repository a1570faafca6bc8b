// The two clocks: the time of day is for the audit log, the monotonic clock is for limits and timeouts.
//
// Must never use one in place of the other, because the time of day can jump.

internal import Glibc

/// A point in time, in UTC.
package struct WallTime: Equatable, Sendable {
    package let seconds: Int
    package let nanoseconds: Int

    package init(seconds: Int, nanoseconds: Int) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// Calls `clock_gettime(CLOCK_REALTIME)`.
    package static var now: WallTime {
        var time = timespec()
        // Safety: clock_gettime fills the one struct it is given; with this clock it cannot fail.
        unsafe _ = clock_gettime(CLOCK_REALTIME, &time)
        return WallTime(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// The time in RFC 3339, in UTC with microseconds: `2026-11-23T13:28:00.123456Z`. Valid for the years 0 to 9999.
    package var rfc3339: String {
        var text: [UInt8] = []
        text.reserveCapacity(27)
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Appends the same text.
    package func append(to text: inout [UInt8]) {
        // Counts days from 0000-03-01: the leap day is then the last of its year, and the calendar needs no tables.
        let days = seconds.flooredQuotient(by: 86_400)
        let inDay = seconds - days * 86_400
        let shifted = days + 719_468
        let era = shifted.flooredQuotient(by: 146_097)
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)

        text.append(addingCapacity: 27) { text in
            func put(_ pair: Int, then end: Unicode.Scalar? = nil) {
                text.append(UInt8(truncatingIfNeeded: 48 + pair / 10 % 10))
                text.append(UInt8(truncatingIfNeeded: 48 + pair % 10))
                if let end { text.append(UInt8(ascii: end)) }
            }
            put(year / 100)
            put(year % 100, then: "-")
            put(month, then: "-")
            put(day, then: "T")
            put(inDay / 3_600, then: ":")
            put(inDay / 60 % 60, then: ":")
            put(inDay % 60, then: ".")
            put(nanoseconds / 10_000_000)
            put(nanoseconds / 100_000 % 100)
            put(nanoseconds / 1_000 % 100, then: "Z")
        }
    }
}

extension Int {
    fileprivate func flooredQuotient(by divisor: Int) -> Int {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}

/// A point on the monotonic clock, which never goes back.
package struct Instant: Comparable, Hashable, Sendable {
    private let sinceBoot: Duration

    package init(sinceBoot duration: Duration) { sinceBoot = duration }

    package static let boot = Instant(sinceBoot: .zero)
    /// Later than any moment that is waited for: about 292 years after boot.
    package static let never = Instant(sinceBoot: .nanoseconds(Int64.max))

    /// Calls `clock_gettime(CLOCK_MONOTONIC)`.
    package static var now: Instant {
        var time = timespec()
        // Safety: clock_gettime fills the one struct it is given; with this clock it cannot fail.
        unsafe _ = clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(sinceBoot: .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec))
    }

    /// This moment plus `duration`, at most `never`. Durations can come from outside, so the sum must not overflow.
    package func after(_ duration: Duration) -> Instant {
        let (sum, overflows) = sinceBoot.attoseconds.addingReportingOverflow(duration.attoseconds)
        if overflows { return duration > .zero ? .never : .boot }
        return min(Instant(sinceBoot: Duration(attoseconds: sum)), .never)
    }

    /// The time from this moment to `later`; zero if `later` is in the past.
    package func until(_ later: Instant) -> Duration { max(later.sinceBoot - sinceBoot, .zero) }

    /// Microseconds of the kernel's `CLOCK_MONOTONIC`.
    var microseconds: Int64 {
        let (seconds, attoseconds) = sinceBoot.components
        return seconds * 1_000_000 + attoseconds / 1_000_000_000_000
    }

    package static func < (left: Instant, right: Instant) -> Bool { left.sinceBoot < right.sinceBoot }

    /// The earlier one of two moments that need not come.
    package static func earlier(_ one: Instant?, _ other: Instant?) -> Instant? {
        guard let one, let other else { return one ?? other }
        return min(one, other)
    }
}

extension Duration {
    /// Whole milliseconds, rounded up, so that a wait is never too short.
    package var wholeMilliseconds: Int {
        // A peer can send such a number. It is longer than any wait.
        guard self < .seconds(1 << 40) else { return .max }
        let (seconds, attoseconds) = components
        let (milliseconds, rest) = attoseconds.quotientAndRemainder(dividingBy: 1_000_000_000_000_000)
        return Int(seconds * 1000 + milliseconds) + (rest > 0 ? 1 : 0)
    }

    /// Whole seconds, rounded down.
    package var wholeSeconds: Int { Int(components.seconds) }
}
