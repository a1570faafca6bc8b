// The only writer of JSON: an object on one line, written field by field (RFC 8259).
//
// Must never let a byte from outside end its string, the line or the object. Must never write anything except printable
// ASCII, because the output can reach a terminal.

/// A JSON object under construction.
package struct JSONObject {
    /// The bytes so far, without the closing brace. They begin with those that the object was put after.
    package private(set) var bytes: [UInt8]

    package init() {
        var bytes: [UInt8] = []
        // Most records are not longer than this.
        bytes.reserveCapacity(640)
        self.init(after: bytes)
    }

    /// An object behind other bytes, in the same memory. The caller must not keep them, or they are copied.
    package init(after bytes: consuming [UInt8]) {
        self.bytes = consume bytes
        self.bytes.append(UInt8(ascii: "{"))
    }

    /// The bytes, as the only one who has them.
    package consuming func intoBytes() -> [UInt8] { bytes }

    /// The complete object.
    package var text: String { String(decoding: bytes + [UInt8(ascii: "}")], as: UTF8.self) }

    // MARK: Fields

    // These functions are not generic: a generic one would look up types in another module for each record. The name of
    // a field can be a text from outside too: a status has the names that a broker says.

    package mutating func add(_ field: String, _ number: UInt64) {
        begin(field)
        append(number)
    }

    package mutating func add(_ field: String, _ number: UInt32) { add(field, UInt64(number)) }

    package mutating func add(_ field: String, _ number: Int) {
        begin(field)
        if number < 0 { bytes.append(UInt8(ascii: "-")) }
        append(UInt64(number.magnitude))
    }

    package mutating func add(_ field: String, _ number: Int32) { add(field, Int(number)) }

    /// Adds a number that is a text already.
    package mutating func add(_ field: String, number: String) {
        begin(field)
        bytes.append(contentsOf: number.utf8)
    }

    package mutating func add(_ field: String, _ numbers: ArraySlice<UInt32>) {
        addList(field, numbers) { $0.append(UInt64($1)) }
    }

    /// Adds a text of this program: printable ASCII without quotes or backslashes.
    package mutating func add(plain field: String, _ text: String) {
        begin(field)
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\""))
    }

    /// Adds a text of this program, which `body` appends: printable ASCII without quotes or backslashes.
    package mutating func add(plain field: String, _ body: (inout [UInt8]) -> Void) {
        begin(field)
        bytes.append(UInt8(ascii: "\""))
        body(&bytes)
        bytes.append(UInt8(ascii: "\""))
    }

    /// Adds a text from outside, and at most `limit` bytes of it.
    package mutating func add(_ field: String, _ text: String, limit: Int = .max) {
        begin(field)
        append(text, limit: limit)
    }

    package mutating func add(_ field: String, _ texts: [String]) {
        addList(field, texts) { $0.append($1, limit: .max) }
    }

    package mutating func add(_ field: String, _ body: (inout JSONObject) -> Void) {
        begin(field)
        append(body)
    }

    /// Adds a list with one object for each element of `things`.
    package mutating func add<Things: Collection>(
        _ field: String, _ things: Things, _ body: (inout JSONObject, Things.Element) -> Void
    ) {
        addList(field, things) { line, thing in line.append { body(&$0, thing) } }
    }

    // MARK: Parts

    private mutating func begin(_ field: String) {
        let isFirst = bytes[bytes.count - 1] == UInt8(ascii: "{")
        let name = field.utf8Span.span
        guard Self.isPlain(name) else {
            if !isFirst { bytes.append(UInt8(ascii: ",")) }
            append(field, limit: .max)
            return bytes.append(UInt8(ascii: ":"))
        }
        bytes.append(addingCapacity: name.count + 4) { text in
            if !isFirst { text.append(UInt8(ascii: ",")) }
            text.append(UInt8(ascii: "\""))
            for index in name.indices { text.append(name[index]) }
            text.append(UInt8(ascii: "\""))
            text.append(UInt8(ascii: ":"))
        }
    }

    private mutating func addList<Parts: Collection>(
        _ field: String, _ parts: Parts, _ append: (inout JSONObject, Parts.Element) -> Void
    ) {
        begin(field)
        bytes.append(UInt8(ascii: "["))
        for (index, part) in parts.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            append(&self, part)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    private mutating func append(_ body: (inout JSONObject) -> Void) {
        bytes.append(UInt8(ascii: "{"))
        body(&self)
        bytes.append(UInt8(ascii: "}"))
    }

    private mutating func append(_ number: UInt64) {
        bytes.append(decimal: number)
    }

    private static func isPlain(_ text: Span<UInt8>) -> Bool {
        for index in text.indices {
            let byte = text[index]
            if byte < 0x20 || byte > 0x7E || byte == 0x22 || byte == 0x5C { return false }
        }
        return true
    }

    private mutating func append(_ text: String, limit: Int) {
        bytes.append(UInt8(ascii: "\""))
        defer { bytes.append(UInt8(ascii: "\"")) }
        // Most texts need no escape and are short enough: they are copied as they are.
        if text.utf8.count <= limit, Self.isPlain(text.utf8Span.span) {
            bytes.append(contentsOf: text.utf8)
            return
        }
        var room = limit
        for scalar in text.unicodeScalars {
            room -= UTF8.width(scalar)
            guard room >= 0 else { break }
            append(scalar)
        }
    }

    /// RFC 8259, section 7: every character that is not printable ASCII becomes `\uXXXX`.
    private mutating func append(_ scalar: Unicode.Scalar) {
        switch scalar.value {
        case 0x22: bytes.append(contentsOf: #"\""#.utf8)
        case 0x5C: bytes.append(contentsOf: #"\\"#.utf8)
        case 0x20...0x7E: bytes.append(UInt8(truncatingIfNeeded: scalar.value))
        default:
            for unit in UTF16.encode(scalar) ?? UTF16.encodedReplacementCharacter {
                bytes.append(contentsOf: #"\u"#.utf8)
                for shift in [12, 8, 4, 0] { bytes.append(Self.digits[Int(unit >> UInt16(shift)) & 15]) }
            }
        }
    }

    private static let digits = Array("0123456789abcdef".utf8)
}
