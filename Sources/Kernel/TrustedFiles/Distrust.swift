// What is wrong with the owner or the mode of a file, with the numbers of the accounts, so that a tool can write their names
// and what to type.
//
// Must never look up a name: the daemon says the numbers.

/// Why a file or a directory is not trusted: its owner, or who may write to it.
package struct Distrust: Equatable, Sendable {
    package enum Fault: Equatable, Sendable {
        /// It belongs to this uid, and not to one of those that are trusted.
        case owner(UInt32, trusted: [UInt32])
        /// The group of the file, or everybody, may write to it.
        case writers(group: UInt32, mode: UInt32)
    }

    package let path: String
    let kind: FileStatus.Kind
    let mode: String
    package let fault: Fault

    init(_ fault: Fault, _ status: FileStatus, _ path: String) {
        (self.fault, self.path) = (fault, path)
        (kind, mode) = (status.kind, status.octalMode)
    }

    /// The fault as a sentence.
    /// - Parameters:
    ///   - user: how a uid is written. Root is always "root".
    ///   - group: how a gid is written.
    package func sentence(
        user: (UInt32) -> String = { "uid \($0)" }, group: (UInt32) -> String = { "group \($0)" }
    ) -> String {
        switch fault {
        case .owner(let uid, let trusted):
            "\(path) belongs to \(uid == 0 ? "root" : user(uid)), not to "
                + trusted.map { $0 == 0 ? "root" : user($0) }.joined(separator: " or ")
        case .writers(let gid, let bits):
            "\(path) can be written to by \(bits & 0o002 != 0 ? "everybody" : group(gid)) (mode \(mode))"
        }
    }

    /// What to do about it.
    package var advice: String {
        // Other programs may rely on the directory as it is.
        if kind == .directory { return "keep the file in a directory that only root can write to" }
        switch fault {
        case .owner: return "type: chown \(kind == .symbolicLink ? "-h " : "")root: \(Self.word(path))"
        case .writers(_, let bits):
            let whom = (bits & 0o020 != 0 ? "g" : "") + (bits & 0o002 != 0 ? "o" : "")
            return "type: chmod \(whom)-w \(Self.word(path))"
        }
    }

    /// The path as a word of a shell's command line.
    private static func word(_ path: String) -> String {
        let isPlain = path.utf8.allSatisfy { byte in
            byte >= 0x80 || byte.isLetterOrDigit || "/._+@:,=-".utf8.contains(byte)
        }
        return isPlain
            ? path : "'\(path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#))'"
    }
}

extension UInt8 {
    fileprivate var isLetterOrDigit: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
