// A root directory with this project's programs and what they need to run, and nothing else.
//
// Must never leave a mount behind: all of them are in a mount namespace that ends with the program that runs there.

import Foundation
import TestSupport
import Testing

/// A root directory in memory. Each program that runs there has one of its own.
struct Jail {
    /// Where it is mounted, for that program alone.
    private let root: String
    private let hasProc: Bool
    private let shares: [(outside: String, inside: String)]
    private let isReadOnly: Bool

    /// - Parameters:
    ///   - hasProc: whether `/proc` is mounted there.
    ///   - shares: directories and files of the machine that are also there.
    ///   - isReadOnly: whether the shares are mounted read-only.
    init(
        _ folder: TemporaryFolder, hasProc: Bool, shares: [(outside: String, inside: String)], isReadOnly: Bool = false
    ) throws {
        root = try folder.directory("jail")
        (self.hasProc, self.shares, self.isReadOnly) = (hasProc, shares, isReadOnly)
    }

    /// Why the suites of this target need root.
    static let condition: ConditionTrait = .enabled(
        if: isRoot, "needs root: it makes mounts and becomes other accounts")

    /// The directories of a program of this project and of the libraries that it was linked with.
    static func foldersOf(_ program: String) throws -> [String] {
        let path = Program.built(program)
        let linked = try Program.run("/usr/bin/ldd", [path])
        guard linked.status == 0 else { throw Waited(description: "ldd: \(linked.errors)") }
        let libraries = linked.output.matches(of: #/(\/\S+)\/[^\/\s]+ \(/#).map { String($0.1) }
        let own = URL(fileURLWithPath: path).deletingLastPathComponent().path
        return Set(libraries + [own]).sorted()
    }

    /// The command line that runs a program of this project there.
    /// - Parameters:
    ///   - user: the uid and gid to run as.
    ///   - entrance: the program that goes there, with its options. It gets the root directory and the command.
    func command(
        _ program: String, _ arguments: [String], user: UInt32 = 0, entrance: [String]? = nil
    ) throws -> (executable: String, arguments: [String]) {
        let folders = try Self.foldersOf(program).map { [$0, $0, "ro"] }
        let devices = (["/dev/null"] + (hasProc ? ["/proc"] : [])).map { [$0, $0, "rw"] }
        let mounts = folders + devices + shares.map { [$0.outside, $0.inside, isReadOnly ? "ro" : "rw"] }
        // $1 is the root directory. Then come two paths and an option for each mount, an empty word, and the command.
        let script = """
            root=$1; shift
            mount -t tmpfs -o mode=755 jail "$root"
            mkdir "$root/dev" "$root/etc" "$root/tmp"
            while [ -n "$1" ]; do
                if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")"; : >"$root$2"; fi
                mount --bind -o "$3" "$1" "$root$2"
                shift 3
            done
            shift
            exec "$@"
            """
        let entrance = entrance ?? [installed("chroot") ?? "chroot", "--userspec=\(user):\(user)", "--groups="]
        return (
            try #require(installed("unshare")),
            ["--mount", "--propagation", "private", "--", "/bin/sh", "-ec", script, "jail", root]
                + mounts.flatMap(\.self) + [""]
                + entrance + [root, Program.built(program)] + arguments
        )
    }

    /// Runs a program of this project there, and waits until it ends.
    func run(
        _ program: String, _ arguments: [String], user: UInt32 = 0, environment: [String: String] = [:]
    ) throws -> (status: Int32, output: String, errors: String) {
        let (executable, all) = try command(program, arguments, user: user)
        return try Program.run(executable, all, environment: environment)
    }
}
