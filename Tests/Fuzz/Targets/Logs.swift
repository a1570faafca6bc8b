// Logs: as the auditor reads them, and as the daemon finds the end of its own at a start.
//
// An attacker who can write to a log can also compute its chain again. So each log is also tried with its chain repaired:
// otherwise nearly everything would be refused for its chain, and nothing behind that would be reached. The byte 0x1E
// begins another file of the same log.

import Audit
import AuditReading
import Glibc
import Kernel
import Policy
import Wire

func tryAuditReader(_ bytes: [UInt8]) throws(Broken) {
    try readLog(bytes.split(separator: fileDivider, maxSplits: 2, omittingEmptySubsequences: false).map { Array($0) })
    if !bytes.starts(with: [0x1F, 0x8B]) { try readLog(chained(bytes)) }
}

func tryLogRecovery(_ bytes: [UInt8]) throws(Broken) {
    try findEnd(bytes, of: bytes.count)
    // As if there were more before it.
    try findEnd(bytes, of: bytes.count + 1)
    for file in chained(bytes) { try findEnd(file, of: file.count) }
}

private let fileDivider: UInt8 = 0x1E

// MARK: The chain

/// The files with a chain that is right. Of each line only its fields remain, and they may be anything.
private func chained(_ bytes: [UInt8]) -> [[UInt8]] {
    var link = Link.beginning
    let files = bytes.split(separator: fileDivider, maxSplits: 2, omittingEmptySubsequences: false)
    return files.enumerated().map { index, file in
        var result: [UInt8] = []
        for (number, line) in file.split(separator: 0x0A).enumerated() {
            var record = Array(line)
            if let taken = Link.taken(from: line) {
                record = Array(taken.record)
                if index > 0, number == 0, taken.previous != nil {
                    record.replaceSubrange(record.count - 65..<record.count - 1, with: link.digits)
                }
            }
            link = link.next(over: record[...])
            result += link.closing(record)
        }
        return result
    }
}

// MARK: The end of a log

private func findEnd(_ bytes: [UInt8], of total: Int) throws(Broken) {
    let end = End(tail: bytes, of: total, syncs: true)
    try require(end.size + end.unfinished.count == total, "each byte is in a line or behind the last one")
    let isCutAtZeros = end.unfinished.contains(0)
    try require(isCutAtZeros || !end.unfinished.contains(0x0A), "what is unfinished is no line")
    guard case .record(let number, let link) = end.content else { return }
    let lines = bytes.dropLast(end.unfinished.count).split(separator: 0x0A, omittingEmptySubsequences: false)
    guard let last = lines.dropLast().last, let record = Link.taken(from: last) else {
        throw Broken(description: "the end is a record, but the last line is none")
    }
    try require(record.number == number && record.link == link, "the end is that of the last line")
    try require((1...Link.largestNumber).contains(number), "the next number does not overflow")
}

// MARK: The auditor's side

private let unmapped: (uid: UInt32, gid: UInt32) = (65_534, 65_534)

private let other: Policy? = {
    let text =
        "key k /k\nkey other /o\npermit 5 key k\npermit :8 unit a@*.service key k other\npermit 33 status\n"
        + "permit 5 sign k for tls-server\npermit :8 sign k other\n"
    return read([PolicyText(file: "p", bytes: Array(text.utf8))], in: resolver).policy
}()

private let selections = [
    Selection(key: "k", decision: "granted"), Selection(since: WallTime(seconds: 1_795_440_495, nanoseconds: 0)),
    Selection(numbers: 3...20), Selection(user: .init(uid: 5, name: "www")),
    Selection(unit: UnitPattern(Array("a@*.service".utf8))),
]

private func readLog(_ files: [[UInt8]]) throws(Broken) {
    try withFiles(files) { paths throws(Broken) in try readLog(paths, files) }
}

private func readLog(_ paths: [String], _ files: [[UInt8]]) throws(Broken) {
    var (requests, keys, records) = (Requests(), KeyFiles(), 0)
    var broken: Broken?
    var reader = LogReader(paths, goesOn: true)
    do throws(Unverified) {
        while let record = try reader.next() {
            records += 1
            do throws(Broken) { try check(record) } catch { broken = error }
            requests.add(record)
            keys.add(record)
        }
    } catch { throw Broken(description: error.description) }
    if let broken { throw broken }
    if let fault = reader.fault {
        try require(isPrintable(fault.description.utf8), "a fault is printable: \(fault.description.debugDescription)")
    } else {
        try require(reader.verifier.records == records, "without a fault, each record was verified")
        try agrees(reader.verifier, files)
    }
    try stopsThere(paths, reader.fault)
    try summed(requests)
}

private func check(_ record: LoggedRecord) throws(Broken) {
    try require(isPrintable(record.line), "a record is printable")
    for field in LoggedRecord.Field.allCases {
        guard let value = record[field] else { continue }
        try require(value.first != UInt8(ascii: "\"") || record.text(field) != nil, "a string is a text")
        _ = (record.number(field), record.numbers(field), record.bytes(field))
    }
    for selection in selections { _ = selection.includes(record) }
    _ = record.isOfStatusCrowd
}

/// The daemon and the auditor find the same end.
private func agrees(_ verifier: Verifier, _ files: [[UInt8]]) throws(Broken) {
    guard verifier.records > 0, let last = files.last, last.contains(0x0A), last.first != 0x1F else { return }
    guard case .record(let number, let link) = End(tail: last, of: last.count, syncs: true).content else {
        // The daemon knows the file before it only by the field `previous`, which old logs do not have.
        return try require(files.count > 1, "the daemon finds the end of a log that verifies")
    }
    let isSame = number == verifier.lastNumber && String(decoding: link.digits, as: UTF8.self) == verifier.head
    try require(isSame, "the daemon and the auditor find the same end")
}

/// A reader that stops at the first fault says the same.
private func stopsThere(_ paths: [String], _ fault: Unverified?) throws(Broken) {
    var found: Unverified?
    do throws(Unverified) {
        var reader = LogReader(paths)
        while try reader.next() != nil {}
    } catch { found = error }
    try require(found == fault, "a reader that stops finds the same fault")
}

private func summed(_ requests: Requests) throws(Broken) {
    var sum = 0
    for (question, outcome) in requests.all {
        let counts = outcome.results.map(\.count)
        try require(counts.allSatisfy { $0 >= 0 } && outcome.used >= 0, "no number is negative")
        try require(outcome.used <= outcome.permitted && outcome.granted <= outcome.permitted, "used is permitted")
        let channels = outcome.channels.permitted.values.reduce(0) { $0.plus($1) }
        try require(channels == (question.asksForSignatures ? outcome.permitted : 0), "each channel is for something")
        for count in counts { sum = sum.plus(count) }
    }
    for count in requests.unnamed.results.map(\.count) {
        try require(count >= 0, "no number is negative")
        sum = sum.plus(count)
    }
    try require(requests.count == sum, "the sum of the outcomes is the number of requests")
    if let other {
        _ = requests.changes(under: other, digest: "digest", unmapped: unmapped)
        _ = requests.untold(under: other, unmapped: unmapped)
        _ = (
            requests.unused(of: other, unmapped: unmapped), requests.unusedStatusPermits(of: other, unmapped: unmapped)
        )
    }
    try suggested(Suggestion(requests, unmapped: unmapped))
}

/// What is suggested is a policy.
private func suggested(_ suggestion: Suggestion) throws(Broken) {
    let keys = suggestion.keys.sorted().map { "key \($0) /x" }
    let text = (keys + suggestion.lines { String($0) }).joined(separator: "\n")
    let result = read([PolicyText(file: "suggested", bytes: Array(text.utf8))], in: resolver, warns: false)
    let fault = result.diagnostics.first?.description ?? ""
    try require(result.policy != nil, "a suggestion has no errors: \(fault)")
}

// MARK: Files

/// Calls `body` with the paths of files that hold these bytes. The reader takes paths, as it follows rotations. They are
/// in memory, and go at once.
private func withFiles(_ files: [[UInt8]], _ body: ([String]) throws(Broken) -> Void) throws(Broken) {
    // Nothing else in this process, and no other process, has the same names.
    let name = "/dev/shm/keybroker-fuzz-\(getpid())-\(pthread_self())"
    let paths = files.indices.map { "\(name).\($0)" }
    for (path, bytes) in zip(paths, files) {
        // Safety: the path is a string that ends with a NUL.
        let number = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        // Safety: the call reads as many bytes as the array holds.
        let written = unsafe bytes.withUnsafeBytes { unsafe write(number, $0.baseAddress, $0.count) }
        close(number)
        if written != bytes.count { fatalError("cannot write \(path): errno \(errno)") }
    }
    // Safety: as above.
    defer { for path in paths { unsafe unlink(path) } }
    try body(paths)
}
