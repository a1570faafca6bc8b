// How records name what was asked, what was handed over, and what was wrong with a file.
//
// Must never put into a record what a caller sent, but for the name of a key.

internal import Audit
internal import Kernel
internal import Keys
internal import Wire

extension Request {
    /// The verb as records name it.
    var verb: Record.Verb {
        switch self {
        case .get: .get
        case .watch: .watch
        case .channel: .sign
        case .list: .list
        case .version: .version
        case .status: .status
        case .rotation: .rotation
        }
    }

    /// The key that it asks for.
    var key: String? {
        switch self {
        case .get(let name), .watch(let name), .channel(let name): name.description
        case .list, .version, .status, .rotation: nil
        }
    }
}

extension HandOut {
    /// The certificate as a record names it.
    var certificateHandedOver: HandedOver? {
        certificate.map { HandedOver(path: $0.path, status: $0.status) }
    }
}

extension Reason {
    /// Why a key is not handed out that the policy permits.
    init(_ distrust: TrustError) {
        switch distrust.kind {
        case .missing: self = .fileMissing
        case .unreadable: self = .fileUnreadable
        case .untrusted: self = .fileUntrusted
        case .shortage: self = .descriptorsExhausted
        case .outside, .elsewhere: self = .outsideSandbox
        case .late: self = .fileSlow
        case .oversized: self = .fileSize
        }
    }
}
