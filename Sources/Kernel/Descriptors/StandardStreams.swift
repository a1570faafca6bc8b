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

    /// The longest line that a pipe takes whole or not at all (`PIPE_BUF`), its line feed included.
    private static let longestLine = 4096

    /// Writes the text and a line feed if that can be done at once; false if it cannot. A line that is too long
    /// is cut.
    package func offerLine(_ line: String) -> Bool {
        let bytes = Array(line.utf8.prefix(Self.longestLine - 1)) + [UInt8(ascii: "\n")]
        // Safety: the call reads as many bytes as the array holds.
        return unsafe bytes.withUnsafeBytes { bytes in
            unsafe Int(ck_write_at_once(rawValue, bytes.baseAddress, bytes.count)) == bytes.count
        }
    }

    package var isTerminal: Bool { isatty(rawValue) == 1 }
}

/// Ends the process with `status`. Calls `exit(3)`.
package func exitProcess(_ status: Int32) -> Never { exit(status) }
