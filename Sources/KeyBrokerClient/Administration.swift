// What an administrator asks of the broker: how it is, and to read its policy anew.
//
// Must never send a signal to a process that did not prove to be the broker.

internal import Kernel
package import Wire
internal import ClientKernel

extension KeyBroker {
    /// What the broker says of itself. Told to root, and to the account that the broker runs as.
    package func status(waitingUpTo wait: Duration = .zero) throws(KeyBrokerError) -> StatusPage {
        let patience = Deadline(wait, calledOffBy: nil)
        var whole = StatusPage()
        var pages = 0
        var last: KeyName?
        while true {
            let page = try exchange(.status(after: last), patience).answer.statusPage()
            whole.append(page)
            pages += 1
            guard let next = page.next else { return whole }
            // Names that only go up come to an end.
            if let last, next <= last { throw .protocolViolation("the pages of the status are not in their order") }
            guard pages < Limits.statusPages else {
                throw .protocolViolation("the status has more than \(Limits.statusPages) pages")
            }
            last = next
        }
    }

    /// Has the broker read its policy anew, and returns the first page of its status once it has: whether it
    /// took it stands there. Calls `pidfd_send_signal(2)` with `SIGHUP`.
    package func reload() throws(KeyBrokerError) -> StatusPage {
        let pid = try broker()
        let process = try calling(try ProcessHandle(pid: pid))
        // Connected and asked after the handle was opened: an answer that was sent before cannot come here. Its sender
        // had the number then, and while the handle's process runs, nobody else has it.
        let patience = Deadline(.zero, calledOffBy: nil)
        let connection = try Connection(to: socketPath)
        try connection.wantSenders()
        let answer = try connection.answer(to: .status(after: nil), patience)
        guard answer.sender == pid, process.isRunning else {
            throw .notReloaded("the broker was restarted at this moment; it has read its policy anew by that")
        }
        let before = try answer.statusPage().reloads
        try calling(try process.hangUp())
        return try firstPage(on: connection, afterReload: before)
    }

    /// The process that answers as the broker. The kernel says which, with a number that is good here, also where the
    /// broker lives in another pid namespace, or a service manager made the socket.
    private func broker() throws(KeyBrokerError) -> Int32 {
        let connection = try Connection(to: socketPath)
        try connection.wantSenders()
        let answer = try connection.answer(to: .status(after: nil), Deadline(.zero, calledOffBy: nil))
        _ = try answer.statusPage()
        guard let pid = answer.sender else {
            throw .notReloaded(
                "the broker's process cannot be seen from here, as it lives in another container; send it SIGHUP there")
        }
        return pid
    }

    /// The first page of the status once the number of reloads is no longer `before`.
    private func firstPage(
        on connection: borrowing Connection, afterReload before: UInt64
    ) throws(KeyBrokerError) -> StatusPage {
        let patience = Deadline(.zero, calledOffBy: nil)
        // What is read from now on was read after this call began: a policy that was read before counted
        // in `before` already.
        var pause = Deadline.firstPause
        let deadline = patience.answerEnd
        while true {
            let answer = try connection.answer(to: .status(after: nil), patience)
            if case .busy(_, let milliseconds) = answer.reply {
                pause = .milliseconds(milliseconds)
            } else {
                let page = try answer.statusPage()
                if page.reloads != before { return page }
            }
            guard Instant.now < deadline else {
                throw .noAnswer(socket: socketPath, after: Limits.reply)
            }
            _ = try calling(try Kernel.pause(until: min(Instant.now.after(pause), deadline)))
            pause = min(pause * 2, Deadline.longestPause)
        }
    }
}

extension StatusPage {
    /// How many reloads there were, taken or not.
    fileprivate var reloads: UInt64 { (number(.reloadsApplied) ?? 0) &+ (number(.reloadsRejected) ?? 0) }
}

extension ReceivedReply {
    fileprivate borrowing func statusPage() throws(KeyBrokerError) -> StatusPage {
        switch reply {
        case .status(let page): return page
        case .denied(let decision): throw .notAdministrator(decision: decision)
        default: throw error(asking: nil)
        }
    }
}
