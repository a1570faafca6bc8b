// Why a file is not handed out.
//
// Must never leave out which path it is about.

internal import Glibc

/// Why a file is not handed out. The description is a sentence for an admin and names the path.
package struct TrustError: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Kind: Equatable, Sendable {
        /// There is no such file.
        case missing
        /// It could not be looked at, or opened.
        case unreadable
        /// Somebody else could have put it there, or it is no regular file.
        case untrusted
        /// The system has no descriptor to spare: the client is told to come again.
        case shortage
        /// It lies where the daemon kept itself from reading when it started.
        case outside
    }
    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }

    /// It was opened and trusted, but a call on it failed.
    package init(unreadable path: String, _ failure: Failure) {
        self.init(.unreadable, failure.on(path).description)
    }

    /// It lies where the process can no longer read.
    package init(outside path: String) {
        self.init(
            .outside,
            "\(path) is in a directory that the daemon did not know when it started, and it keeps itself from reading "
                + "elsewhere: restart it")
    }

    /// The service manager gave this process no credentials.
    package init(missingCredential name: String) {
        self.init(.missing, "\(name) does not exist: $CREDENTIALS_DIRECTORY is not set")
    }

    init(_ failure: Failure, on path: String) {
        switch failure.code {
        case ENOENT: self.init(.missing, "\(path) does not exist")
        case ENOTDIR: self.init(.missing, "\(path) does not exist: what is above it is not a directory")
        case ELOOP: self.init(.untrusted, "\(path) was replaced by a symbolic link just now")
        default: self.init(failure.isShortage ? .shortage : .unreadable, failure.on(path).description)
        }
    }
}

/// The result of system calls on `path`, their failure turned into distrust of it.
func examining<R: ~Copyable>(
    _ path: String, _ body: @autoclosure () throws(Failure) -> R
) throws(TrustError) -> R {
    do { return try body() } catch { throw TrustError(error, on: path) }
}
