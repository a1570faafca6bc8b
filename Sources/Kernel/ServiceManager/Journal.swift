// Writes to systemd's journal in its native protocol: a datagram is an entry, and consists of FIELD=value lines
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
//
// Must never block. Must never let a value contain a line feed, which would add a field or an entry. Must never be used
// by a program whose standard error is not the journal.

internal import CKernel
internal import Glibc

/// The priority of a line, with the numbers of syslog(3).
package enum Priority: Int, Sendable {
    case failure = 3
    case warning = 4
    case information = 6
}

/// The socket of journald.
///
/// The socket is made once and never connected: each datagram is sent to the address. So entries also reach a journald
/// that was restarted. After the start, this needs only `sendto(2)`.
package final class Journal: Sendable {
    private let socket: Descriptor
    private let address: String

    /// A field of an entry. The name comes from the program, the value may come from outside.
    package struct Field: Sendable {
        let name: StaticString
        let value: String

        package init(_ name: StaticString, _ value: some CustomStringConvertible) {
            self.name = name
            self.value = value.description
        }
    }

    /// The journal if standard error is a stream to it (`JOURNAL_STREAM`, see systemd.exec(5)), else nil. Calls
    /// `fstat(2)` and `socket(2)`.
    package static func ofStandardError() throws(Failure) -> Journal? {
        guard StandardStream.errorIsTheJournal else { return nil }
        return try Journal(at: "/run/systemd/journal/socket")
    }

    /// - Parameter address: the path of journald's socket. Only tests use another one.
    init(at address: String) throws(Failure) {
        socket = try Descriptor.opened(ck_datagram_socket(), by: "socket")
        self.address = address
    }

    /// Adds an entry. Returns false if that is not possible now: nobody listens, or the queue is full. Calls
    /// `sendto(2)`.
    package func add(_ fields: [Field]) -> Bool {
        let entry = Self.entry(fields)
        let number = socket.number
        // Safety: the call reads a C string and as many bytes as the array holds.
        return unsafe entry.withUnsafeBytes { bytes in
            unsafe ck_send_to(number, address, bytes.baseAddress, bytes.count) >= 0
        }
    }

    /// The datagram. Each character except printable ASCII and tabs becomes a question mark, so that a value is one
    /// line.
    static func entry(_ fields: [Field]) -> [UInt8] {
        var bytes: [UInt8] = []
        for field in fields {
            bytes.append(contentsOf: "\(field.name)=".utf8)
            bytes.append(contentsOf: plain(field.value).utf8)
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }
}

/// The text with a question mark for each character except printable ASCII and tabs. Tabs are kept because lines of a
/// policy, and the caret lines below them, contain them.
package func plain(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { isPlain($0) ? $0 : "?" }))
}

private func isPlain(_ scalar: Unicode.Scalar) -> Bool { scalar == "\t" || (0x20...0x7E).contains(scalar.value) }
