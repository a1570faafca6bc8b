// What a key that is permitted would be at this moment: its files, or why there is none.
//
// Makes the daemon's checks, as this account. Must never read a byte of the files. Must never call a file good that this
// account cannot open.

internal import Kernel
internal import LocalTime
internal import NameLookup
internal import Policy
internal import PolicyLoading

enum HandedOutNow {
    /// A line for the key's file, and one for its certificate's.
    /// - Parameters:
    ///   - owners: whose files the daemon trusts.
    ///   - hidden: what the daemon's unit hides from it.
    ///   - right: what is permitted. For signatures, a channel is handed out and not the key.
    static func lines(_ key: Key, _ owners: TrustedOwners, hidden: HiddenFolders, _ right: Right) -> [String] {
        [line(right == .sign ? "channel" : "key", key.source, owners, hidden)]
            + (key.certificate.map { [line("certificate", $0, owners, hidden)] } ?? [])
    }

    private static func line(
        _ what: String, _ source: Source, _ owners: TrustedOwners, _ hidden: HiddenFolders
    ) -> String {
        guard let path = source.path() else {
            return "  \(what) now: not known here: it is a credential of the daemon's unit"
        }
        do throws(TrustError) {
            let file = try owners.place(of: path).open()
            if let why = hidden.explanation(of: file.path) {
                return "  \(what) now: nothing would be handed out: \(file.path) is there, but \(why)"
            }
            let status = file.status
            let size = status.size == 0 ? "empty" : counted(status.size, "byte")
            let signs = what == "channel" ? "signs with " : ""
            return "  \(what) now: \(signs)\(file.path), \(size), of \(status.modified.local)"
        } catch {
            switch error.kind {
            case .missing, .untrusted:
                return "  \(what) now: nothing would be handed out: \(error.explained(by: .here))"
            case .unreadable, .shortage, .outside, .elsewhere, .late, .oversized:
                return "  \(what) now: not known here: \(error); ask as root"
            }
        }
    }
}
