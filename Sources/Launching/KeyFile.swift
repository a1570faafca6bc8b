// What a command can be given of a key: the key itself, its certificate, or both in one file.
//
// Must never take a word for a file that is not written as one.

package import Wire

/// A key, its certificate, or both, as a command line names them: `web`, `web.certificate`, `web.bundle`.
package struct KeyFile: Hashable, Sendable, CustomStringConvertible {
    package enum Part: String, CaseIterable, Sendable {
        case key
        /// The certificate and its chain.
        case certificate
        /// The certificate and its chain, and then the key.
        case bundle
    }

    package let key: KeyName
    package let part: Part

    package init(_ key: KeyName, _ part: Part) {
        self.key = key
        self.part = part
    }

    /// Reads a name. `.certificate` and `.bundle` at its end name the part, unless the whole is the name of a key that
    /// is known already. Nil if it is no such name.
    package init?(_ name: ArraySlice<UInt8>, known keys: Set<KeyName>) {
        if let key = KeyName(name), keys.contains(key) {
            self.init(key, .key)
            return
        }
        for part in [Part.certificate, .bundle] {
            let ending = Array(".\(part.rawValue)".utf8)
            guard name.count > ending.count, name.suffix(ending.count).elementsEqual(ending) else { continue }
            guard let key = KeyName(name.dropLast(ending.count)) else { continue }
            self.init(key, part)
            return
        }
        guard let key = KeyName(name) else { return nil }
        self.init(key, .key)
    }

    package var description: String { part == .key ? key.description : "\(key).\(part.rawValue)" }

    /// Whether it has bytes of the key, and of the certificate.
    var hasKey: Bool { part != .certificate }
    var hasCertificate: Bool { part != .key }
}
