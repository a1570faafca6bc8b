// Standard output and standard error, without buffering.
//
// Must never be written to by a library target. Only the programs print.

internal import CKernel
internal import Glibc

/// Standard output and standard error.
package enum StandardStream: Int32, Sendable {
    case output = 1
    case error = 2

    /// Writes the text and a line feed with one `write(2)`, so that lines of several programs do not mix. An error is
    /// ignored, because there is no other place to report it.
    package func writeLine(_ line: String) { try? writeAll(Array((line + "\n").utf8)) }

    /// Writes all bytes. Calls `write(2)`.
    package func writeAll(_ bytes: Span<UInt8>) throws(Failure) {
        // Nothing in here may close the stream.
        let descriptor = Descriptor(taking: rawValue)
        do throws(Failure) { try descriptor.writeAll(bytes) } catch {
            _ = descriptor.release()
            throw error
        }
        _ = descriptor.release()
    }

    /// Writes all bytes of an array.
    package func writeAll(_ bytes: [UInt8]) throws(Failure) { try writeAll(bytes.span) }

    /// Whether standard error goes to systemd's journal. `JOURNAL_STREAM` contains the device and inode of that stream.
    /// A child process inherits the variable even if its standard error is another one, so they are compared. Calls
    /// `fstat(2)`, once.
    package static let errorIsTheJournal: Bool = {
        guard let journal = environment("JOURNAL_STREAM") else { return false }
        guard let status = error.status, status.kind == .socket else { return false }
        return journal == "\(status.device):\(status.inode)"
    }()

    /// What the stream leads to. Nil if the kernel does not tell. Calls `fstat(2)`.
    package var status: FileStatus? {
        // Nothing in here may close the stream.
        let descriptor = Descriptor(taking: rawValue)
        let status = try? descriptor.status()
        _ = descriptor.release()
        return status
    }

    package var isTerminal: Bool { isatty(rawValue) == 1 }

    /// Opens `/dev/null` for each of the descriptors 0 to 2 that is closed. Otherwise a file that is opened later would
    /// become a standard stream. Must be called before anything else. If it fails, it ends the process, because there
    /// is no way to report the error.
    package static func openClosedOnes() {
        if ck_open_closed_streams() < 0 { exit(EX_OSERR) }
    }
}

/// Standard error, for lines that must never wait for a reader.
///
/// A write to a terminal or a pipe blocks if there is not enough room for the line. Whether it blocks is a flag of the
/// open file description, which other programs share. So this class opens a description of its own if it can.
package final class PromptErrorStream {
    /// Stays open until the process ends.
    private let number: Int32
    /// Whether only a part of the last line was written.
    private var isLineCut = false

    /// The longest line in bytes, its line feed included, that a pipe takes whole or not at all (`PIPE_BUF`).
    private static let longestLine = 4096

    /// Must be called before the process changes its account, because the new account may not be allowed to open
    /// standard error. Calls `open(2)` on `/proc/self/fd/2`.
    package init() {
        let own = ck_open_stream_again(StandardStream.error.rawValue)
        number = own >= 0 ? own : StandardStream.error.rawValue
    }

    /// Writes the text and a line feed if that is possible at once. Returns false if it is not. A line that is too long
    /// is cut.
    package func offerLine(_ line: String) -> Bool {
        let feed = [UInt8(ascii: "\n")]
        let start = isLineCut ? feed : []
        let bytes = start + line.utf8.prefix(Self.longestLine - 1 - start.count) + feed
        // Safety: the call reads as many bytes as the array holds.
        let count = unsafe bytes.withUnsafeBytes { bytes in
            unsafe Int(ck_write_at_once(number, bytes.baseAddress, bytes.count))
        }
        if count > 0 { isLineCut = count < bytes.count }
        return count == bytes.count
    }
}

/// Ends the process with `status`. Calls `exit(3)`.
package func exitProcess(_ status: Int32) -> Never { exit(status) }
