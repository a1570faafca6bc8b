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
        let patience = Deadline(.zero, calledOffBy: nil)
        let connection = try Connection(to: socketPath)
        // The kernel says who answers, with a number that is good here, also where the broker lives in another
        // pid namespace, or a service manager made the socket.
        try connection.wantSenders()
        let first = try connection.answer(to: .status(after: nil), patience)
        let before = try first.statusPage().reloads
        guard let pid = first.sender else {
            throw .notReloaded(
                "the broker's process cannot be seen from here, as it lives in another container; send it SIGHUP there")
        }
        let process = try calling(try ProcessHandle(pid: pid))
        // It answers once more: so the handle, which is older than that answer, is of the one who answers.
        guard try connection.answer(to: .status(after: nil), patience).sender == pid else {
            throw .notReloaded("the broker was restarted at this moment; it has read its policy anew by that")
        }
        try calling(try process.hangUp())
        // What is read from now on was read after this call began: a policy that was read before counted
        // in `before` already.
        var pause = Deadline.firstPause
        let deadline = Instant.now.after(Limits.reply)
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
            _ = try calling(try Kernel.pause(until: Instant.now.after(pause)))
            pause = min(pause * 2, Deadline.longestPause)
        }
    }
}

extension StatusPage {
    /// How many reloads there were, taken or not.
    fileprivate var reloads: UInt64 { (number("reloads-applied") ?? 0) &+ (number("reloads-rejected") ?? 0) }
}

extension Answer {
    fileprivate borrowing func statusPage() throws(KeyBrokerError) -> StatusPage {
        switch reply {
        case .status(let page): return page
        case .denied(let decision): throw .notAdministrator(decision: decision)
        default: throw error(asking: nil)
        }
    }
}
