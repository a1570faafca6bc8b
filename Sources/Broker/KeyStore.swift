// The files behind the keys: opens them, anew for each grant, only where nobody else could have put them.
//
// Must never read a byte of them, nor believe a way that it walked before once anything on it changed.

internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

/// What a grant hands over.
struct HandOut: ~Copyable {
    var key: TrustedFile
    var certificate: TrustedFile?
}

/// Opens keys and remembers the ways to them.
final class KeyStore {
    private let owners: TrustedOwners
    /// Nil where the kernel gives none: then every way is walked each time.
    private let watch: ChangeWatch?
    private let confinement: Confinement
    private var remembered: [String: (place: TrustedPlace, until: Instant)] = [:]

    init(owners: TrustedOwners, watch: ChangeWatch?, confinement: Confinement) {
        self.owners = owners
        self.confinement = confinement
        self.watch = watch
    }

    /// The open key file, and the certificate's where the policy names one. In the steady state that is
    /// one `openat(2)` and one `fstat(2)` for each.
    func handOut(_ key: Key) throws(Distrust) -> HandOut {
        let file = try open(key.source)
        guard let source = key.certificate else { return HandOut(key: file, certificate: nil) }
        return HandOut(key: file, certificate: try open(source))
    }

    /// Forgets every way if anything on any of them has changed.
    func noteChanges() {
        if let watch, watch.hasChanged() { forgetWays() }
    }

    func forgetWays() { remembered.removeAll() }

    private func open(_ source: Source) throws(Distrust) -> TrustedFile {
        guard let path = source.path() else { throw Distrust(missingCredential: source.description) }
        let now = Instant.now
        if let (place, until) = remembered[path], now < until {
            do { return try place.open() } catch {
                // Only a walk can tell what became of it, and whether that is to be trusted.
                guard error.kind != .shortage else { throw error }
            }
        }
        remembered[path] = nil
        let place = try owners.place(of: path, watchedBy: watch)
        if place.isWatched {
            if remembered.count >= Limits.rememberedPlaces { forgetWays() }
            remembered[path] = (place, now.after(milliseconds: Limits.rememberedMilliseconds))
        }
        do { return try place.open() } catch {
            guard error.kind == .unreadable, !confinement.covers(place.folder) else { throw error }
            throw Distrust(outside: place.path)
        }
    }
}
