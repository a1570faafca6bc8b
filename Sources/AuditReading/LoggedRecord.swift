// One record of the log as it was written: its fields, and their places in the line.
//
// Must never fail on any line except by saying that it is no record. Must never accept a line of which a part was not
// checked, because the line may be printed whole. Must never accept a line in which another reader could find something
// else, because a field occurs twice or has another type.

internal import Audit

/// The line of a record and its fields. keybroker-audit(5) explains each field.
package struct LoggedRecord {
    /// The fields in the order in which the broker writes them.
    package enum Field: String, CaseIterable {
        case seq, time, event, verb, decision, reason, detail, key, uid, user, gid, groups
        case otherGroups = "other-groups"
        case pid, comm, unit, rule, uses, policy, file, certificate, generation, suppressed, of
        case signatures, refused, clones, previous, chain
    }

    /// The line without its line feed: printable ASCII.
    package let line: [UInt8]
    /// For each field, where its value begins and ends in the line, in 32 bits each. 0 if the field is missing.
    private var places: [UInt64]

    private static let names = Field.allCases.map { Array($0.rawValue.utf8) }
    private static let kinds = Field.allCases.map(\.kind)

    /// Nil if the line is not one JSON object of the form that the broker writes.
    package init?(_ line: [UInt8]) {
        places = [UInt64](repeating: 0, count: Self.names.count)
        guard line.count <= Record.longest, Self.index(line.span, &places) else { return nil }
        self.line = line
    }

    // MARK: Values

    /// The bytes of the value, including the quotes of a string. Nil if the field is missing.
    package subscript(_ field: Field) -> ArraySlice<UInt8>? {
        let place = places[field.number]
        return place == 0 ? nil : line[Int(place >> 32)..<Int(place & 0xFFFF_FFFF)]
    }

    /// The bytes of a string, or nil if the field has none. Escapes are decoded, so that the bytes can be compared.
    package func bytes(_ field: Field) -> ArraySlice<UInt8>? {
        guard let value = self[field], value.first == UInt8(ascii: "\"") else { return nil }
        let inside = value.dropFirst().dropLast()
        return inside.contains(UInt8(ascii: "\\")) ? Array(JSONForm.unescaped(inside).utf8)[...] : inside
    }

    /// Whether the value is exactly this text.
    package func says(_ field: Field, _ text: [UInt8]) -> Bool { bytes(field)?.elementsEqual(text) ?? false }

    package func text(_ field: Field) -> String? {
        guard let value = self[field], value.first == UInt8(ascii: "\"") else { return nil }
        return JSONForm.unescaped(value.dropFirst().dropLast())
    }

    package func number(_ field: Field) -> UInt64? {
        guard let value = self[field] else { return nil }
        return JSONForm.number(line.span, value.startIndex, value.endIndex)
    }

    /// The numbers of an array, or an empty array if the field has none.
    package func numbers(_ field: Field) -> [UInt32] {
        guard let value = self[field], value.first == UInt8(ascii: "[") else { return [] }
        return value.dropFirst().dropLast().split(separator: UInt8(ascii: ",")).compactMap {
            JSONForm.number(line.span, $0.startIndex, $0.endIndex).flatMap { UInt32(exactly: $0) }
        }
    }

    // MARK: Places

    /// Finds the fields of a line that is one object. Returns false if it is not.
    private static func index(_ line: Span<UInt8>, _ places: inout [UInt64]) -> Bool {
        guard line.count > 2, line[0] == UInt8(ascii: "{"), line[line.count - 1] == UInt8(ascii: "}") else {
            return false
        }
        let end = line.count - 1
        var (position, expected) = (1, 0)
        while true {
            guard let value = JSONForm.endOfName(line, position, end) else { return false }
            let (name, nameEnd) = (position + 1, value - 2)
            guard let valueEnd = JSONForm.endOfValue(line, value, end) else { return false }
            // Fields usually come in order, so the next one is tried first. Any other order is accepted as well.
            func isIt(_ field: Int) -> Bool { isName(names[field], line, name, nameEnd) }
            if let field = (expected..<names.count).first(where: isIt) ?? (0..<expected).first(where: isIt) {
                guard places[field] == 0, isValue(of: kinds[field], line, value, valueEnd) else { return false }
                places[field] = UInt64(value) << 32 | UInt64(valueEnd)
                expected = field + 1
            } else {
                // An unknown field is skipped, because later brokers may write new ones.
                guard isPlainName(line, name, nameEnd) else { return false }
            }
            if valueEnd == end { return true }
            guard line[valueEnd] == UInt8(ascii: ",") else { return false }
            position = valueEnd + 1
        }
    }

    private static func isName(_ name: [UInt8], _ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Bool {
        guard end - begin == name.count else { return false }
        for index in name.indices where name[index] != line[begin + index] { return false }
        return true
    }

    /// Whether the name has no escapes, so that it cannot be the name of a known field in another spelling.
    private static func isPlainName(_ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Bool {
        for position in begin..<end where line[position] == UInt8(ascii: "\\") { return false }
        return true
    }

    private static func isValue(of kind: Field.Kind, _ line: Span<UInt8>, _ begin: Int, _ end: Int) -> Bool {
        switch kind {
        case .text: return line[begin] == UInt8(ascii: "\"")
        case .object: return line[begin] == UInt8(ascii: "{")
        case .number: return JSONForm.number(line, begin, end) != nil
        case .id: return JSONForm.number(line, begin, end).map { $0 <= UInt32.max } ?? false
        case .ids:
            guard line[begin] == UInt8(ascii: "[") else { return false }
            var first = begin + 1
            if first == end - 1 { return true }
            for position in first..<end where position == end - 1 || line[position] == UInt8(ascii: ",") {
                guard let number = JSONForm.number(line, first, position), number <= UInt32.max else { return false }
                first = position + 1
            }
            return true
        }
    }
}

extension LoggedRecord.Field {
    /// The type of a field's value.
    fileprivate enum Kind { case text, number, id, ids, object }

    fileprivate var kind: Kind {
        switch self {
        case .seq, .otherGroups, .pid, .generation, .suppressed, .of, .signatures, .refused, .clones: .number
        case .uid, .gid: .id
        case .groups: .ids
        case .file, .certificate: .object
        case .time, .event, .verb, .decision, .reason, .detail, .key, .user, .comm, .unit, .rule, .uses, .policy,
            .previous, .chain:
            .text
        }
    }

    /// The position of the field in the list of all fields.
    fileprivate var number: Int {
        switch self {
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
        case .otherGroups: 12
        case .pid: 13
        case .comm: 14
        case .unit: 15
        case .rule: 16
        case .uses: 17
        case .policy: 18
        case .file: 19
        case .certificate: 20
        case .generation: 21
        case .suppressed: 22
        case .of: 23
        case .signatures: 24
        case .refused: 25
        case .clones: 26
        case .previous: 27
        case .chain: 28
        }
    }
}
