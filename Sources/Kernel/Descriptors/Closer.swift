// Closes descriptors in another thread.
//
// Closing can take as long as somebody wants: a TCP socket that lingers, a file on a file system of one's own, a Unix socket
// with either in its queue. Must be used for what comes from people who must not make this process wait.

internal import CKernel

/// A thread that closes descriptors, one after the other.
package final class Closer: Sendable {
    private let pipe: Descriptor

    /// Starts the thread. Calls `pipe2(2)`.
    package init() throws(Failure) { pipe = try Descriptor.opened(ck_start_closing(), by: "pipe2") }

    /// Has the descriptor closed. If more than 16,384 wait for that, it stays open.
    package func close(_ descriptor: consuming Descriptor) {
        _ = ck_close_elsewhere(pipe.number, descriptor.release())
    }

    /// The same for a socket, whose peer notices at once. Calls `shutdown(2)`.
    package func close(_ socket: consuming SeqpacketSocket) {
        socket.endBoth()
        close(socket.intoDescriptor())
    }
}
