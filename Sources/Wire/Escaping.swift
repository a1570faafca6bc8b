// Texts from outside, made harmless for a terminal. For JSON there is JSONObject.
//
// Must never let anything through but printable ASCII.

/// The text with all but printable ASCII written as `\u{…}`, so that it cannot move a cursor or end a line.
package func printable(_ text: String) -> String {
    text.unicodeScalars.map { (0x20...0x7E).contains($0.value) ? String($0) : "\\u{\(String($0.value, radix: 16))}" }
        .joined()
}
