// A table, for people in aligned columns, for programs as one JSON object a line.
//
// Must never let a text move the cursor, end a line or a string: all but printable ASCII is escaped.

internal import Wire

/// Rows of texts under named columns; nil is "nothing".
struct Table {
    private let columns: [String]
    private var rows: [[String?]] = []

    init(columns: [String]) { self.columns = columns }

    mutating func add(_ row: [String?]) { rows.append(row) }

    /// Aligned, with a heading.
    var lines: [String] {
        let all = [columns] + rows.map { row in row.map { $0.map(printable) ?? "-" } }
        let widths = columns.indices.map { column in all.map { $0[column].utf8.count }.max() ?? 0 }
        return all.map { row in
            row.indices.map { column in
                let padding = column == row.count - 1 ? 0 : widths[column] - row[column].utf8.count
                return row[column] + String(repeating: " ", count: padding)
            }.joined(separator: "  ")
        }
    }

    /// One object a row; what is nothing is absent.
    var objects: [String] {
        rows.map { row in
            let fields = zip(columns, row).compactMap { column, text in
                text.map { "\"\(column)\":\"\(jsonEscaped($0))\"" }
            }
            return "{" + fields.joined(separator: ",") + "}"
        }
    }
}
