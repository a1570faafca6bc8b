// The program's own streams, without a library between.
//
// Must never be written to by a library target: only the programs print.

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

    package var isTerminal: Bool { isatty(rawValue) == 1 }
}

/// Ends the process with `status`. Calls `exit(3)`.
package func exitProcess(_ status: Int32) -> Never { exit(status) }
