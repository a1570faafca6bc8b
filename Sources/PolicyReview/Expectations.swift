// Expectations for tests of a policy, one in each line: which user gets which key, or the status, and which does not.
//
//     expect USER [unit UNIT] key NAME granted|denied
//     expect unit:UNIT key NAME granted|denied
//     expect … sign NAME [for USE] granted|denied
//     expect USER [unit UNIT] status granted|denied
//     expect unit:UNIT status granted|denied
//
// Must never pass if a line was not understood, or is about a key or a unit that cannot be.

package import Policy
package import Wire

/// One line: what is expected for one user and one key.
package struct PolicyExpectation: Equatable, Sendable {
    /// A name or a number, as written in the line. Nil if it is about a unit, whatever the user.
    package let user: String?
    package let unit: String?
    /// Nil if it is about the status.
    package let key: KeyName?
    /// For what it may sign. Nil if it is about the key itself, or the status.
    package let uses: SigningUses?
    package let isGranted: Bool

    let location: Location
    let line: [UInt8]
    let column: Int
    let length: Int
}

/// Returns the expectations of a file and all errors in it.
package func readExpectations(_ text: PolicyText) -> (expectations: [PolicyExpectation], faults: [Diagnostic]) {
    var expectations: [PolicyExpectation] = []
    var faults: [Diagnostic] = []
    let lines = text.bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, bytes) in lines.enumerated() {
        let location = Location(file: text.file, line: index + 1)
        if let fault = badByte(in: bytes) {
            faults.append(Diagnostic(.error, fault.message, at: location, column: fault.column, line: Array(bytes)))
            continue
        }
        do throws(Diagnostic) {
            guard let expectation = try expectation(in: words(of: bytes)[...], bytes, location) else { continue }
            expectations.append(expectation)
        } catch { faults.append(error) }
    }
    return (expectations, faults)
}

private func expectation(
    in words: ArraySlice<Word>, _ line: ArraySlice<UInt8>, _ location: Location
) throws(Diagnostic) -> PolicyExpectation? {
    var rest = words
    var last = words.first
    func fault(_ message: String, _ word: Word?) -> Diagnostic {
        let column = word?.column ?? last.map { $0.column + $0.bytes.count } ?? 1
        return Diagnostic(
            .error, message, at: location, column: column, length: word?.bytes.count ?? 1, line: Array(line))
    }
    func next(_ missing: String) throws(Diagnostic) -> Word {
        guard let word = rest.popFirst() else { throw fault("\(missing) is missing", nil) }
        last = word
        return word
    }
    guard let first = rest.popFirst() else { return nil }
    guard first.says("expect") else {
        throw fault("unknown statement '\(first.text)'; a line begins with expect", first)
    }
    let user = try next("the user or unit:NAME")
    var unit = user.namesUnit ? user.dropping(Identity.unitPrefix.utf8.count).text : nil
    if let unit, unit.isEmpty { throw fault("the unit's name is missing after 'unit:'", user) }
    var keyword = try next("'key' or 'sign' and the key's name, or 'status',")
    if keyword.says("unit"), !user.namesUnit {
        unit = try next("the unit's name").text
        keyword = try next("'key' or 'sign' and the key's name")
    }
    let right = Right(rawValue: keyword.text)
    guard right != nil || keyword.says("status") else {
        let known = unit == nil ? "unit, key, sign or status" : "key, sign or status"
        throw fault("unknown word '\(keyword.text)'; \(known) is expected", keyword)
    }
    var key: KeyName?
    var uses: SigningUses?
    if let right {
        let name = try next("the key's name")
        if let wrong = KeyName.fault(in: name.bytes) { throw fault("bad key name '\(name.text)': \(wrong)", name) }
        key = KeyName(name.bytes)
        if right == .sign { uses = .anything }
    }
    if uses != nil, let word = rest.first, word.says("for") {
        last = rest.popFirst()
        let use = try next("the use after 'for'")
        guard let known = SigningUses.named.first(where: { use.says($0.word) })?.use else {
            let words = SigningUses.named.map(\.word).joined(separator: " or ")
            throw fault("unknown word '\(use.text)'; \(words) is expected", use)
        }
        uses = known
    }
    let outcome = try next("'granted' or 'denied'")
    guard outcome.says("granted") || outcome.says("denied") else {
        throw fault("'\(outcome.text)' is not what can come of it: granted or denied", outcome)
    }
    if let extra = rest.first { throw fault("unknown word '\(extra.text)'; the line should end here", extra) }
    return PolicyExpectation(
        user: user.namesUnit ? nil : user.text, unit: unit, key: key, uses: uses, isGranted: outcome.says("granted"),
        location: location, line: Array(line), column: outcome.column, length: outcome.bytes.count)
}

extension Policy {
    /// A diagnostic at the expectation's line if the policy decides otherwise, or nil if it decides as expected.
    /// - Parameter daemon: the uid that the daemon runs as, if it is known.
    package func failure(
        of expectation: PolicyExpectation, for caller: Caller, daemon: UInt32? = nil
    ) -> Diagnostic? {
        if let unit = expectation.unit, let fault = UnitPattern.fault(inName: unit) {
            return expectation.fault("no unit has the name '\(unit)': \(fault)")
        }
        let message: String
        guard let key = expectation.key else {
            let answer = statusAnswer(for: caller, daemon: daemon)
            guard (answer != .denied) != expectation.isGranted else { return nil }
            switch answer {
            case .permitted(let permit): return expectation.fault("granted by \(permit.location)")
            case .root: return expectation.fault("granted to root")
            case .ownAccount: return expectation.fault("granted to the account that the daemon runs as")
            case .denied: return expectation.fault("denied: no line permits the status")
            }
        }
        switch outcome(of: expectation, on: key, for: caller) {
        case .permitted(_, let rule):
            guard !expectation.isGranted else { return nil }
            message = "granted by \(rule.location)"
        case .denied(.noRule):
            guard expectation.isGranted else { return nil }
            message = "denied: no line permits \(expectation.uses == nil ? "it" : "that signature")"
        case .denied(.unknownKey):
            // Nor is it expected to be denied: a slip in the name would pass for a proof.
            message = absence(of: key)
        case .denied(.overflowUID):
            guard expectation.isGranted else { return nil }
            message = "denied: that is the kernel's overflow uid, which no line permits"
        }
        return expectation.fault(message)
    }
}

extension Policy {
    /// The verdict, whether it is about the key or about its signatures for one use.
    private func outcome(of expectation: PolicyExpectation, on key: KeyName, for caller: Caller) -> Verdict {
        guard let use = expectation.uses else { return verdict(on: key, for: caller) }
        switch signingVerdict(on: key, for: caller) {
        case .permitted(let key, let uses, let rule):
            return uses.contains(.anything) || uses.isSuperset(of: use) ? .permitted(key, by: rule) : .denied(.noRule)
        case .denied(let denial): return .denied(denial)
        }
    }
}

extension PolicyExpectation {
    /// An error at this line.
    package func fault(_ message: String) -> Diagnostic {
        Diagnostic(.error, message, at: location, column: column, length: length, line: line)
    }
}
