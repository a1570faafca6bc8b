// Times in the forms that people write: `today`, `-2h`, `2026-11-23`, `13:30`, RFC 3339.
//
// Must never guess: any other text is an error that names these forms.

package import Kernel
internal import LocalTime
internal import Wire

/// A moment or a whole day.
package struct Moment: Equatable, Sendable {
    package let begin: WallTime
    /// The end, which is not included. It equals `begin` unless this is a day, or a time that clocks show twice.
    package let end: WallTime

    /// The permitted forms, for messages.
    package static let forms =
        "now, today, yesterday, -2h (s, m, h, d or w), 2026-11-23, '2026-11-23 13:30', 13:30, or RFC 3339"

    /// Nil if `text` has none of the forms. Days and times are local, except in RFC 3339, which names the zone.
    package init?(_ text: String, now: WallTime) {
        let today = now.localDay
        let words = text.split(separator: " ", omittingEmptySubsequences: false)
        if text == "now" {
            (begin, end) = (now, now)
        } else if let day = Self.day(text, today) {
            guard let first = day.begin, let next = day.next.begin else { return nil }
            (begin, end) = (first, next)
        } else if let seconds = Self.ago(text) {
            begin = WallTime(seconds: now.seconds - seconds, nanoseconds: now.nanoseconds)
            end = begin
        } else if words.count <= 2, let time = words.last,
            let day = words.count == 1 ? today : Self.day(words[0], today),
            let moments = Self.time(time).flatMap({ day.moments(hour: $0, minute: $1, second: $2) })
        {
            (begin, end) = (moments.first, moments.last)
        } else if let moment = WallTime(rfc3339: text) {
            (begin, end) = (moment, moment)
        } else {
            return nil
        }
    }

    private static func day(_ text: some StringProtocol, _ today: LocalDay) -> LocalDay? {
        if text == "today" { return today }
        if text == "yesterday" { return today.previous }
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 3, parts.map(\.utf8.count) == [4, 2, 2] else { return nil }
        let numbers = parts.compactMap { decimal($0) }
        return numbers.count == 3 ? LocalDay(year: numbers[0], month: numbers[1], day: numbers[2]) : nil
    }

    /// The number of seconds in `-90s` or `-2h`.
    private static func ago(_ text: String) -> Int? {
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800]
        guard text.first == "-", let last = text.last, let unit = units[last],
            let number = decimal(text.dropFirst().dropLast()), number <= 1_000_000
        else { return nil }
        return number * unit
    }

    /// Hour, minute and second of `13:30` or `13:30:15`.
    private static func time(_ text: Substring) -> (Int, Int, Int)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (2...3).contains(parts.count), parts.allSatisfy({ $0.utf8.count == 2 }) else { return nil }
        let numbers = parts.compactMap { decimal($0) }
        guard numbers.count == parts.count, numbers[0] < 24, numbers[1] < 60 else { return nil }
        let second = numbers.count == 3 ? numbers[2] : 0
        return second < 60 ? (numbers[0], numbers[1], second) : nil
    }
}
