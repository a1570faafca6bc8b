// Reading a policy: the input is the bytes of its files and what the words mean on this machine; the output is a policy
// or diagnostics.
//
// Must never look at the machine by itself: the same bytes and the same resolver always give the same result.

internal import Wire

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
    /// The same of groups. It is no group of anybody's.
    package let overflowGID: UInt32
    /// A sentence that says why the file of a key or certificate could not be handed out now, or nil if it could.
    package let fault: (Source) -> String?
    /// Names of users, or with true of groups, that may have been meant by one that is not found.
    package let known: (Bool) -> [String]

    package init(
        overflowUID: UInt32, overflowGID: UInt32, user: @escaping (String) -> Found, group: @escaping (String) -> Found,
        fault: @escaping (Source) -> String?, known: @escaping (Bool) -> [String] = { _ in [] }
    ) {
        self.user = user
        self.group = group
        self.overflowUID = overflowUID
        self.overflowGID = overflowGID
        self.fault = fault
        self.known = known
    }
}

/// The result of reading a policy. There is a policy only if there is no error. Diagnostics are in the order of files,
/// lines and columns.
package struct ParseResult {
    package let policy: Policy?
    package let diagnostics: [Diagnostic]
    package let missing: MissingAccounts
}

/// The accounts that lines name and that are not found. Such a line has no effect, and there is a warning about it.
package struct MissingAccounts: Equatable, Sendable {
    /// How often a line names such an account.
    package private(set) var count = 0
    /// `FILE:LINE: no such user: 'NAME'`, for the first of them.
    package private(set) var listed: [String] = []

    package init() {}

    mutating func add(_ message: String, at location: Location) {
        count += 1
        if listed.count < Limits.policyWarnings { listed.append("\(location): \(message)") }
    }

    /// "2 accounts are not found", or nil if all are found.
    package var summary: String? {
        count == 0 ? nil : count == 1 ? "1 account is not found" : "\(count) accounts are not found"
    }
}

/// Reads a policy from its files. Together they are one policy: a `permit` in one file may name a key of another.
/// - Parameters:
///   - warns: whether to look for warnings as well, which takes a while for a long policy.
///   - judges: whether to hold the policy against its `never` lines. Without accounts that cannot be done.
package func read(
    _ texts: consuming [PolicyText], in resolver: Resolver, warns: Bool = true, judges: Bool = true
) -> ParseResult {
    var grammar = Grammar(resolver)
    grammar.read(texts)
    return grammar.finish(warns: warns, judges: judges)
}
