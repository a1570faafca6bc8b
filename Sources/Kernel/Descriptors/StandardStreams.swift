// The program's own streams, without a library between.
//
// Must never be written to by a library target: only the programs print.

internal import CKernel
internal import Glibc

/// Standard output and standard error.
package enum StandardStream: Int32, Sendable {
    case output = 1
    case error = 2

    /// Writes the text and a line feed with one `write(2)`, so that lines of several programs do not mix.
    /// What cannot be written is lost: there is nowhere left to say so.
    package func writeLine(_ line: String) { try? writeAll(Array((line + "\n").utf8)) }

    /// Writes all bytes. Calls `write(2)`.
    package func writeAll(_ bytes: Span<UInt8>) throws(Failure) {
        // The stream is not ours to close.
        let descriptor = Descriptor(taking: rawValue)
        do throws(Failure) { try descriptor.writeAll(bytes) } catch {
            _ = descriptor.release()
            throw error
        }
        _ = descriptor.release()
    }

    /// Writes all of an array.
    package func writeAll(_ bytes: [UInt8]) throws(Failure) { try writeAll(bytes.span) }

    /// Whether standard error is a stream to systemd's journal: `JOURNAL_STREAM` has the numbers of what it is, and is
    /// inherited by those who have another one. Calls `fstat(2)`, once.
    package static let errorIsTheJournal: Bool = {
        guard let journal = environment("JOURNAL_STREAM") else { return false }
        // The stream is not ours to close.
        let descriptor = Descriptor(taking: error.rawValue)
        let status = try? descriptor.status()
        _ = descriptor.release()
        guard let status, status.kind == .socket else { return false }
        return journal == "\(status.device):\(status.inode)"
    }()

    package var isTerminal: Bool { isatty(rawValue) == 1 }

    /// Opens `/dev/null` for each of the descriptors 0 to 2 that is closed, so that nothing else becomes a stream of the
    /// program's. To be called first of all. If it fails the process ends, as nothing can be said then.
    package static func openClosedOnes() {
        if ck_open_closed_streams() < 0 { exit(EX_OSERR) }
    }
}

/// Standard error, for lines that must never wait for a reader.
///
/// A write to a terminal or a pipe waits if it has room for less than the line. Whether it waits belongs to the open
/// file description, which is shared with other programs. So this has one of its own, if it can be had.
package final class PromptErrorStream {
    /// Open until the process ends.
    private let number: Int32
    /// Somebody took a part of the last line.
    private var isLineCut = false

    /// The longest line that a pipe takes whole or not at all (`PIPE_BUF`), its line feed included.
    private static let longestLine = 4096

    /// To be called before the account is changed, which may not open what standard error is. Calls `open(2)` on
    /// `/proc/self/fd/2`.
    package init() {
        let own = ck_open_stream_again(StandardStream.error.rawValue)
        number = own >= 0 ? own : StandardStream.error.rawValue
    }

    /// Writes the text and a line feed if that can be done at once; false if it cannot. A line that is too long
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
