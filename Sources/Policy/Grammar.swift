// The grammar of a policy. It turns the bytes of the files into a Policy, or into a list of all errors in them.
//
// Must never stop at the first error, read a file, or produce a policy if there is an error.

internal import Wire

struct Grammar {
    let resolver: Resolver
    var draft = Draft()
    var diagnostics: [(order: Order, diagnostic: Diagnostic)] = []
    /// The keys that were named before they were declared.
    var mentions: [Mention] = []
    /// The line that set each bound of each identity. The identity nil stands for `each-user`.
    var boundLocations: [BoundOf: Location] = [:]
    var assertions: [Assertion] = []
    var missing = MissingAccounts()
    /// How many pairs of a `never` line and a permission may still be compared.
    var pairsLeft = Limits.policyNeverPairs
    /// The numbers of errors and warnings, including those that are not listed.
    var errors = 0, warnings = 0
    var line = Line(file: 0, number: 0, bytes: [])

    /// A key's name in a permit. Only at the end is it known whether the key is declared.
    struct Mention {
        let key: UInt32
        let line: UInt32
        let word: Part
    }
    struct Line {
        let file: Int
        let number: Int
        let bytes: ArraySlice<UInt8>
    }
    struct Order: Comparable {
        let file: Int, line: Int, column: Int
        static func < (left: Order, right: Order) -> Bool {
            (left.file, left.line, left.column) < (right.file, right.line, right.column)
        }
    }
    struct BoundOf: Hashable {
        let identity: Identity?
        let bound: String
    }

    /// An error after which the rest of the line cannot be understood.
    struct EndOfSense: Error {}

    init(_ resolver: Resolver) {
        self.resolver = resolver
        draft.nobodies = [.user(resolver.overflowUID), .group(resolver.overflowGID)]
    }

    // MARK: Lines

    mutating func read(_ texts: consuming [PolicyText]) {
        let places = draft.tables.texts.append(texts)
        for (file, place) in places.enumerated() { read(file, draft.tables.texts.bytes[place]) }
    }

    private mutating func read(_ file: Int, _ text: ArraySlice<UInt8>) {
        var number = 0
        var start = text.startIndex
        while start <= text.endIndex {
            let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.endIndex
            let bytes = text[start..<end]
            start = end + 1
            number += 1
            line = Line(file: file, number: number, bytes: bytes)
            if bytes.count > Limits.policyLineBytes {
                report(
                    "a line has at most \(Limits.policyLineBytes) bytes, this one \(bytes.count)",
                    column: Limits.policyLineBytes + 1)
            } else if let fault = badByte(in: bytes) {
                report(fault.message, column: fault.column)
            } else {
                // If it throws, the error is reported already.
                do { try readStatement(words(of: bytes)) } catch {}
            }
        }
    }

    static let statements = ["key", "permit", "limit", "never"]

    mutating func readStatement(_ words: [Word]) throws(EndOfSense) {
        guard let first = words.first else { return }
        var rest = words.dropFirst()
        if first.says("permit") { return try readPermit(&rest) }
        if first.says("key") { return try readKey(&rest) }
        if first.says("limit") { return try readLimit(&rest) }
        if first.says("never") { return try readNever(&rest) }
        throw fault(Self.unknownStatement(first.text), first)
    }

    private static func unknownStatement(_ word: String) -> String {
        let hint = closest(to: word, among: statements).map { "; did you mean '\($0)'?" }
        return "unknown statement '\(word)'" + (hint ?? "; a line begins with key, permit, limit or never")
    }

    // MARK: Words and faults

    var location: Location { Location(file: draft.tables.texts.files[line.file], line: line.number) }

    /// Goes back to a line that was read, to report something about one of its words.
    mutating func goBack(to part: Part, line number: UInt32) -> Word {
        let texts = draft.tables.texts
        let bytes = texts.line(around: part)
        line = Line(file: texts.file(of: part), number: Int(number), bytes: bytes)
        return Word(bytes: texts[part], column: Int(part.start) - bytes.startIndex + 1)
    }

    mutating func next(_ words: inout ArraySlice<Word>, _ absence: String) throws(EndOfSense) -> Word {
        guard let word = words.popFirst() else { throw missing(absence) }
        return word
    }

    mutating func unknown(_ word: Word, among known: [String]) -> EndOfSense {
        fault(Self.unknownWord(word.text, known), word)
    }

    private static func unknownWord(_ word: String, _ known: [String]) -> String {
        let hint = closest(to: word, among: known).map { "; did you mean '\($0)'?" }
        let expected = known.isEmpty ? "; the line should end here" : "; \(known.joined(separator: " or ")) is expected"
        return "unknown word '\(word)'" + (hint ?? expected)
    }

    mutating func fault(_ message: @autoclosure () -> String, _ word: Word) -> EndOfSense {
        report(message(), word)
        return EndOfSense()
    }

    /// Reports something that is missing. The caret is placed after the last word.
    mutating func missing(_ message: String) -> EndOfSense {
        let last = words(of: line.bytes).last
        report(message, column: last.map { $0.column + $0.bytes.count } ?? 1)
        return EndOfSense()
    }

    mutating func report(
        _ message: @autoclosure () -> String, _ word: Word, _ severity: Diagnostic.Severity = .error,
        notes: @autoclosure () -> [Diagnostic] = []
    ) {
        report(message(), column: word.column, length: word.bytes.count, severity, notes: notes())
    }

    /// - Parameter message: evaluated only if the error is listed, because a policy can have a million errors.
    mutating func report(
        _ message: @autoclosure () -> String, column: Int, length: Int = 1, _ severity: Diagnostic.Severity = .error,
        notes: @autoclosure () -> [Diagnostic] = []
    ) {
        let isListed: Bool
        switch severity {
        case .error:
            errors += 1
            isListed = errors <= Limits.policyErrors
        case .warning:
            warnings += 1
            isListed = warnings <= Limits.policyWarnings
        case .note: return
        }
        guard isListed else { return }
        diagnostics.append(
            (
                Order(file: line.file, line: line.number, column: column),
                Diagnostic(
                    severity, message(), at: location, column: column, length: length, line: Array(line.bytes),
                    notes: notes())
            ))
    }
}
