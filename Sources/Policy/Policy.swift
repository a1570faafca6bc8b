// A policy that was read without errors: keys, permissions, limits, and what must never be permitted.
//
// A policy has only permissions: what no line permits is denied, and the order of lines has no meaning. Account names
// are already numbers here. They were looked up once, when the policy was read. Must never change after that: the next
// policy is another object.

package import Wire

/// The user, group or systemd unit that a line is about.
package enum Identity: Hashable, Sendable, CustomStringConvertible {
    case user(UInt32)
    /// A primary or supplementary group.
    case group(UInt32)
    /// Whoever runs in a system unit of such a name, under any uid.
    case unit(UnitPattern)

    /// In the form of a policy: `33`, `:33`, `unit:nginx.service`.
    package var description: String {
        switch self {
        case .user(let uid): String(uid)
        case .group(let gid): ":\(gid)"
        case .unit(let pattern): "\(Identity.unitPrefix)\(pattern)"
        }
    }

    /// The pattern of a unit, or nil if it is a user or a group.
    package var unit: UnitPattern? { if case .unit(let pattern) = self { pattern } else { nil } }

    /// What stands before the name of a unit that is an identity.
    package static let unitPrefix = "unit:"
}

/// The origin of a key or certificate.
package enum Source: Hashable, Sendable, CustomStringConvertible {
    /// An absolute path.
    case file(String)
    /// A file of that name in the daemon's own `$CREDENTIALS_DIRECTORY`.
    case credential(String)

    package var description: String {
        switch self {
        case .file(let path): path
        case .credential(let id): "\(Source.credentialPrefix)\(id)"
        }
    }

    /// What stands before the name of a credential.
    static let credentialPrefix = "credential:"

    /// A word that was found to be a source.
    init(_ word: ArraySlice<UInt8>) {
        let prefix = Self.credentialPrefix.utf8
        if word.starts(with: prefix) {
            self = .credential(String(decoding: word.dropFirst(prefix.count), as: UTF8.self))
        } else {
            self = .file(String(decoding: word, as: UTF8.self))
        }
    }
}

/// A `key` line.
package struct Key: Equatable, Sendable {
    package let name: KeyName
    package let source: Source
    package let certificate: Source?
    package let location: Location
}

/// What a line can permit with a key.
package enum Right: String, CaseIterable, Sendable {
    /// To get the key.
    case key
    /// To have it sign, without getting it. Neither right includes the other.
    case sign
}

/// One key of a `permit` line. A line with several keys gives several rules.
package struct Rule: Equatable, Sendable {
    package let identity: Identity
    /// In the words of the line: `www-data`, `:tls-ops`, `unit:nginx.service`.
    package let writtenIdentity: String
    package let unit: UnitPattern?
    package let key: KeyName
    /// For what the key may be used. Nil if the line permits the key itself.
    package let uses: SigningUses?
    package let location: Location

    package var right: Right { uses == nil ? .key : .sign }

    /// The part of the line that concerns this key: `permit stunnel4 unit stunnel@*.service key api-tls`.
    package var statement: String {
        "permit \(writtenIdentity)\(unit.map { " unit \($0)" } ?? "") \(right.rawValue) \(key)\(uses?.clause ?? "")"
    }
}

extension SigningUses {
    /// As a line has it after the names of keys: ` for tls-server`. Empty if any message may be signed.
    package var clause: String { words.isEmpty ? "" : " for \(words.joined(separator: " "))" }
}

/// A line `permit IDENTITY status`.
package struct StatusPermit: Equatable, Sendable {
    package let identity: Identity
    /// In the words of the line.
    package let writtenIdentity: String
    package let location: Location

    package var statement: String { "permit \(writtenIdentity) status" }
}

/// The keys, who may have them, and the limits of the callers. It has many parts, and is an object so that who uses it
/// counts one reference and not one to each part, some times for each request.
package final class Policy: Sendable {
    /// The keys and the rules. A verdict looks only at rules that name the caller, and never at those of others. So it
    /// takes the same time for a key of others as for a key that does not exist.
    let tables: Tables
    /// Who may ask for the status, in the order of the lines.
    package let statusPermits: [StatusPermit]
    /// The places of the same lines by identity.
    private let statusOf: [Identity: Int]
    /// The places of those that are about units.
    private let statusOfUnits: [Int]
    /// What the policy must not permit, by key.
    package let nevers: [KeyName: [Exclusion]]
    private let nobodies: Set<Identity>
    private let bounds: [Identity: Bounds]
    /// The limits of each user that no other line is about.
    let defaultBounds: Bounds
    /// The names of the users that the policy names, for the log.
    package let userNames: [UInt32: String]
    /// The groups that lines name, sorted. Other groups of a caller make no difference.
    package let namedGroups: [UInt32]
    /// The units that lines permit something with a key to: plain names, and patterns with a star.
    private let namedUnits: [String: UnitPattern], unitPatterns: [UnitPattern]
    /// The lowest and the highest limit that lines about groups set, or nil if none sets one.
    let connectionsOfGroups: ClosedRange<Int>?, requestsOfGroups: ClosedRange<Int>?

    /// A policy without any line.
    package convenience init() { self.init(Draft()) }

    /// - Parameter draft: after its last line was read.
    init(_ draft: Draft) {
        tables = draft.tables
        statusPermits = draft.statusPermits
        statusOf = draft.statusOf
        statusOfUnits = draft.statusOfUnits
        nevers = draft.nevers
        nobodies = draft.nobodies
        bounds = draft.bounds
        defaultBounds = draft.boundsOfEachUser
        userNames = draft.userNames

        func gid(_ identity: Identity) -> UInt32? { if case .group(let gid) = identity { gid } else { nil } }
        var gids = Set(tables.identities.lazy.compactMap(gid))
        gids.formUnion(bounds.keys.lazy.compactMap(gid))
        gids.formUnion(statusOf.keys.lazy.compactMap(gid))
        namedGroups = gids.sorted()
        let units = tables.identities.compactMap(\.unit)
        unitPatterns = units.filter(\.hasStar).sorted { $0.description < $1.description }
        namedUnits = Dictionary(units.lazy.filter { !$0.hasStar }.map { ($0.description, $0) }) { first, _ in first }
        let ofGroups = namedGroups.compactMap { draft.bounds[.group($0)] }
        connectionsOfGroups = Self.range(ofGroups.compactMap(\.connections))
        requestsOfGroups = Self.range(ofGroups.compactMap(\.requests))
    }

    private static func range(_ numbers: [Int]) -> ClosedRange<Int>? {
        guard let least = numbers.min(), let most = numbers.max() else { return nil }
        return least...most
    }

    /// How many permissions there are.
    package var permissions: Int { tables.getting.rules.count + tables.signing.rules.count }

    /// Whether a line permits something to this identity, or limits it.
    package func names(_ identity: Identity) -> Bool {
        permits(identity) || bounds[identity] != nil || statusOf[identity] != nil
    }

    /// Whether a line permits a key to it, or its signatures.
    package func permits(_ identity: Identity) -> Bool { tables.number(of: identity) != nil }

    /// Whether a line permits a key to a unit, or its signatures, whatever the uid.
    package var permitsUnits: Bool { !namedUnits.isEmpty || !unitPatterns.isEmpty }

    /// Whether a line permits a key to the unit of this name, or its signatures, whatever the uid.
    package func permits(unit: String) -> Bool {
        namedUnits[unit] != nil || unitPatterns.contains { $0.matches(unit) }
    }

    /// The identities by which lines can name this caller. Which ones they are never depends on a key.
    package func identities(of caller: Caller) -> [Identity] {
        var identities = caller.accounts
        guard permitsUnits, caller.canBeNamed, let unit = caller.unit else { return identities }
        if let pattern = namedUnits[unit] { identities.append(.unit(pattern)) }
        for pattern in unitPatterns where pattern.matches(unit) { identities.append(.unit(pattern)) }
        return identities
    }

    /// The first line that permits the status to this caller.
    package func statusPermit(for caller: Caller) -> StatusPermit? {
        guard !statusOf.isEmpty, caller.canBeNamed else { return nil }
        var places = caller.accounts.compactMap { statusOf[$0] }
        if let unit = caller.unit {
            places += statusOfUnits.filter { statusPermits[$0].identity.unit?.matches(unit) == true }
        }
        return places.min().map { statusPermits[$0] }
    }

    /// Whether no caller can be of this identity: a line about it is about nobody.
    package func isNobody(_ identity: Identity) -> Bool { nobodies.contains(identity) }

    func bounds(of identity: Identity) -> Bounds? { bounds[identity] }
}
