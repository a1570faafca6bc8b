// One record of the log, as it was written: where its fields are, and what is in them.
//
// Whatever the line holds, reading it must never fail but by saying that it is no record.

internal import Audit

/// A record's line and its fields. keybroker-audit(5) tells what each means.
package struct LoggedRecord {
    /// In the order in which they come.
    package enum Field: String, CaseIterable {
        case seq, time, event, verb, decision, reason, detail, key, uid, user, gid, groups, pid, comm, unit, rule
        case policy, file, certificate, suppressed, previous, chain
    }

    /// Without its line feed.
    package let line: [UInt8]
    /// Of each field, the begin and the end of its value in the line, in 32 bits each; 0 where there is none.
    private var places: [UInt64]

    private static let names = Field.allCases.map { Array($0.rawValue.utf8) }

    /// Nil where the line is not one JSON object of the form that the broker writes, in printable ASCII.
    /// - Parameter last: the last field that is wanted; what comes after it is not looked at, nor whether it
    ///   is well-formed.
    package init?(_ line: [UInt8], upTo last: Field = .chain) {
        places = [UInt64](repeating: 0, count: Self.names.count)
        guard line.count <= Record.longest, Self.index(line.span, &places, upTo: Self.number(last)) else {
            return nil
        }
        self.line = line
    }

    // MARK: What is in it

    /// The bytes of the value, with the quotes of a text.
    package subscript(_ field: Field) -> ArraySlice<UInt8>? {
        let place = places[Self.number(field)]
        return place == 0 ? nil : line[Int(place >> 32)..<Int(place & 0xFFFF_FFFF)]
    }

    /// Whether the value is just this text, which needs no escaping.
    package func says(_ field: Field, _ text: [UInt8]) -> Bool {
        guard let value = self[field], value.count == text.count + 2 else { return false }
        return value.dropFirst().dropLast().elementsEqual(text)
    }

    package func text(_ field: Field) -> String? {
        guard let value = self[field], value.first == UInt8(ascii: "\"") else { return nil }
        return Self.unescaped(value.dropFirst().dropLast())
    }

    package func number(_ field: Field) -> UInt64? { self[field].flatMap(Self.number) }

    /// The numbers of an array.
    package func numbers(_ field: Field) -> [UInt32] {
        guard let value = self[field], value.first == UInt8(ascii: "[") else { return [] }
        return value.dropFirst().dropLast().split(separator: UInt8(ascii: ",")).compactMap {
            Self.number($0).flatMap { UInt32(exactly: $0) }
        }
    }

    private static func number(_ field: Field) -> Int {
        switch field {
        case .seq: 0
        case .time: 1
        case .event: 2
        case .verb: 3
        case .decision: 4
        case .reason: 5
        case .detail: 6
        case .key: 7
        case .uid: 8
        case .user: 9
        case .gid: 10
        case .groups: 11
        case .pid: 12
        case .comm: 13
        case .unit: 14
        case .rule: 15
        case .policy: 16
        case .file: 17
        case .certificate: 18
        case .suppressed: 19
        case .previous: 20
        case .chain: 21
        }
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        guard !digits.isEmpty, digits.count <= 20 else { return nil }
        var number: UInt64 = 0
        for digit in digits {
            guard (0x30...0x39).contains(digit) else { return nil }
            let (tenfold, isTooLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, isOver) = tenfold.addingReportingOverflow(UInt64(digit - 0x30))
            guard !isTooLarge, !isOver else { return nil }
            number = sum
        }
        return number
    }

    /// RFC 8259, section 7. What is no escape stays as it is.
    private static func unescaped(_ bytes: ArraySlice<UInt8>) -> String {
        guard bytes.contains(UInt8(ascii: "\\")) else { return String(decoding: bytes, as: UTF8.self) }
        var units: [UInt16] = []
        var rest = bytes
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() else {
                units.append(UInt16(byte))
                continue
            }
            if escaped == UInt8(ascii: "u"), rest.count >= 4,
                let unit = UInt16(String(decoding: rest.prefix(4), as: UTF8.self), radix: 16)
            {
                units.append(unit)
                rest = rest.dropFirst(4)
            } else {
                units.append(UInt16(escaped))
            }
        }
        return String(decoding: units, as: UTF16.self)
    }

    // MARK: Where it is

    /// Finds the fields of an object's line. False where it is none.
    private static func index(_ line: Span<UInt8>, _ places: inout [UInt64], upTo last: Int) -> Bool {
        let (quote, comma) = (UInt8(ascii: "\""), UInt8(ascii: ","))
        guard line.count > 2, line[0] == UInt8(ascii: "{"), line[line.count - 1] == UInt8(ascii: "}") else {
            return false
        }
        let end = line.count - 1
        var (position, expected) = (1, 0)
        while true {
            guard line[position] == quote else { return false }
            let name = position + 1
            guard let nameEnd = endOfText(line, name, end) else { return false }
            guard nameEnd + 2 < end, line[nameEnd + 1] == UInt8(ascii: ":") else { return false }
            let value = nameEnd + 2
            guard let valueEnd = endOfValue(line, value, end) else { return false }
            // Fields come in order, so the next one is found at once; one that is not known is passed over.
            if let field = (expected..<names.count).first(where: { isName(names[$0], line, name, nameEnd) }) {
                places[field] = UInt64(value) << 32 | UInt64(valueEnd)
                expected = field + 1
                if field >= last { return true }
            }
            if valueEnd == end { return true }
            guard line[valueEnd] == comma, valueEnd + 1 < end else { return false }
            position = valueEnd + 1
        }
    }

    private static func isName(_ name: [UInt8], _ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Bool {
        guard end - begin == name.count else { return false }
        for index in name.indices where name[index] != line[begin + index] { return false }
        return true
    }

    /// Where the quote is that ends a text which begins at `position`.
    private static func endOfText(_ line: Span<UInt8>, _ position: Int, _ end: Int) -> Int? {
        var position = position
        while position < end {
            let byte = line[position]
            if byte == UInt8(ascii: "\"") { return position }
            guard byte >= 0x20, byte < 0x7F else { return nil }
            position += byte == UInt8(ascii: "\\") ? 2 : 1
        }
        return nil
    }

    /// Where a value ends: a text, a number, or an array or object of those.
    private static func endOfValue(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Int? {
        var (position, depth) = (begin, 0)
        while position < end {
            let byte = line[position]
            switch byte {
            case UInt8(ascii: "\""):
                guard let textEnd = endOfText(line, position + 1, end) else { return nil }
                position = textEnd
            case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                if depth == 0 { return nil }
                depth -= 1
            case UInt8(ascii: ","):
                if depth == 0 { return position > begin ? position : nil }
            default:
                guard byte > 0x20, byte < 0x7F else { return nil }
            }
            position += 1
        }
        return depth == 0 && position == end && position > begin ? end : nil
    }
}
