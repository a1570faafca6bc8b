// A table: aligned columns for people, or one JSON object per line for programs.
//
// Must never let a text move the cursor, or end a line or a string. Everything except printable ASCII is escaped.

internal import Wire

/// Rows of texts with named columns. Nil is an empty cell.
struct Table {
    private let columns: [String]
    private let numbers: Set<String>
    private var rows: [[String?]] = []

    /// - Parameter numbers: the columns that contain only numbers.
    init(columns: [String], numbers: Set<String> = []) {
        self.columns = columns
        self.numbers = numbers
    }

    var isEmpty: Bool { rows.isEmpty }

    mutating func add(_ row: [String?]) { rows.append(row) }

    /// The aligned lines with a heading. Numbers are aligned at the right.
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

    /// One object for each row. Empty cells are left out.
    var objects: [String] { objects(kind: nil) }

    /// One object for each row, with the kind of the row, for commands that print several tables.
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
