// What a digit is, for all that reads numbers.
//
// Must never take a sign, a blank or another script's digits for one, as `Int(_:)` and `isNumber` would.

extension UInt8 {
    /// An ASCII digit.
    @inlinable package var isDigit: Bool { (0x30...0x39).contains(self) }

    /// An ASCII digit, or a letter from `a` to `f`.
    @inlinable package var isLowerHexDigit: Bool { isDigit || (0x61...0x66).contains(self) }
}

/// The number that a text of decimal digits and nothing else is; nil if it is none, or too large.
package func decimal<Number: FixedWidthInteger>(_ text: some StringProtocol, as type: Number.Type = Int.self) -> Number?
{
    text.utf8.allSatisfy(\.isDigit) ? Number(text, radix: 10) : nil
}
