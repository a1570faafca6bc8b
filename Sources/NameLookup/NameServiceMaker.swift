// Makes the process that looks up names again if that has ended.
//
// The daemon cannot: its sandbox permits it no child. So a process of its own is forked before the sandbox, which does
// nothing but fork when it is asked. It loads no name service, reads nothing, and has no capability. Must never do
// anything else for the daemon, which might have been taken over.

internal import CKernel
internal import Glibc
internal import Kernel

/// The daemon's side of a child process that makes others.
struct NameServiceMaker: ~Copyable, Sendable {
    private let socket: SeqpacketSocket
    /// How long it may take.
    private static let patience = Duration.seconds(2)

    /// Makes the child. Call this while the process has only one thread. Calls `fork(2)`.
    init() throws(Failure) { socket = try ChildProcess.make { Self.begin() } }

    /// A new process that looks up names, as the end of a socket to it. Nil if there is none in time, or the maker has
    /// ended.
    borrowing func make() -> SeqpacketSocket? {
        do throws(Failure) {
            // An answer that came too late belongs to no question.
            while let late = try socket.receiveDelivery(limit: 1) { if late.packet.isEmpty { return nil } }
            try socket.send([UInt8(ascii: "m")])
            guard try waitUntilReadable(socket.descriptor, until: .now.after(Self.patience)) == .ready,
                var delivery = try socket.receiveDelivery(limit: 1)
            else { return nil }
            switch delivery.first.take() {
            case .some(let end): return SeqpacketSocket(connected: end)
            case .none: return nil
            }
        } catch { return nil }
    }

    // MARK: In the child

    /// The argument with which the program runs as this child and does nothing else.
    static let argument: StaticString = "--name-service-maker"

    private static func begin() -> Never {
        NameServiceProcess.executeAgainIfNotHarmless(argument)
        serve()
    }

    /// Makes processes until the parent has gone. Must never start with a capability.
    static func serve() -> Never {
        ChildProcess.setName("keybrokerd-make")
        guard Privileges.giveUpCapabilities() else { ChildProcess.end(1) }
        Sandbox.restrictToReading()
        let socket = ChildProcess.takeEnd()
        var buffer: [UInt8] = [0]
        do throws(Failure) {
            while true {
                _ = try waitUntilReadable(socket.descriptor, until: .never)
                guard case .packet = try socket.receive(into: &buffer) else { break }
                ChildProcess.forgetEnded()
                let end: Descriptor? = try ChildProcess.make { NameServiceProcess.serve() }.intoDescriptor()
                try socket.send(buffer, with: end)
            }
        } catch {}
        ChildProcess.end(0)
    }
}
