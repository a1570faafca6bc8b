// Opens the key files, anew for each grant, and only if nobody else could have placed them there.
//
// Must never read a byte of them. Must never use a remembered path after anything on it has changed.

package import Kernel
package import Policy
package import PolicyLoading
package import Wire

/// What a grant hands over.
package struct HandOut: ~Copyable {
    package var key: TrustedFile
    package var certificate: TrustedFile?

    package init(key: consuming TrustedFile, certificate: consuming TrustedFile?) {
        self.key = key
        self.certificate = certificate
    }
}

/// Opens what a policy permits.
package protocol KeyOpener: AnyObject {
    /// Returns the open key file, and the open certificate file if the policy names one.
    func handOut(_ key: Key) throws(TrustError) -> HandOut
    /// Called when a policy comes into force, including the first one.
    func adopt(_ policy: LoadedPolicy)
    /// Called when something on the path to a key may have changed.
    func noteChanges()
    /// The sandbox that limits the process to the directories known at the start.
    var sandbox: Sandbox { get }
    /// The files of the policy's keys that lie outside the sandbox.
    var keysOutside: [(key: KeyName, path: String)] { get }
}

/// Opens keys, and remembers the paths to them that it has checked.
package final class KeyStore: KeyOpener {
    private let owners: TrustedOwners
    /// Reports changes on the paths. Nil if the kernel offers no such watch: then each path is walked each time.
    private let watch: ChangeWatch?
    package let sandbox: Sandbox
    package private(set) var keysOutside: [(key: KeyName, path: String)] = []
    private var remembered: [String: (place: TrustedPath, until: Instant)] = [:]

    package init(owners: TrustedOwners, watch: ChangeWatch?, sandbox: Sandbox) {
        self.owners = owners
        self.sandbox = sandbox
        self.watch = watch
    }

    /// Opens the files of a key. For a remembered path, that is one `openat(2)` and one `fstat(2)` for each file.
    package func handOut(_ key: Key) throws(TrustError) -> HandOut {
        let file = try open(key.source)
        guard let source = key.certificate else { return HandOut(key: file, certificate: nil) }
        return HandOut(key: file, certificate: try open(source))
    }

    package func adopt(_ policy: LoadedPolicy) {
        forgetWays()
        keysOutside = policy.keys(outsideOf: sandbox, owners: owners)
    }

    package func noteChanges() { _ = forgetWaysIfChanged() }

    /// Forgets all paths if anything on any of them has changed. Returns whether it did.
    private func forgetWaysIfChanged() -> Bool {
        guard let watch, watch.hasChanged() else { return false }
        forgetWays()
        return true
    }

    private func forgetWays() { remembered.removeAll() }

    private func open(_ source: Source) throws(TrustError) -> TrustedFile {
        guard let path = source.path() else { throw TrustError(missingCredential: source.description) }
        let now = Instant.now
        if let (place, until) = remembered[path], now < until {
            do { return try place.open() } catch {
                // Only a new walk can tell what happened to the file, and whether it can still be trusted.
                guard error.kind != .shortage else { throw error }
            }
        }
        remembered[path] = nil
        let place = try owners.place(of: path, watchedBy: watch)
        // A path is not remembered if something changed during the walk.
        if place.isWatched, !forgetWaysIfChanged() {
            if remembered.count >= Limits.rememberedPaths { forgetWays() }
            remembered[path] = (place, now.after(Limits.remembered))
        }
        do { return try place.open() } catch {
            guard error.kind == .unreadable, !sandbox.covers(place.folder) else { throw error }
            throw TrustError(outside: place.path)
        }
    }
}
