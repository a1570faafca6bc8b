// Reads decimal numbers strictly.
//
// Must never accept a sign, a space or a digit of another script, as `Int(_:)` and `isNumber` would.

extension UInt8 {
    /// An ASCII digit.
    @inlinable package var isDigit: Bool { (0x30...0x39).contains(self) }

    /// An ASCII digit, or a letter from `a` to `f`.
    @inlinable package var isLowerHexDigit: Bool { isDigit || (0x61...0x66).contains(self) }
}

/// The number in a text that consists of decimal digits only. Nil if it contains anything else, or is too large.
package func decimal<Number: FixedWidthInteger>(_ text: some StringProtocol, as type: Number.Type = Int.self) -> Number?
{
    text.utf8.allSatisfy(\.isDigit) ? Number(text, radix: 10) : nil
}

extension [UInt8] {
    /// Appends the digits of a number, in ASCII.
    package mutating func append(decimal number: UInt64) {
        // The digits come from the last to the first, and there are at most 20 of them.
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var (rest, first) = (number, digits.count)
        repeat {
            first -= 1
            digits[first] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        append(addingCapacity: digits.count) { text in
            for index in first..<digits.count { text.append(digits[index]) }
        }
    }
}
