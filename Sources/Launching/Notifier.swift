// Tells the command that its files have changed.
//
// Must never send a signal that would end a command which is not prepared for it. Must never run two commands of
// --on-rotate-run at a time, nor one without an end.

internal import ClientKernel
internal import Kernel
internal import Wire

/// What tells the command of a rotation.
final class Notifier {
    private let notice: LaunchOptions.Notice
    private let service: Service
    private let process: Aside
    private let note: (String) -> Void
    /// The command has not been told yet. The time is when to try.
    private var pending: Instant?
    private var pendingSince: Instant?
    private var saidThatItWaits = false
    /// Since when it cannot be seen whether the command is prepared. Nil if that was seen in the last look.
    private var unseenSince: Instant?
    private var running: (command: RunningCommand, until: Instant)?

    init(_ notice: LaunchOptions.Notice, _ service: Service, _ process: Aside, noting note: @escaping (String) -> Void)
    {
        self.notice = notice
        self.service = service
        self.process = process
        self.note = note
    }

    /// The number of the descriptor to wait for, and when to call ``advance()`` in any case.
    var number: Int32? { running?.command.withNumber { $0 } }
    var due: Instant? { running.map(\.until) ?? pending }

    /// The files have changed.
    func filesHaveChanged() {
        let now = Instant.now
        pending = now
        pendingSince = pendingSince ?? now
    }

    /// Does what can be done without waiting.
    func advance() {
        look()
        guard running == nil, let time = pending, time <= Instant.now else { return }
        switch notice {
        case .signal(let signal): send(signal)
        case .command(let command):
            (pending, pendingSince) = (nil, nil)
            do throws(Failure) {
                running = (try process.start(command), Instant.now.after(Limits.rotationCommand))
            } catch {
                note("the command of --on-rotate-run cannot be run: \(error)")
            }
        }
    }

    /// The command has ended: what runs because of a rotation ends too.
    func end() { running?.command.kill() }

    private func send(_ signal: Signal) {
        let now = Instant.now
        let isPrepared = isPrepared(for: signal, now)
        guard isPrepared == true else {
            pending = now.after(Limits.notExpectedLook)
            guard !saidThatItWaits, let since = pendingSince, since.after(Limits.saidTrouble) <= now else { return }
            saidThatItWaits = true
            note("the key has changed, but " + (isPrepared == nil ? isHidden(signal) : isNotHandled(signal)))
            return
        }
        (pending, pendingSince, saidThatItWaits) = (nil, nil, false)
        do throws(Failure) { try service.handle.send(signal) } catch {
            note("\(signal) cannot be sent to process \(service.pid): \(error)")
        }
    }

    /// Whether the signal does not end the command. Nil while that cannot be seen: the process may still be starting, or not be
    /// the command yet. After the time that services have to start, it is taken for prepared.
    private func isPrepared(for signal: Signal, _ now: Instant) -> Bool? {
        if let isExpected = signal.isExpected(by: service.pid) {
            unseenSince = nil
            return isExpected
        }
        let since = unseenSince ?? now
        unseenSince = since
        return since.after(Limits.unseenStart) <= now ? true : nil
    }

    private func isNotHandled(_ signal: Signal) -> String {
        "\(signal) would end the command, as process \(service.pid) does not handle it; it is sent as soon as it does "
            + "(a shell that waits for the real command is to use exec)"
    }

    private func isHidden(_ signal: Signal) -> String {
        "/proc does not show whether process \(service.pid) handles \(signal); it is sent as soon as that is seen, or after "
            + "\(Limits.unseenStart.wholeSeconds) seconds"
    }

    /// Looks whether the command of --on-rotate-run has ended, or has to.
    private func look() {
        guard let (command, until) = running else { return }
        if let end = command.end() {
            running = nil
            if !end.isEmpty { note("the command of --on-rotate-run did not succeed: \(end)") }
        } else if until <= Instant.now {
            note(
                "the command of --on-rotate-run is ended: it has run for "
                    + "\(Limits.rotationCommand.wholeSeconds) seconds")
            command.kill()
            // Its end follows.
            running?.until = .never
        }
    }
}

/// The process of the command.
final class Service {
    let pid: Int32
    let handle: ProcessHandle

    /// - Parameter pid: that of this process, which will be the command's.
    init(pid: Int32) throws(Failure) {
        self.pid = pid
        handle = try ProcessHandle(pid: pid)
    }
}
