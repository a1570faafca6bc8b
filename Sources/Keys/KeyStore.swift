// Opens the key files, anew for each grant, and only if nobody else could have placed them there.
//
// Must never read a byte of them. Must never use a remembered path after anything on it has changed.

package import Kernel
package import Policy
package import PolicyLoading
package import Wire

/// Tells one content of a key's files from another. It says nothing about the bytes, which the daemon does not read.
package struct Content: Equatable, Sendable {
    private let key: ContentMark
    private let certificate: ContentMark?

    package init(of files: borrowing HandOut) {
        key = ContentMark(files.key.status)
        certificate = files.certificate.map { ContentMark($0.status) }
    }
}

/// What a look at a key has found.
package struct Sighting: Sendable {
    package let content: Content
    /// Whether later changes will be reported. If not, the key has to be looked at again and again.
    package let isFollowed: Bool

    package init(content: Content, isFollowed: Bool) { (self.content, self.isFollowed) = (content, isFollowed) }
}

/// Opens what a policy permits.
package protocol KeyOpener: AnyObject {
    /// Returns the open key file, and the open certificate file if the policy names one.
    func handOut(_ key: Key) throws(TrustError) -> HandOut
    /// The same for who reads the files: they are open here, as copies if the files themselves may hang.
    func handOutHere(_ key: Key) throws(TrustError) -> HandOut
    /// Called when a policy comes into force, including the first one. The process that opens keys must know it by then.
    func adopt(_ policy: LoadedPolicy)
    /// Called when something on the path to a key may have changed.
    func noteChanges()
    /// Whether a followed key may have changed since the last call.
    func takeFileChanges() -> Bool
    /// Whether there may be another file at the path of a key since the last call, as mounts have changed.
    func takeMountChanges() -> Bool
    /// Looks at the files of a key without handing them out, and from then on follows their changes.
    func look(at key: Key) throws(TrustError) -> Sighting
    /// The sandbox that limits the process to the directories known at the start.
    var sandbox: Sandbox { get }
    /// The files of the policy's keys that lie outside the sandbox.
    var keysOutside: [(key: KeyName, path: String)] { get }
    /// The files of the policy's keys that the daemon's unit hides from it.
    var keysHidden: [(key: KeyName, path: String, setting: HidingSetting)] { get }
}

/// Opens keys, and remembers the paths to them that it has checked.
package final class KeyStore: KeyOpener {
    private let owners: TrustedOwners
    /// Reports changes on the paths. Nil if the kernel offers no such watch: then each path is walked each time.
    private let watch: ChangeWatch?
    package let sandbox: Sandbox
    /// Opens files that the sandbox does not permit this process. Nil: nobody does.
    private let opener: OpenerProcess?
    package private(set) var keysOutside: [(key: KeyName, path: String)] = []
    package private(set) var keysHidden: [(key: KeyName, path: String, setting: HidingSetting)] = []
    private var remembered: [String: (place: TrustedPath, until: Instant)] = [:]
    /// The ways to the directories of files that are no symbolic links, by the part of their paths before the name. So
    /// any number of keys in a directory takes one walk.
    private var folders: [Substring: (folder: TrustedFolder, until: Instant)] = [:]
    private var filesChanged = false, mountsChanged = false
    /// How often mounts had changed when the ways were walked that are remembered.
    private var mountChanges: UInt64 = 0
    /// Whether paths that are walked now are to be followed.
    private var isFollowing = false

    package init(owners: TrustedOwners, watch: ChangeWatch?, sandbox: Sandbox, opener: OpenerProcess? = nil) {
        self.owners = owners
        self.opener = opener
        self.sandbox = sandbox
        self.watch = watch
    }

    package func handOut(_ key: Key) throws(TrustError) -> HandOut { try handOut(key, as: .held) }

    package func handOutHere(_ key: Key) throws(TrustError) -> HandOut { try handOut(key, as: .copied) }

    private func handOut(_ key: Key, as form: OpenerForm) throws(TrustError) -> HandOut {
        do { return try open(key) } catch {
            guard case .elsewhere(let mount) = error.kind else { throw error }
            let paths = [key.source, key.certificate].compactMap { $0?.path() }
            guard let opener else { throw TrustError(outside: paths[0]) }
            // Two mounts have a lane of their own, as nothing else on either of them must wait for the other.
            var lane = paths.count == 1 ? mount : paths.reduce(0) { $0 << 32 | self.mount(of: $1) }
            if lane == 0 {
                do {
                    return try opener.handOut(OpenerQuestion(lane: 0, form: .open, paths: paths), owners: owners)
                } catch {
                    // The opener may know later than this process that a mount is local, or that it is not.
                    guard case .elsewhere(let mount) = error.kind, mount != 0 else { throw error }
                    lane = mount
                }
            }
            return try opener.handOut(OpenerQuestion(lane: lane, form: form, paths: paths), owners: owners)
        }
    }

    /// The number of the mount that keeps this process from opening a file, or 0.
    private func mount(of path: String) -> UInt64 {
        do throws(TrustError) { _ = try owners.place(of: path) } catch {
            if case .elsewhere(let mount) = error.kind { return mount }
        }
        return 0
    }

    /// Opens the files of a key. For a remembered path, that is one `openat(2)` and one `fstat(2)` for each file, and a
    /// `read(2)` if there are two.
    private func open(_ key: Key) throws(TrustError) -> HandOut {
        guard let certificate = key.certificate else {
            return HandOut(key: try open(key.source).intoFile(), certificate: nil)
        }
        for _ in 0..<Limits.pairAttempts {
            if let pair = try pair(key.source, certificate) { return pair }
            forget(key.source)
            forget(certificate)
        }
        throw TrustError(changing: [key.source, certificate].compactMap { $0.path() })
    }

    /// Both files, or nil if they may be what was there at two times.
    private func pair(_ keySource: Source, _ certificateSource: Source) throws(TrustError) -> HandOut? {
        let key = try open(keySource)
        let certificate = try open(certificateSource)
        let (folder, other) = (key.folder, certificate.folder)
        // One way from memory and one walked now may be of two times, unless both files are in the same open directory.
        guard !forgetWaysIfChanged(), folder === other || key.isNew == certificate.isNew else { return nil }
        let pair = HandOut(key: key.intoFile(), certificate: certificate.intoFile())
        // A change on a way that is not watched is not reported: then the key must still be the same one.
        var isSame = folder.isWatched && other.isWatched
        if !isSame { isSame = ContentMark(try open(keySource).intoFile().status) == ContentMark(pair.key.status) }
        if isSame { return pair }
        return nil
    }

    package func adopt(_ policy: LoadedPolicy) {
        forgetWays()
        opener?.forgetAnswers()
        keysHidden = policy.hidden ?? policy.keys(hiddenBy: .here)
        keysOutside = opener?.isRunning == true ? [] : policy.outside ?? policy.keys(outsideOf: sandbox, owners: owners)
    }

    package func noteChanges() {
        if let changes = owners.mounts?.changes(), changes != mountChanges {
            mountChanges = changes
            mountsChanged = true
            forgetWays()
        }
        _ = forgetWaysIfChanged()
    }

    package func takeFileChanges() -> Bool {
        defer { filesChanged = false }
        return filesChanged
    }

    package func takeMountChanges() -> Bool {
        defer { mountsChanged = false }
        return mountsChanged
    }

    /// Looks at a key's files through paths that are followed.
    package func look(at key: Key) throws(TrustError) -> Sighting {
        let sources = [key.source, key.certificate].compactMap(\.self)
        for source in sources {
            if let path = source.path(), remembered[path]?.place.isFollowed != true { forget(source) }
        }
        isFollowing = true
        defer { isFollowing = false }
        let content = Content(of: try handOut(key))
        let isFollowed = sources.allSatisfy { source in
            source.path().flatMap { remembered[$0] }?.place.isFollowed == true
        }
        return Sighting(content: content, isFollowed: isFollowed)
    }

    /// Forgets all paths if anything on any of them has changed. Returns whether it did.
    private func forgetWaysIfChanged() -> Bool {
        if opener?.noteChanges() == true { filesChanged = true }
        guard let changes = watch?.changes() else { return false }
        if changes.files { filesChanged = true }
        if changes.ways { forgetWays() }
        return changes.ways
    }

    private func forgetWays() {
        remembered.removeAll()
        folders.removeAll()
    }

    private func forget(_ source: Source) {
        guard let path = source.path() else { return }
        remembered[path] = nil
        if let slash = path.lastSlash { folders[path[..<slash]] = nil }
    }

    /// If there is no descriptor for it, the ways to other keys may hold them.
    private func open(_ source: Source) throws(TrustError) -> Opened {
        do { return try openAtOnce(source) } catch {
            guard error.kind == .shortage, !remembered.isEmpty || !folders.isEmpty else { throw error }
            forgetWays()
            return try openAtOnce(source)
        }
    }

    private func openAtOnce(_ source: Source) throws(TrustError) -> Opened {
        guard let path = source.path() else { throw TrustError(missingCredential: source.description) }
        let now = Instant.now
        if let (place, until) = remembered[path], now < until {
            do { return Opened(try place.open(), in: place.folder, isNew: false) } catch {
                // Only a new walk can tell what happened to the file, and whether it can still be trusted.
                guard error.kind != .shortage else { throw error }
            }
        }
        remembered[path] = nil
        if let file = try openInKnownFolder(path, now) { return file }
        let place = try owners.place(of: path, watchedBy: watch, follows: isFollowing)
        // A path is not remembered if something changed during the walk.
        if place.isWatched, !forgetWaysIfChanged() {
            if remembered.count + folders.count + 1 >= Limits.rememberedPaths { forgetWays() }
            let until = now.after(Limits.remembered)
            remembered[path] = (place, until)
            if let parent = place.parent { folders[parent[...]] = (place.folder, until) }
        }
        do { return Opened(try place.open(), in: place.folder, isNew: true) } catch {
            guard error.kind == .unreadable, !sandbox.covers(place.folder.path) else { throw error }
            throw TrustError(.elsewhere(0), place.path)
        }
    }

    /// Opens a file of a directory to which the way is known. Nil if there is none, or only a walk can tell.
    private func openInKnownFolder(_ path: String, _ now: Instant) throws(TrustError) -> Opened? {
        guard !isFollowing, let slash = path.lastSlash, let (folder, until) = folders[path[..<slash]], now < until
        else {
            return nil
        }
        do {
            let place = try owners.place(of: String(path[path.utf8.index(after: slash)...]), in: folder)
            let file = Opened(try place.open(), in: place.folder, isNew: false)
            // Half of the room is for ways that nothing else knows.
            if remembered.count + folders.count < Limits.rememberedPaths / 2 { remembered[path] = (place, until) }
            return file
        } catch {
            guard error.kind != .shortage else { throw error }
            return nil
        }
    }
}

/// A file, and the way on which it was opened.
private struct Opened: ~Copyable {
    private let file: TrustedFile
    let folder: TrustedFolder
    /// Whether the way was walked just now, and not taken from memory.
    let isNew: Bool

    init(_ file: consuming TrustedFile, in folder: TrustedFolder, isNew: Bool) {
        self.file = file
        self.folder = folder
        self.isNew = isNew
    }

    consuming func intoFile() -> TrustedFile { file }
}

extension String {
    /// Where the part before the name of the file ends.
    fileprivate var lastSlash: Index? { utf8.lastIndex(of: UInt8(ascii: "/")) }
}
