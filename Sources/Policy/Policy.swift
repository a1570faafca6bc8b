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
    package let place: Place
}

/// One key of a `permit` line.
package struct Rule: Equatable, Sendable {
    package let identity: Identity
    /// As the line writes it: `www-data`, `:tls-ops`.
    package let writtenIdentity: String
    package let unit: UnitPattern?
    package let key: KeyName
    package let place: Place

    /// The line as far as it is about this key: `permit stunnel4 unit stunnel@*.service key api-tls`.
    package var statement: String {
        "permit \(writtenIdentity)\(unit.map { " unit \($0)" } ?? "") key \(key)"
    }
}

/// What a caller may use up, per uid; nil where no line says.
package struct Bounds: Equatable, Sendable {
    /// At a time.
    package var connections: Int?
    /// Per second.
    package var requests: Int?

    package init(connections: Int? = nil, requests: Int? = nil) {
        self.connections = connections
        self.requests = requests
    }
}

/// Keys, who may have them, and how much anybody may ask.
package struct Policy: Equatable, Sendable {
    package private(set) var keys: [KeyName: Key] = [:]
    /// In the order of the lines.
    package private(set) var rules: [KeyName: [Rule]] = [:]
    /// The keys that an identity is named with, for listing.
    private var keysOf: [Identity: [KeyName]] = [:]
    private var bounds: [Identity: Bounds] = [:]
    private var boundsOfEachUser = Bounds()
    /// The names of users that the policy names, for the log.
    package private(set) var userNames: [UInt32: String] = [:]

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
        keysOf[rule.identity, default: []].append(rule.key)
    }

    /// Nil: for each user that no other line is about.
    mutating func setBound(_ bound: WritableKeyPath<Bounds, Int?>, to number: Int, for identity: Identity?) {
        if let identity {
            bounds[identity, default: Bounds()][keyPath: bound] = number
        } else {
            boundsOfEachUser[keyPath: bound] = number
        }
    }

    mutating func setName(_ name: String, of uid: UInt32) { userNames[uid] = name }

    /// The rules that are about an identity, keys of theirs only.
    func keys(of identity: Identity) -> [KeyName] { keysOf[identity] ?? [] }

    func bounds(of identity: Identity) -> Bounds? { bounds[identity] }

    var defaultBounds: Bounds { boundsOfEachUser }
}
