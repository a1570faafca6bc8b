// The walls that the daemon puts around itself once it has all it needs: so that whoever took it over could not
// do more than it does itself, wherever it runs and whoever started it.
//
// Must never be counted on to be there: what the kernel cannot do is told, and the daemon serves all the same.

internal import CKernel
internal import Glibc

/// What of the walls stands, and around what.
package struct Sandbox: Sendable {
    /// One of the mechanisms.
    package struct Wall: Equatable, Sendable {
        /// `landlock`, `seccomp`, …
        package let name: String
        /// How it stands; nil where it does not.
        package let state: String?
        /// Why it does not stand.
        package let reason: String?
    }

    /// What may be done below a directory.
    package struct Rights: OptionSet, Sendable {
        package let rawValue: Int32
        package init(rawValue: Int32) { self.rawValue = rawValue }

        /// Files may be opened for reading.
        package static let read = Rights(rawValue: Int32(ck_may_read))
        /// Directories may be listed.
        package static let list = Rights(rawValue: Int32(ck_may_list))
        /// Files may be made, written and cut.
        package static let write = Rights(rawValue: Int32(ck_may_write))
        /// Files may be removed.
        package static let remove = Rights(rawValue: Int32(ck_may_remove))
    }

    package private(set) var walls: [Wall] = []
    /// The directories below which files can be read; nil where nothing keeps the daemon to them. What counts is
    /// the directory itself: another one that took its name is outside.
    private var readable: Set<FileIdentity>?

    package init() {}

    /// Whether files in the directory at `folder`, symbolic links followed, can be read.
    package func covers(_ folder: String) -> Bool {
        guard let readable else { return true }
        var parts = folder.split(separator: "/")
        while true {
            if let status = (try? statusFollowing("/" + parts.joined(separator: "/"))) ?? nil,
                readable.contains(FileIdentity(status))
            {
                return true
            }
            if parts.popLast() == nil { return false }
        }
    }

    package mutating func note(_ name: String, _ state: String) {
        walls.append(Wall(name: name, state: state, reason: nil))
    }

    package mutating func note(_ name: String, missing reason: String) {
        walls.append(Wall(name: name, state: nil, reason: reason))
    }

    private mutating func put(_ name: String, _ body: @autoclosure () throws(Failure) -> String) {
        do throws(Failure) { note(name, try body()) } catch { note(name, missing: error.description) }
    }

    // MARK: The walls

    /// Nothing is had by what is executed, and no capability is kept but the one that opens keys, where it is
    /// there. Calls `prctl(2)` and `capset(2)`.
    package mutating func keepOneCapability() {
        put("capabilities", try Self.keepOneCapability())
    }

    private static func keepOneCapability() throws(Failure) -> String {
        _ = try succeed(ck_keep_capabilities(1 << UInt64(ck_cap_dac_read_search)), "capset")
        return try Privileges.canReadAnyFile() ? "dac_read_search" : "none"
    }

    /// Files outside of `folders` can no longer be opened, made, changed or removed, and nothing can be executed
    /// (landlock(7)). What cannot be opened is passed over, and is outside. Calls `landlock_restrict_self(2)`.
    /// - Parameter keepsAbstractSockets: whether somebody outside is to be reached by an abstract Unix socket.
    package mutating func restrictFiles(_ folders: [(path: String, rights: Rights)], keepsAbstractSockets: Bool) {
        var covered: Set<FileIdentity> = []
        put("landlock", try Self.restrictFiles(folders, keepsAbstractSockets, &covered))
        if walls.last?.state != nil { readable = covered }
    }

    private static func restrictFiles(
        _ folders: [(path: String, rights: Rights)], _ keepsAbstractSockets: Bool, _ covered: inout Set<FileIdentity>
    ) throws(Failure) -> String {
        let version = try succeed(ck_landlock_version(), "landlock_create_ruleset")
        let ruleset = try Descriptor.opened(
            ck_landlock_ruleset(version, 0, keepsAbstractSockets ? 1 : 0), by: "landlock_create_ruleset")
        for (path, rights) in folders {
            let handle = PathCall.openTarget(path)
            if handle < 0 { continue }
            let folder = Descriptor(taking: handle)
            let isIn = ck_landlock_allow(ruleset.number, version, folder.number, rights.rawValue) >= 0
            if isIn, rights.contains(.read) { covered.insert(FileIdentity(try folder.status())) }
        }
        _ = try succeed(ck_landlock_restrict(ruleset.number), "landlock_restrict_self")
        return "version \(version)"
    }

    /// Only the system calls that a broker needs once it serves (seccomp(2)).
    package mutating func restrictCalls() {
        put("seccomp", try Self.restrictCalls())
    }

    private static func restrictCalls() throws(Failure) -> String {
        _ = try succeed(ck_seccomp_restrict(), "seccomp")
        return "on"
    }

    /// For a helper that only reads: nothing is written or executed.
    package static func restrictToReading() {
        let version = ck_landlock_version()
        guard version > 0 else { return }
        do throws(Failure) {
            let ruleset = try Descriptor.opened(ck_landlock_ruleset(version, 1, 1), by: "landlock_create_ruleset")
            _ = ck_landlock_restrict(ruleset.number)
        } catch {
            // It goes on without: it has no rights that would be missed.
        }
    }
}
