// A table, for people in aligned columns, for programs as one JSON object a line.
//
// Must never let a text move the cursor, end a line or a string: all but printable ASCII is escaped.

internal import Wire

/// Rows of texts under named columns; nil is "nothing".
struct Table {
    private let columns: [String]
    private let numbers: Set<String>
    private var rows: [[String?]] = []

    /// - Parameter numbers: the columns that hold nothing but numbers.
    init(columns: [String], numbers: Set<String> = []) {
        self.columns = columns
        self.numbers = numbers
    }

    var isEmpty: Bool { rows.isEmpty }

    mutating func add(_ row: [String?]) { rows.append(row) }

    /// Aligned, with a heading; numbers at the right.
    var lines: [String] {
        let all = [columns] + rows.map { row in row.map { $0.map(printable) ?? "-" } }
        let widths = columns.indices.map { column in all.map { $0[column].utf8.count }.max() ?? 0 }
        return all.map { row in
            row.indices.map { column in
                let padding = String(repeating: " ", count: widths[column] - row[column].utf8.count)
                if numbers.contains(columns[column]) { return padding + row[column] }
                return row[column] + (column == row.count - 1 ? "" : padding)
            }.joined(separator: "  ")
        }
    }

    /// One object a row; what is nothing is absent.
    var objects: [String] { objects(kind: nil) }

    /// The same, each with what kind of row it is, where a command prints several tables.
    func objects(kind: String?) -> [String] {
        rows.map { row in
            var object = JSONObject()
            if let kind { object.add("kind", kind) }
            for case (let column, let text?) in zip(columns, row) {
                if numbers.contains(column) { object.add(column, number: text) } else { object.add(column, text) }
            }
            return object.text
        }
    }
}
