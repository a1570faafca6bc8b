// Reading a policy: the input is the bytes of its files and what the words mean on this machine; the output is a policy
// or diagnostics.
//
// Must never look at the machine by itself: the same bytes and the same resolver always give the same result.

/// The bytes of one file.
package struct PolicyText: Sendable {
    package let file: String
    package let bytes: [UInt8]

    package init(file: String, bytes: [UInt8]) {
        self.file = file
        self.bytes = bytes
    }
}

/// What the words of a policy mean on this machine: accounts, and the files of keys.
package struct Resolver {
    package enum Found: Equatable, Sendable {
        case id(UInt32)
        case unknown
        /// The lookup itself failed, for this reason. Whether the name exists is not known.
        case failed(String)
    }
    package let user: (String) -> Found
    package let group: (String) -> Found
    /// The uid that the kernel shows for each uid that it cannot express here. No line can permit it.
    package let overflowUID: UInt32
    /// A sentence that says why the file of a key or certificate could not be handed out now, or nil if it could.
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

/// The result of reading a policy. There is a policy only if there is no error. Diagnostics are in the order of files,
/// lines and columns.
package struct ParseResult {
    package let policy: Policy?
    package let diagnostics: [Diagnostic]
}

/// Reads a policy from its files. Together they are one policy: a `permit` in one file may name a key of another.
/// - Parameter warns: whether to look for warnings as well, which takes a while for a long policy.
package func read(_ texts: [PolicyText], in resolver: Resolver, warns: Bool = true) -> ParseResult {
    var grammar = Grammar(resolver)
    for text in texts { grammar.read(text) }
    return grammar.finish(warns: warns)
}
