// A policy that was read and found without fault: keys, permissions, limits.
//
// Only permissions: what no line permits is denied, and the order of lines carries no meaning. Names of
// accounts are numbers by now, looked up once when the policy was read.

package import Wire

/// Who a line is about.
package enum Identity: Hashable, Sendable, CustomStringConvertible {
    case user(UInt32)
    /// A primary or supplementary group.
    case group(UInt32)

    /// As a policy may write it: `33`, `:33`.
    package var description: String {
        switch self {
        case .user(let uid): String(uid)
        case .group(let gid): ":\(gid)"
        }
    }
}

/// Where a key or certificate comes from.
package enum Source: Hashable, Sendable, CustomStringConvertible {
    /// An absolute path.
    case file(String)
    /// A file of that name in the daemon's own `$CREDENTIALS_DIRECTORY`.
    case credential(String)

    package var description: String {
        switch self {
        case .file(let path): path
        case .credential(let id): "credential:\(id)"
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

/// One key of a `permit` line.
package struct Rule: Equatable, Sendable {
    package let identity: Identity
    /// As the line writes it: `www-data`, `:tls-ops`.
    package let writtenIdentity: String
    package let unit: UnitPattern?
    package let key: KeyName
    package let location: Location

    /// The line as far as it is about this key: `permit stunnel4 unit stunnel@*.service key api-tls`.
    package var statement: String {
        "permit \(writtenIdentity)\(unit.map { " unit \($0)" } ?? "") key \(key)"
    }
}

/// Keys, who may have them, and how much anybody may ask.
package struct Policy: Equatable, Sendable {
    package private(set) var keys: [KeyName: Key] = [:]
    /// In the order of the lines.
    package private(set) var rules: [KeyName: [Rule]] = [:]
    /// The same by identity, with their order: a verdict looks at what names the caller, and never at a key that is
    /// another's, so that it takes as long for that as for one that there is not.
    private var rulesOf: [Identity: [KeyName: [Ordered]]] = [:]
    private var count = 0

    struct Ordered: Equatable, Sendable {
        let order: Int
        let rule: Rule
    }
    private var bounds: [Identity: Bounds] = [:]
    private var boundsOfEachUser = Bounds()
    /// The names of users that the policy names, for the log.
    package private(set) var userNames: [UInt32: String] = [:]
    /// The groups that lines are about, sorted: no other group of a caller makes a difference.
    package private(set) var namedGroups: [UInt32] = []
    /// What lines about groups say, from the least to the most; nil where none says anything.
    private(set) var connectionsOfGroups: ClosedRange<Int>?, requestsOfGroups: ClosedRange<Int>?

    package init() {}

    /// So many keys will be added.
    mutating func reserve(keys count: Int) {
        keys.reserveCapacity(keys.count + count)
        rules.reserveCapacity(rules.count + count)
    }

    func declares(_ name: KeyName) -> Bool { keys.index(forKey: name) != nil }

    mutating func add(_ key: Key) { keys[key.name] = key }

    mutating func add(_ rule: Rule) {
        rules[rule.key, default: []].append(rule)
        rulesOf[rule.identity, default: [:]][rule.key, default: []].append(Ordered(order: count, rule: rule))
        count += 1
    }

    /// Nil: for each user that no other line is about.
    mutating func setBound(_ bound: WritableKeyPath<Bounds, Int?>, to number: Int, for identity: Identity?) {
        if let identity {
            bounds[identity, default: Bounds()][keyPath: bound] = number
        } else {
            boundsOfEachUser[keyPath: bound] = number
        }
    }

    /// Every line was read.
    mutating func complete() {
        let identities = Set(rulesOf.keys).union(bounds.keys)
        namedGroups = identities.compactMap { if case .group(let gid) = $0 { gid } else { nil } }.sorted()
        let ofGroups = namedGroups.compactMap { bounds[.group($0)] }
        connectionsOfGroups = Self.range(ofGroups.compactMap(\.connections))
        requestsOfGroups = Self.range(ofGroups.compactMap(\.requests))
    }

    private static func range(_ numbers: [Int]) -> ClosedRange<Int>? {
        guard let least = numbers.min(), let most = numbers.max() else { return nil }
        return least...most
    }

    /// Whether a line is about it.
    package func names(_ identity: Identity) -> Bool { rulesOf[identity] != nil || bounds[identity] != nil }

    mutating func setName(_ name: String, of uid: UInt32) { userNames[uid] = name }

    /// The lines about an identity, by key.
    func rules(of identity: Identity) -> [KeyName: [Ordered]] { rulesOf[identity] ?? [:] }

    func bounds(of identity: Identity) -> Bounds? { bounds[identity] }

    var defaultBounds: Bounds { boundsOfEachUser }
}
