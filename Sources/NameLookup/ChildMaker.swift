// Makes children for the daemon while it serves: the process that looks up names, if that has ended, and those that end with
// what callers sent.
//
// The daemon cannot: its sandbox permits it no child. So a process of its own is forked before the sandbox, which does
// nothing but fork when it is asked. It loads no name service, reads nothing, and has no capability. Must never do
// anything else for the daemon, which might have been taken over.

internal import CKernel
internal import Glibc
internal import Kernel
internal import Synchronization

/// The daemon's side of a child process that makes others.
final class ChildMaker: Sendable {
    enum Kind: UInt8 {
        case nameService = 0x6E
        case disposal = 0x64
    }

    private let socket: Mutex<SeqpacketSocket>
    /// How long it may take.
    private static let patience = Duration.seconds(2)
    /// How many processes may be ending: each may take long.
    private static let mostEnding = 64

    /// Makes the child. Call this while the process has only one thread. Calls `fork(2)`.
    init() throws(Failure) { socket = Mutex(try ChildProcess.make { Self.begin() }) }

    /// A new process, as the end of a socket to it. Nil if there is none in time, if too many have not ended yet, or if the
    /// maker has ended.
    func make(_ kind: Kind) -> SeqpacketSocket? {
        socket.withLock { socket in
            do throws(Failure) {
                // An answer that came too late belongs to no question.
                while let late = try socket.receiveDelivery(limit: 1) { if late.packet.isEmpty { return nil } }
                try socket.send([kind.rawValue])
                guard try waitUntilReadable(socket.descriptor, until: .now.after(Self.patience)) == .ready,
                    var delivery = try socket.receiveDelivery(limit: 1)
                else { return nil }
                switch delivery.first.take() {
                case .some(let end): return SeqpacketSocket(connected: end)
                case .none: return nil
                }
            } catch { return nil }
        }
    }

    // MARK: In the child

    /// The argument with which the program runs as this child and does nothing else.
    static let argument: StaticString = "--child-maker"

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
        var living = 0
        do throws(Failure) {
            while true {
                _ = try waitUntilReadable(socket.descriptor, until: .never)
                guard case .packet = try socket.receive(into: &buffer) else { break }
                living -= ChildProcess.forgetEnded()
                let end: Descriptor?
                switch Kind(rawValue: buffer[0]) {
                case .nameService: end = try ChildProcess.make { NameServiceProcess.serve() }.intoDescriptor()
                case .disposal where living < mostEnding:
                    end = try ChildProcess.make { Disposal.serve() }.intoDescriptor()
                default: end = nil
                }
                if end != nil { living += 1 }
                try socket.send(buffer, with: end)
            }
        } catch {}
        ChildProcess.end(0)
    }
}
