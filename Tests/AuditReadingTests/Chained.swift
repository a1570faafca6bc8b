// Logs as somebody makes them who can make the chain anew: each of their records verifies.

import Kernel
import Digest

/// Lines of a log whose records hold these fields, each without its braces and its chain.
func chained(_ records: [String], after link: String = String(repeating: "0", count: 64)) -> [String] {
    var link = link
    return records.map { fields in
        var hash = SHA256()
        hash.update(Array("\(link){\(fields)".utf8))
        link = String(decoding: hash.finish(), as: UTF8.self)
        return "{\(fields),\"chain\":\"\(link)\"}"
    }
}

/// The same as the text of a file.
func chainedText(_ records: [String]) -> String { chained(records).map { $0 + "\n" }.joined() }
