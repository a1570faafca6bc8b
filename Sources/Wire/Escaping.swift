// Makes texts from outside harmless for a terminal. JSONObject does so for JSON.
//
// Must never let anything pass except printable ASCII.

/// The text with everything except printable ASCII written as `\u{…}`, so that it cannot move the cursor or end a line.
package func printable(_ text: String) -> String {
    text.unicodeScalars.map { (0x20...0x7E).contains($0.value) ? String($0) : "\\u{\(String($0.value, radix: 16))}" }
        .joined()
}
