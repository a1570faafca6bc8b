// The sandbox that the daemon puts around itself after its start: capabilities, Landlock and seccomp. An attacker who
// takes over the daemon can then do no more than the daemon does, however it was started.
//
// Must never be relied on to be there. If the kernel lacks a mechanism, that is reported, and the daemon serves without
// it.

internal import CKernel
internal import Glibc

/// Which mechanisms of the sandbox are in force, and which directories they leave open.
package struct Sandbox: Sendable {
    /// One mechanism of the sandbox.
    package struct Layer: Equatable, Sendable {
        /// The name: `landlock`, `seccomp`, …
        package let name: String
        /// What is in force; nil if the mechanism is not.
        package let state: String?
        /// Why the mechanism is not in force; nil if it is.
        package let reason: String?
    }

    /// What is permitted below a directory.
    package struct Rights: OptionSet, Sendable {
        package let rawValue: Int32
        package init(rawValue: Int32) { self.rawValue = rawValue }

        /// Files may be opened for reading.
        package static let read = Rights(rawValue: Int32(ck_may_read))
        /// Directories may be listed.
        package static let list = Rights(rawValue: Int32(ck_may_list))
        /// Files may be created, written and truncated.
        package static let write = Rights(rawValue: Int32(ck_may_write))
        /// Files may be removed.
        package static let remove = Rights(rawValue: Int32(ck_may_remove))
    }

    package private(set) var layers: [Layer] = []
    /// The directories below which files can be read; nil if there is no restriction. A directory is identified by
    /// device and inode: another one with the same path is not readable.
    private var readable: Set<FileIdentity>?

    package init() {}

    /// Whether files in the directory at `folder` can be read. Symbolic links are followed.
    package func covers(_ folder: String) -> Bool {
        guard let readable else { return true }
        var parts = folder.split(separator: "/")
        while true {
            if let status = (try? statusFollowing("/" + parts.joined(separator: "/"))) ?? nil,
                readable.contains(status.identity)
            {
                return true
            }
            if parts.popLast() == nil { return false }
        }
    }

    package mutating func note(_ name: String, _ state: String) {
        layers.append(Layer(name: name, state: state, reason: nil))
    }

    package mutating func note(_ name: String, missing reason: String) {
        layers.append(Layer(name: name, state: nil, reason: reason))
    }

    private mutating func put(_ name: String, _ body: @autoclosure () throws(Failure) -> String) {
        do throws(Failure) { note(name, try body()) } catch { note(name, missing: error.description) }
    }

    // MARK: The mechanisms

    /// Gives up every capability except `CAP_DAC_READ_SEARCH`, which opens key files. It is kept only if the process
    /// has it. An executed program would get no capability. Calls `prctl(2)` and `capset(2)`.
    package mutating func keepOneCapability() {
        put("capabilities", try Self.keepOneCapability())
    }

    private static func keepOneCapability() throws(Failure) -> String {
        _ = try succeed(ck_keep_capabilities(1 << UInt64(ck_cap_dac_read_search)), "capset")
        return try Privileges.canReadAnyFile() ? "dac_read_search" : "none"
    }

    /// Restricts files with landlock(7): outside of `folders` none can be opened, created, changed or removed, and
    /// nothing can be executed. A folder that cannot be opened is skipped, and is outside. Signals are left to
    /// ``restrictCalls()``: Landlock would forbid those too that the kernel sends to the children when the process ends.
    /// Calls `landlock_restrict_self(2)`.
    /// - Parameter keepsAbstractSockets: whether the process may still connect to abstract Unix sockets of others.
    package mutating func restrictFiles(_ folders: [(path: String, rights: Rights)], keepsAbstractSockets: Bool) {
        var covered: Set<FileIdentity> = []
        let keeps = ck_keeps_signals + (keepsAbstractSockets ? ck_keeps_abstract_sockets : 0)
        put("landlock", try Self.restrictFiles(folders, keeps, &covered))
        if layers.last?.state != nil { readable = covered }
    }

    private static func restrictFiles(
        _ folders: [(path: String, rights: Rights)], _ keeps: Int, _ covered: inout Set<FileIdentity>
    ) throws(Failure) -> String {
        let version = try succeed(ck_landlock_version(), "landlock_create_ruleset")
        let ruleset = try Descriptor.opened(
            ck_landlock_ruleset(version, 0, Int32(keeps)), by: "landlock_create_ruleset")
        for (path, rights) in folders {
            let handle = PathCall.openTarget(path)
            if handle < 0 { continue }
            let folder = Descriptor(taking: handle)
            let isIn = ck_landlock_allow(ruleset.number, version, folder.number, rights.rawValue) >= 0
            if isIn, rights.contains(.read) { covered.insert(try folder.status().identity) }
        }
        _ = try succeed(ck_landlock_restrict(ruleset.number), "landlock_restrict_self")
        return "version \(version)"
    }

    /// Permits only the system calls that the daemon needs while it serves (seccomp(2)).
    package mutating func restrictCalls() {
        put("seccomp", try Self.restrictCalls())
    }

    private static func restrictCalls() throws(Failure) -> String {
        try restrictCallsOfThread()
        return "on"
    }

    /// The same for the thread that calls it: each thread has a filter of its own.
    package static func restrictCallsOfThread() throws(Failure) {
        _ = try succeed(ck_seccomp_restrict(0), "seccomp")
    }

    /// For a thread of the process that opens keys: as ``restrictCallsOfThread()``. It may also watch directories,
    /// and make files in memory.
    package static func restrictCallsOfThreadToOpening() throws(Failure) {
        _ = try succeed(ck_seccomp_restrict(1), "seccomp")
    }

    /// For the process that signs, before it starts a thread: no file and no directory can be opened. If the kernel has no
    /// Landlock, the system calls that are permitted do not open anything either.
    package static func denyFiles() {
        var covered: Set<FileIdentity> = []
        _ = try? restrictFiles([], 0, &covered)
    }

    /// For the process that signs: only the system calls are permitted that answer requests, to all its threads.
    package static func restrictToSigning() throws(Failure) { _ = try succeed(ck_seccomp_signing(), "seccomp") }

    /// For a helper process that only reads: forbids it to write or execute files.
    package static func restrictToReading() {
        let version = ck_landlock_version()
        guard version > 0 else { return }
        do throws(Failure) {
            let ruleset = try Descriptor.opened(
                ck_landlock_ruleset(version, 1, Int32(ck_keeps_abstract_sockets)), by: "landlock_create_ruleset")
            _ = ck_landlock_restrict(ruleset.number)
        } catch {
            // The helper goes on without Landlock, because it has few rights anyway.
        }
    }
}
