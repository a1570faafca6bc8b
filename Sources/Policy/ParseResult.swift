// Reading a policy: what goes in, the bytes of its files and what words stand for on this machine, and what
// comes out.
//
// Must never look at the machine by itself: the same bytes read the same with the same resolver.

/// The bytes of one file.
package struct PolicyText: Sendable {
    package let file: String
    package let bytes: [UInt8]

    package init(file: String, bytes: [UInt8]) {
        self.file = file
        self.bytes = bytes
    }
}

/// What a policy's words stand for on this machine: accounts, and the files of keys.
package struct Resolver {
    package enum Found: Equatable, Sendable {
        case id(UInt32)
        case unknown
        /// The look-up itself failed, for that reason: nothing is known.
        case failed(String)
    }
    package let user: (String) -> Found
    package let group: (String) -> Found
    /// The uid that the kernel shows for all it cannot express: no line can permit it.
    package let overflowUID: UInt32
    /// Why a key's or certificate's file could not be handed out now, as a sentence; nil where it could.
    package let fault: (Source) -> String?

    package init(
        overflowUID: UInt32, user: @escaping (String) -> Found, group: @escaping (String) -> Found,
        fault: @escaping (Source) -> String?
    ) {
        self.user = user
        self.group = group
        self.overflowUID = overflowUID
        self.fault = fault
    }
}

/// What came of reading a policy: a policy only where there is no fault. In the order of files, lines and
/// columns.
package struct ParseResult {
    package let policy: Policy?
    package let diagnostics: [Diagnostic]
}

/// Reads a policy from its files, which are one policy: a permit in one may be for a key of another.
/// - Parameter warns: whether to look for what deserves a warning, which takes a while for a long policy.
package func read(_ texts: [PolicyText], in resolver: Resolver, warns: Bool = true) -> ParseResult {
    var grammar = Grammar(resolver)
    for text in texts { grammar.read(text) }
    return grammar.finish(warns: warns)
}
