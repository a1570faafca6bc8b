// Local times, in the form of RFC 3339: for people.
//
// Must never be used in a record: records are in UTC. The C library provides the time zone, so that TZ means the same
// as for date(1).

internal import Glibc
package import Kernel

/// A day of the local calendar.
package struct LocalDay: Equatable, Sendable {
    package let year: Int
    package let month: Int
    package let day: Int

    /// Nil if there is no such day.
    package init?(year: Int, month: Int, day: Int) {
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let lengths = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        guard (1970...9998).contains(year), (1...12).contains(month), (1...lengths[month - 1]).contains(day) else {
            return nil
        }
        (self.year, self.month, self.day) = (year, month, day)
    }

    private init(year: Int, month: Int, dayOfMonth: Int) { (self.year, self.month, day) = (year, month, dayOfMonth) }

    /// The first moment of the day, or nil if it cannot be computed.
    package var begin: WallTime? { moments(hour: 0, minute: 0, second: 0)?.first }

    package var next: LocalDay { shifted(by: 1) }
    package var previous: LocalDay { shifted(by: -1) }

    /// It counts from noon, which stays on the same day if clocks change at night.
    private func shifted(by days: Int) -> LocalDay { made(daysLater: days, hour: 12)?.day ?? self }

    /// A time of that day, or nil if it cannot be computed. If clocks are turned back, a time may be twice on one day: these
    /// are the first and the last moment. They are the same on other days.
    package func moments(hour: Int, minute: Int, second: Int) -> (first: WallTime, last: WallTime)? {
        guard let usual = made(hour: hour, minute: minute, second: second)?.seconds else { return nil }
        func shown(_ seconds: Int) -> (LocalDay, Int) {
            let shown = Self.of(WallTime(seconds: seconds, nanoseconds: 0))
            return (shown.day, seconds + shown.offset)
        }
        // With and without summer time, as far as a clock shows that time then.
        let all =
            [0, 1].compactMap { made(hour: hour, minute: minute, second: second, isSummer: $0)?.seconds }
            .filter { shown($0) == shown(usual) } + [usual]
        guard let first = all.min(), let last = all.max() else { return nil }
        return (WallTime(seconds: first, nanoseconds: 0), WallTime(seconds: last, nanoseconds: 0))
    }

    /// The moment, and the day on which it falls. Calls `mktime(3)`.
    /// - Parameter isSummer: whether summer time applies. If it is negative, `mktime` decides.
    private func made(
        daysLater: Int = 0, hour: Int, minute: Int = 0, second: Int = 0, isSummer: Int32 = -1
    ) -> (seconds: Int, day: LocalDay)? {
        // Safety: the call changes only the struct it is given, and nothing here uses its pointer to a zone name.
        var time = unsafe tm()
        unsafe (time.tm_year, time.tm_mon, time.tm_mday) = (
            Int32(year) - 1900, Int32(month) - 1, Int32(day + daysLater)
        )
        unsafe (time.tm_hour, time.tm_min, time.tm_sec) = (Int32(hour), Int32(minute), Int32(second))
        unsafe time.tm_isdst = isSummer
        let seconds = unsafe mktime(&time)
        return seconds == -1 ? nil : unsafe (seconds, Self.read(time))
    }

    /// Calls `localtime_r(3)`.
    fileprivate static func of(_ moment: WallTime) -> (day: LocalDay, offset: Int) {
        var seconds = time_t(moment.seconds)
        // Safety: the call reads the number and fills the struct; it fails only for years that no clock shows.
        var time = unsafe tm()
        unsafe _ = localtime_r(&seconds, &time)
        return unsafe (read(time), time.tm_gmtoff)
    }

    // Safety: only numbers are read.
    private static func read(_ time: tm) -> LocalDay {
        unsafe LocalDay(year: Int(time.tm_year) + 1900, month: Int(time.tm_mon) + 1, dayOfMonth: Int(time.tm_mday))
    }
}

extension WallTime {
    package var localDay: LocalDay { LocalDay.of(self).day }

    /// RFC 3339 in local time, in whole seconds: `2026-11-23T14:28:00+01:00`, or with `Z` if local time is UTC.
    package var local: String {
        let east = LocalDay.of(self).offset
        let offset = east / 60
        let shifted = WallTime(seconds: seconds + east, nanoseconds: 0).rfc3339.prefix(19)
        guard offset != 0 else { return shifted + "Z" }
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(shifted)\(offset < 0 ? "-" : "+")\(two(abs(offset) / 60)):\(two(abs(offset) % 60))"
    }

    /// Nil if `text` is not a time in the form of RFC 3339, section 5.6, from 1970 on. A blank may replace the `T`.
    package init?(rfc3339 text: String) {
        let bytes = Array(text.utf8)
        func number(_ range: Range<Int>) -> Int? {
            guard range.upperBound <= bytes.count else { return nil }
            var number = 0
            for byte in bytes[range] {
                guard (0x30...0x39).contains(byte) else { return nil }
                number = number * 10 + Int(byte - 0x30)
            }
            return number
        }
        func isAt(_ index: Int, _ characters: String) -> Bool {
            index < bytes.count && characters.utf8.contains(bytes[index])
        }
        guard let year = number(0..<4), isAt(4, "-"), let month = number(5..<7), isAt(7, "-"), let day = number(8..<10),
            isAt(10, "Tt "), let hour = number(11..<13), isAt(13, ":"), let minute = number(14..<16), isAt(16, ":"),
            let second = number(17..<19), LocalDay(year: year, month: month, day: day) != nil, hour < 24, minute < 60,
            second <= 60
        else { return nil }
        var (index, nanoseconds, scale) = (19, 0, 100_000_000)
        if isAt(index, ".") {
            index += 1
            let begin = index
            while let digit = number(index..<index + 1) {
                nanoseconds += digit * scale
                scale /= 10
                index += 1
            }
            guard index > begin else { return nil }
        }
        var offset = 0
        if isAt(index, "Zz") {
            index += 1
        } else if isAt(index, "+-"), let hours = number(index + 1..<index + 3), isAt(index + 3, ":"),
            let minutes = number(index + 4..<index + 6), hours < 24, minutes < 60
        {
            offset = (hours * 60 + minutes) * (bytes[index] == UInt8(ascii: "-") ? -60 : 60)
            index += 6
        } else {
            return nil
        }
        guard index == bytes.count else { return nil }
        // Counts the days since 1970-01-01 in years that begin in March, so that a leap day is the last day of its
        // year.
        let (shifted, shiftedMonth) = month > 2 ? (year, month - 3) : (year - 1, month + 9)
        let era = shifted / 400
        let inEra = shifted - era * 400
        let days = era * 146_097 + inEra * 365 + inEra / 4 - inEra / 100 + (153 * shiftedMonth + 2) / 5 + day - 719_469
        self.init(
            seconds: days * 86_400 + hour * 3_600 + minute * 60 + second - offset, nanoseconds: nanoseconds)
    }
}
