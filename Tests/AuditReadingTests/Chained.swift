// Makes logs as a forger could who computes the chain again: each of their records verifies.

import AuditReading
import Digest
import Kernel
import TestSupport

/// Lines of a log with these records. Each record is given without its braces and its chain.
func chained(_ records: [String], after link: String = String(repeating: "0", count: 64)) -> [String] {
    var link = link
    return records.map { fields in
        var hash = SHA256()
        hash.update(Array("\(link){\(fields)".utf8))
        link = String(decoding: hash.finish(), as: UTF8.self)
        return "{\(fields),\"chain\":\"\(link)\"}"
    }
}

/// The same lines as the text of a file.
func chainedText(_ records: [String]) -> String { chained(records).map { $0 + "\n" }.joined() }

/// What the requests in a log with these records came to. The log is written to the folder.
func requests(_ records: [String], in folder: TemporaryFolder) throws -> Requests {
    try folder.write("log", chainedText(records))
    var requests = Requests()
    var reader = LogReader([folder["log"]])
    while let record = try reader.next() { requests.add(record) }
    return requests
}
