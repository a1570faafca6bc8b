// A rate limit: so many at once, and from then on so many a second (the generic cell rate algorithm).
//
// Every rate limit of the broker and of the signer is made of these two types. Must never keep more than one moment for
// each limit.

/// What a rate limit permits.
package struct Rate: Sendable {
    /// The time from one event to the next.
    package let interval: Duration
    /// How far events may be ahead of their time.
    package let burst: Duration

    package init(every interval: Duration, atOnce: Int) {
        self.interval = interval
        burst = interval * atOnce
    }

    package init(perSecond rate: Int, atOnce: Int) { self.init(every: Self.interval(rate), atOnce: atOnce) }

    /// A burst may have as many events as the rate permits in one second.
    package init(perSecond rate: Int) {
        interval = Self.interval(rate)
        burst = .seconds(1)
    }

    /// Whole nanoseconds, as dividing a Duration is slow.
    private static func interval(_ rate: Int) -> Duration { .nanoseconds(1_000_000_000 / rate) }
}

/// What was counted against a rate limit.
package struct Pace: Equatable, Sendable {
    /// When the events so far would have arrived at the permitted rate. After a burst, this lies in the future.
    private var instant = Instant.boot

    package init() {}

    /// Counts one event and returns nil if there may be one now. Else returns how long to wait, and counts nothing.
    package mutating func take(_ rate: Rate, _ now: Instant) -> Duration? {
        let next = max(instant, now).after(rate.interval)
        let ahead = now.until(next)
        guard ahead <= rate.burst else { return ahead - rate.burst }
        instant = next
        return nil
    }

    /// The same check, but no event is counted.
    package func wait(_ rate: Rate, _ now: Instant) -> Duration? {
        var copy = self
        return copy.take(rate, now)
    }

    /// Counts one event, whether the rate permits it or not.
    package mutating func count(_ rate: Rate, _ now: Instant) { instant = max(instant, now).after(rate.interval) }

    /// Counts this number of events, but never gets ahead of `now` by more than `debt` through it.
    package mutating func charge(_ events: Int, _ rate: Rate, upTo debt: Duration, _ now: Instant) {
        let next = max(instant, now).after(rate.interval * events)
        instant = min(next, max(instant, now.after(debt)))
    }

    /// Whether what was counted still makes a difference.
    package func isBusy(_ now: Instant) -> Bool { instant > now }
}
