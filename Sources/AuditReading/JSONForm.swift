// A checker for the JSON that the broker writes (RFC 8259): strings of printable ASCII, whole numbers, and lists and
// objects of them, without blanks.
//
// Must never accept a byte that a terminal could take for a command, because records are printed as they are. Must
// never accept what two readers could understand differently, because other programs read the records too.

internal import Wire

/// Each function returns where a part of a line ends, or nil if the part does not have that form. `end` is the position
/// after the last byte that may belong to the part.
enum JSONForm {
    /// How deep lists and objects may be nested. The broker nests them one level deep.
    private static let deepest = 8

    /// The position after the closing quote of the string that begins at `begin`.
    static func endOfText(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Int? {
        guard begin < end, line[begin] == UInt8(ascii: "\"") else { return nil }
        var position = begin + 1
        while position < end {
            let byte = line[position]
            if byte == UInt8(ascii: "\"") { return position + 1 }
            guard byte >= 0x20, byte < 0x7F else { return nil }
            if byte != UInt8(ascii: "\\") {
                position += 1
            } else {
                guard let next = endOfEscape(line, position, end) else { return nil }
                position = next
            }
        }
        return nil
    }

    /// An escape (section 7). If it is none, the byte after the backslash is checked like any other.
    private static func endOfEscape(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Int? {
        guard begin + 1 < end else { return nil }
        switch line[begin + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return begin + 2
        case UInt8(ascii: "u"):
            guard let unit = codeUnit(line, begin + 2, end) else { return nil }
            guard (0xD800...0xDFFF).contains(unit) else { return begin + 6 }
            // Half of a surrogate pair is refused, because readers make different texts of it.
            guard unit < 0xDC00, begin + 7 < end, line[begin + 6] == UInt8(ascii: "\\"),
                line[begin + 7] == UInt8(ascii: "u"), let second = codeUnit(line, begin + 8, end),
                (0xDC00...0xDFFF).contains(second)
            else { return nil }
            return begin + 12
        default: return nil
        }
    }

    /// The value of four hexadecimal digits.
    private static func codeUnit(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> UInt32? {
        guard begin + 4 <= end else { return nil }
        var unit: UInt32 = 0
        for position in begin..<begin + 4 {
            switch line[position] {
            case let byte where byte.isDigit: unit = unit << 4 | UInt32(byte - 0x30)
            case let byte where (0x41...0x46).contains(byte): unit = unit << 4 | UInt32(byte - 0x41 + 10)
            case let byte where (0x61...0x66).contains(byte): unit = unit << 4 | UInt32(byte - 0x61 + 10)
            default: return nil
            }
        }
        return unit
    }

    /// The position after the colon that follows a name.
    static func endOfName(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Int? {
        guard let textEnd = endOfText(line, begin, end), textEnd < end, line[textEnd] == UInt8(ascii: ":") else {
            return nil
        }
        return textEnd + 1
    }

    static func endOfValue(_ line: Span<UInt8>, _ begin: Int, _ end: Int, depth: Int = 0) -> Int? {
        guard begin < end else { return nil }
        switch line[begin] {
        case UInt8(ascii: "\""): return endOfText(line, begin, end)
        case UInt8(ascii: "["): return endOfParts(line, begin, end, closing: UInt8(ascii: "]"), depth: depth + 1)
        case UInt8(ascii: "{"): return endOfParts(line, begin, end, closing: UInt8(ascii: "}"), depth: depth + 1)
        default: return endOfNumber(line, begin, end)
        }
    }

    private static func endOfParts(
        _ line: Span<UInt8>, _ begin: Int, _ end: Int, closing: UInt8, depth: Int
    ) -> Int? {
        guard depth <= deepest, begin + 1 < end else { return nil }
        var position = begin + 1
        if line[position] == closing { return position + 1 }
        while true {
            if closing == UInt8(ascii: "}") {
                guard let nameEnd = endOfName(line, position, end) else { return nil }
                position = nameEnd
            }
            guard let valueEnd = endOfValue(line, position, end, depth: depth), valueEnd < end else { return nil }
            if line[valueEnd] == closing { return valueEnd + 1 }
            guard line[valueEnd] == UInt8(ascii: ",") else { return nil }
            position = valueEnd + 1
        }
    }

    /// A whole number (section 6).
    private static func endOfNumber(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Int? {
        let first = line[begin] == UInt8(ascii: "-") ? begin + 1 : begin
        var position = first
        while position < end, line[position].isDigit { position += 1 }
        guard position > first, position == first + 1 || line[first] != UInt8(ascii: "0") else { return nil }
        return position
    }

    /// The value of a number, or nil if it is none, negative or too large.
    static func number(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> UInt64? {
        guard begin < end else { return nil }
        var number: UInt64 = 0
        for position in begin..<end {
            let byte = line[position]
            guard byte.isDigit else { return nil }
            let (tenfold, isTooLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = tenfold.addingReportingOverflow(UInt64(byte - 0x30))
            guard !isTooLarge, !isOver else { return nil }
            number = sum
        }
        return number
    }

    /// The text between the quotes of a valid string, with its escapes decoded.
    static func unescaped(_ bytes: ArraySlice<UInt8>) -> String {
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(decoding: bytes, as: UTF8.self) }
        var units: [UInt16] = []
        var rest = bytes
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() else {
                units.append(UInt16(byte))
                continue
            }
            switch escaped {
            case UInt8(ascii: "b"): units.append(0x08)
            case UInt8(ascii: "t"): units.append(0x09)
            case UInt8(ascii: "n"): units.append(0x0A)
            case UInt8(ascii: "f"): units.append(0x0C)
            case UInt8(ascii: "r"): units.append(0x0D)
            case UInt8(ascii: "u"):
                units.append(UInt16(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16) ?? 0xFFFD)
                rest = rest.dropFirst(4)
            default: units.append(UInt16(escaped))
            }
        }
        return String(decoding: units, as: UTF16.self)
    }
}
