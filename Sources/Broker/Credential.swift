// A credential that the service manager asked for: what was decided, and the files whose content it is made of.
//
// Must never be sent before its record is in the log. Must never be read here: the kernel passes the bytes on.

internal import Audit
package import Kernel
internal import Wire

/// The answer to the service manager. A refusal has no files, and is an empty credential.
package final class Credential {
    /// The number of its record.
    package let decision: UInt64
    /// The files to send, one after the other. Between two of them comes a line feed, as the first may end without one.
    package let files: [CredentialFile]
    /// The record of a grant, kept for a correction if it does not arrive.
    let granted: Record?
    /// The unit that it is for. Nil if it is a refusal.
    package let unit: String?

    /// A refusal.
    init(refused decision: UInt64) {
        self.decision = decision
        files = []
        granted = nil
        unit = nil
    }

    init(granted decision: UInt64, _ files: [CredentialFile], record: Record, for unit: String) {
        self.decision = decision
        self.files = files
        granted = record
        self.unit = unit
    }

    package var isGranted: Bool { granted != nil }
}

/// An open file of a credential.
package final class CredentialFile {
    package let descriptor: Descriptor
    package let file: FileFacts
    private let isCopied: Bool

    /// - Parameter isCopied: whether the descriptor is one of a copy that nobody can change.
    init(_ descriptor: consuming Descriptor, _ file: FileFacts, isCopied: Bool) {
        self.descriptor = descriptor
        self.file = file
        self.isCopied = isCopied
    }

    /// Whether it still is what it was when it was granted. Calls `fstat(2)`.
    package func isAsGranted() throws(Failure) -> Bool {
        if isCopied { return true }
        let now = try descriptor.status()
        return now.size == file.status.size && now.modified == file.status.modified
    }

    var handedOver: HandedOver { HandedOver(path: file.path, status: file.status) }
}
