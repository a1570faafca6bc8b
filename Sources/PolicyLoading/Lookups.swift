// Lookups of accounts while a policy is read. A large policy names the same few accounts in many lines.
//
// Must never be kept for the next policy: accounts change.

internal import Kernel
internal import Policy

/// Looks each name up once, and remembers the result.
final class Lookups {
    private var known: [String: Resolver.Found] = [:]
    private let lookUp: (String) throws(Failure) -> UInt32?

    init(_ lookUp: @escaping (String) throws(Failure) -> UInt32?) { self.lookUp = lookUp }

    func found(_ name: String) -> Resolver.Found {
        if let found = known[name] { return found }
        let found: Resolver.Found
        do throws(Failure) { found = try lookUp(name).map { .id($0) } ?? .unknown } catch {
            found = .failed(error.reason)
        }
        known[name] = found
        return found
    }
}
