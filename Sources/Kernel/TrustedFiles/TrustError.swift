// Why a file is not handed out.
//
// Must never leave out the path that it is about.

internal import Glibc

/// Why a file is not handed out. The description is a sentence for an admin, and contains the path.
package struct TrustError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Kind: Equatable, Sendable {
        /// The file does not exist.
        case missing
        /// The file could not be opened or examined.
        case unreadable
        /// An account that is not trusted could have put the file there, or it is not a regular file.
        case untrusted
        /// The system is short of a resource such as descriptors or memory. The client is told to try again later.
        case shortage
        /// The daemon's sandbox, which was set up at its start, does not permit reading there.
        case outside
        /// A file system that another program or computer serves begins on the path. Only the process that opens keys
        /// goes there. The number is that of the mount, or 0 if the process has to open it for another reason.
        case elsewhere(UInt64)
        /// That process has not opened it yet, or it changes all the time. The client is told to try again soon.
        case late
        /// It is larger than what is copied.
        case oversized
    }
    package let kind: Kind
    package let description: String
    /// What is wrong with an owner or a mode. Nil if it is something else.
    package let distrust: Distrust?

    package init(_ kind: Kind, _ description: String) {
        (self.kind, self.description, distrust) = (kind, description, nil)
    }

    /// The owner or the mode of a file is not trusted.
    init(_ distrust: Distrust) {
        (kind, description, self.distrust) = (.untrusted, distrust.sentence(), distrust)
    }

    /// There is no file at `path`.
    init(missing path: String) { self.init(.missing, "\(path) does not exist\(Self.hint(path))") }

    /// The file was opened and is trusted, but a system call on it failed.
    package init(unreadable path: String, _ failure: Failure) {
        self.init(.unreadable, failure.on(path).description)
    }

    /// A key and its certificate were opened a few times, and each time something changed meanwhile. They may not belong
    /// together.
    package init(changing paths: [String]) {
        self.init(
            .late, "\(paths.joined(separator: " and ")) change, or directories above them, each time they are opened")
    }

    /// The sandbox does not permit reading at this path.
    package init(outside path: String) {
        self.init(
            .outside,
            "\(path) is in a directory that the daemon did not know when it started, and it keeps itself from reading "
                + "elsewhere: restart it")
    }

    /// The process that opens files on such file systems has ended.
    package init(elsewhere path: String) {
        self.init(
            .outside,
            "\(path) is served by another program or computer, and the process that opens such files has ended: restart "
                + "keybrokerd")
    }

    /// The service manager passed no credentials to this process.
    package init(missingCredential name: String) {
        self.init(.missing, "\(name) does not exist: \(Self.noCredentials)")
    }

    /// Why a process has no credentials at all, and what to do.
    package static let noCredentials =
        "$CREDENTIALS_DIRECTORY is not set; if the unit has LoadCredential= or LoadCredentialEncrypted=, restart it: "
        + "systemctl restart keybrokerd"

    init(_ failure: Failure, on path: String) {
        switch failure.code {
        case ENOENT: self.init(missing: path)
        case ENOTDIR: self.init(.missing, "\(path) does not exist: what is above it is not a directory")
        case ELOOP: self.init(.untrusted, "\(path) was replaced by a symbolic link just now")
        case EACCES: self.init(.unreadable, "\(failure.on(path))\(Self.hint(path))")
        default: self.init(failure.isShortage ? .shortage : .unreadable, failure.on(path).description)
        }
    }

    /// What follows if the unit of this process hides the path.
    private static func hint(_ path: String) -> String {
        HiddenFolders.here.explanation(of: path).map { ", probably as \($0)" } ?? ""
    }
}

/// Returns the result of system calls on `path`. Turns their failure into a `TrustError` about that path.
func examining<R: ~Copyable>(
    _ path: String, _ body: @autoclosure () throws(Failure) -> R
) throws(TrustError) -> R {
    do { return try body() } catch { throw TrustError(error, on: path) }
}
