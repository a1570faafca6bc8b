// One credential on its way to the service manager.
//
// Must never block, or send a byte before the record of the grant is in the log.

internal import Broker
internal import Kernel
internal import Wire

final class CredentialTransfer {
    /// The number by which the poller knows the connection. It is never used again.
    let number: UInt64
    private(set) var connection: CredentialConnection
    /// Closes the connection.
    private let closer: Closer?
    let credential: Credential
    /// When it is given up.
    let end: Instant
    /// True if the poller watches the connection.
    var isWatched = false
    /// The file that is being sent, how much of it was sent, and whether a line feed comes before it.
    private var index = 0, offset = 0, owesLineFeed = false

    enum Progress: Equatable {
        case done
        /// The peer has to read first.
        case waits
        case failed(String)
    }

    init(
        number: UInt64, _ connection: consuming CredentialConnection, _ credential: Credential, closedBy closer: Closer?
    ) {
        self.closer = closer
        self.number = number
        self.connection = connection
        self.credential = credential
        end = Instant.now.after(Limits.credential)
    }

    deinit { connection.end(by: closer) }

    /// Sends as much as the peer has room for.
    func proceed() -> Progress {
        do throws(Failure) {
            while index < credential.files.count {
                if owesLineFeed { try connection.sendLineFeed() }
                owesLineFeed = false
                if let fault = try send(credential.files[index]) { return .failed(fault) }
                (index, offset, owesLineFeed) = (index + 1, 0, true)
            }
            for file in credential.files where try !file.isAsGranted() {
                return .failed("a file was changed while it was sent")
            }
            return .done
        } catch {
            return error.code == Failure.wouldBlock ? .waits : .failed("\(error)")
        }
    }

    /// Sends the rest of a file, as long as it was when it was granted. Returns what is wrong with the file, if anything
    /// is. Throws if the peer has no room now, or has gone.
    private func send(_ part: CredentialFile) throws(Failure) -> String? {
        let size = part.file.status.size
        while offset < size {
            let sent = try connection.send(part.descriptor, at: offset, count: size - offset)
            if sent == 0 { return "\(part.file.path) became shorter while it was sent: \(offset) of \(size) bytes" }
            offset += sent
        }
        return nil
    }
}
