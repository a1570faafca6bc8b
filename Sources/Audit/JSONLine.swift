// One JSON object on one line, written field by field.
//
// Must never let a byte from outside end the string, the line or the object that it stands in, or reach a
// terminal as anything but printable ASCII.

/// Bytes of a JSON object that is being written.
struct JSONLine {
    private(set) var bytes: [UInt8] = [UInt8(ascii: "{")]

    private mutating func begin(_ field: StaticString) {
        if bytes.last != UInt8(ascii: "{") { bytes.append(UInt8(ascii: ",")) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: "\(field)".utf8)
        bytes.append(contentsOf: [UInt8(ascii: "\""), UInt8(ascii: ":")])
    }

    mutating func add(_ field: StaticString, _ number: some BinaryInteger) {
        begin(field)
        bytes.append(contentsOf: String(number).utf8)
    }

    mutating func add(_ field: StaticString, _ numbers: some Collection<UInt32>) {
        begin(field)
        bytes.append(UInt8(ascii: "["))
        for (index, number) in numbers.enumerated() {
            if index > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(contentsOf: String(number).utf8)
        }
        bytes.append(UInt8(ascii: "]"))
    }

    /// A text of the program's own: printable ASCII without quotes or backslashes.
    mutating func add(plain field: StaticString, _ text: String) {
        begin(field)
        bytes.append(UInt8(ascii: "\""))
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\""))
    }

    /// A text from outside, at most `limit` bytes of it.
    mutating func add(_ field: StaticString, _ text: String, limit: Int) {
        begin(field)
        bytes.append(UInt8(ascii: "\""))
        var room = limit
        for scalar in text.unicodeScalars {
            room -= UTF8.width(scalar)
            guard room >= 0 else { break }
            append(scalar)
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// RFC 8259, section 7: everything that is not printable ASCII becomes `\uXXXX`.
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

    mutating func add(_ field: StaticString, _ body: (inout JSONLine) -> Void) {
        begin(field)
        var inner = JSONLine()
        body(&inner)
        inner.end()
        bytes.append(contentsOf: inner.bytes)
    }

    mutating func end() { bytes.append(UInt8(ascii: "}")) }
}
