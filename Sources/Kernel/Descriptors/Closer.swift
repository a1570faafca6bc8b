// Closes descriptors in another thread.
//
// Closing can take as long as somebody wants: a TCP socket that lingers, a file on a file system of one's own, a Unix socket
// with either in its queue. Must be used for what comes from people who must not make this process wait, who must ask for
// each of them how many wait already.

internal import CKernel

/// A thread that closes descriptors, one after the other. There can be one in a process.
package final class Closer: Sendable {
    private let pipe: Descriptor

    /// Starts the thread. Calls `pipe2(2)`.
    package init() throws(Failure) { pipe = try Descriptor.opened(ck_start_closing(), by: "pipe2") }

    /// Has the descriptor closed. If more wait for that than can be noted, 8,192 or more, the process ends: a descriptor that
    /// nobody knows of would stay open for ever.
    /// - Parameter account: for whom it is counted until it is closed.
    package func close(_ descriptor: consuming Descriptor, of account: UInt32) {
        if ck_close_elsewhere(pipe.number, descriptor.release(), account) < 0 { ChildProcess.end(71) }
    }

    /// The same for a socket, whose peer notices at once. Calls `shutdown(2)`.
    package func close(_ socket: consuming SeqpacketSocket, of account: UInt32) {
        socket.endBoth()
        close(socket.intoDescriptor(), of: account)
    }

    /// How many of an account's descriptors wait to be closed. A few accounts may be counted together.
    package func waiting(of account: UInt32) -> Int { Int(ck_waiting_to_be_closed(account)) }
}
