// Reads lengths of time as people write them on a command line.
//
// Must never accept a number that overflows.

/// A length of time such as `30`, `1.5s`, `500ms`, `2m` or `1h`. Without a unit it is in seconds. Nil if the text is none.
package func duration(_ text: String) -> Duration? {
    let number = text.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
    let milliseconds: Int
    switch text.dropFirst(number.count) {
    case "ms": milliseconds = 1
    case "", "s": milliseconds = 1_000
    case "m": milliseconds = 60_000
    case "h": milliseconds = 3_600_000
    default: return nil
    }
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let whole = decimal(parts[0]), !parts[0].isEmpty, whole < 1 << 32 else {
        return nil
    }
    var total = Duration.milliseconds(whole * milliseconds)
    if parts.count == 2 {
        guard (1...3).contains(parts[1].count), var thousandths = decimal(parts[1]) else { return nil }
        for _ in parts[1].count..<3 { thousandths *= 10 }
        total += .microseconds(thousandths * milliseconds)
    }
    return total
}
