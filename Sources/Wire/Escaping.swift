// Texts from outside, made harmless for where they go: a terminal, or a string of JSON.
//
// Must never let anything through but printable ASCII.

/// The text with all but printable ASCII written as `\u{…}`, so that it cannot move a cursor or end a line.
package func printable(_ text: String) -> String {
    text.unicodeScalars.map { (0x20...0x7E).contains($0.value) ? String($0) : "\\u{\(String($0.value, radix: 16))}" }
        .joined()
}

/// The text as it stands between the quotes of a JSON string (RFC 8259, section 7), in printable ASCII.
package func jsonEscaped(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
        switch scalar.value {
        case 0x22: return #"\""#
        case 0x5C: return #"\\"#
        case 0x20...0x7E: return String(scalar)
        default:
            return (UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter).map { unit in
                let digits = String(unit, radix: 16)
                return #"\u"# + String(repeating: "0", count: 4 - digits.count) + digits
            }.joined()
        }
    }.joined()
}
