// Which process sent a packet, for clients that send the broker a signal.
//
// Must never be used to decide anything about a caller: the daemon asks the kernel for the peer of a connection.

internal import CKernel
package import Kernel

extension SeqpacketSocket {
    /// From now on, each packet says which process sent it. Calls `setsockopt(SO_PASSCRED)`.
    package borrowing func wantSenders() throws(Failure) {
        _ = try succeed(ck_want_senders(descriptor.withNumber { $0 }), "setsockopt SO_PASSCRED")
    }
}
