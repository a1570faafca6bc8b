// The journal of systemd, told in its native protocol: a datagram is an entry, of FIELD=value lines
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL).
//
// Must never block, let a value end its line and so add a field or an entry, nor be told anything by a
// program whose standard error is not the journal.

internal import CKernel
internal import Glibc

/// How much a line matters, as syslog(3) numbers it.
package enum Priority: Int, Sendable {
    case failure = 3
    case warning = 4
    case information = 6
}

/// journald's socket.
///
/// The descriptor is made once and not connected: each entry goes to whoever listens at the address by then, so that a
/// journald that was restarted is told again. Needs no more than `sendto(2)` after that.
package final class Journal: Sendable {
    private let socket: Descriptor
    private let address: String

    /// A field of an entry. The name is the program's own; the value may come from outside.
    package struct Field: Sendable {
        let name: StaticString
        let value: String

        package init(_ name: StaticString, _ value: some CustomStringConvertible) {
            self.name = name
            self.value = value.description
        }
    }

    /// The journal, where standard error is a stream to it (`JOURNAL_STREAM`, see systemd.exec(5)); nil where it is
    /// not. Calls `fstat(2)` and `socket(2)`.
    package static func ofStandardError() throws(Failure) -> Journal? {
        guard StandardStream.errorIsTheJournal else { return nil }
        return try Journal(at: "/run/systemd/journal/socket")
    }

    /// Another address than journald's is for tests alone.
    init(at address: String) throws(Failure) {
        socket = try Descriptor.opened(ck_datagram_socket(), by: "socket")
        self.address = address
    }

    /// Adds an entry. False where that cannot be done now: nobody listens, or there is no room. Calls `sendto(2)`.
    package func add(_ fields: [Field]) -> Bool {
        let entry = Self.entry(fields)
        let number = socket.number
        // Safety: the call reads a C string and as many bytes as the array holds.
        return unsafe entry.withUnsafeBytes { bytes in
            unsafe ck_send_to(number, address, bytes.baseAddress, bytes.count) >= 0
        }
    }

    /// The datagram. What is not printable ASCII, nor a tab, becomes a question mark: no value has a second line.
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

/// The text with a question mark for all but printable ASCII and tabs, which stand in lines of a policy and in the caret
/// lines under them.
package func plain(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { isPlain($0) ? $0 : "?" }))
}

private func isPlain(_ scalar: Unicode.Scalar) -> Bool { scalar == "\t" || (0x20...0x7E).contains(scalar.value) }
