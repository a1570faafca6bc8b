// What an administrator can ask of the broker: its status, and to reload its policy. A line of the policy can permit
// others the status.
//
// Must never send a signal to a process that has not proved to be the broker.

internal import Kernel
package import Wire
internal import ClientKernel

extension KeyBroker {
    /// The status of the broker. It answers only root, the account that it runs as, and whom the policy permits it.
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
            // If each name must be larger than the last, a lying broker cannot send pages for ever.
            if let last, next <= last { throw .protocolViolation("the pages of the status are not in their order") }
            guard pages < Limits.statusPages else {
                throw .protocolViolation("the status has more than \(Limits.statusPages) pages")
            }
            last = next
        }
    }

    /// Makes the broker reload its policy. Returns the first page of the status after the reload, which says whether
    /// the new policy was accepted. Calls `pidfd_send_signal(2)` with `SIGHUP`.
    package func reload() throws(KeyBrokerError) -> StatusPage {
        let pid = try broker()
        let process = try calling(try ProcessHandle(pid: pid))
        // This connection is made after the pidfd was opened, so the answer cannot be an older one. When its sender
        // answered, it had this pid. As long as the process of the pidfd runs, no other process can have that pid.
        let patience = Deadline(.zero, calledOffBy: nil)
        let connection = try Connection(to: socketPath)
        try connection.wantSenders()
        let answer = try connection.answer(to: .status(after: nil), patience)
        guard answer.sender == pid, process.isRunning else {
            throw .notReloaded("the broker was restarted at this moment; it has read its policy anew by that")
        }
        let before = try answer.statusPage()
        try calling(try process.hangUp())
        return try firstPage(on: connection, afterReload: before)
    }

    /// The process that answers as the broker. The kernel reports its pid as seen from here. That works even if the
    /// broker is in another pid namespace, or if a service manager created the socket.
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

    /// The first page of the status as soon as it has the result of a reload that began after `before`, which was read
    /// before the signal was sent.
    private func firstPage(
        on connection: borrowing Connection, afterReload before: StatusPage
    ) throws(KeyBrokerError) -> StatusPage {
        let patience = Deadline(.zero, calledOffBy: nil)
        var pause = Deadline.firstPause
        var deadline = patience.answerEnd
        let longest = Instant.now.after(Limits.reload)
        while true {
            let answer = try connection.answer(to: .status(after: nil), Deadline(.zero, calledOffBy: nil))
            if case .busy(_, let milliseconds) = answer.reply {
                pause = .milliseconds(milliseconds)
            } else {
                let page = try answer.statusPage()
                if page.hasResult(ofReloadAfter: before) { return page }
                // The name service may take its time.
                if page.isReloading { deadline = min(Instant.now.after(Limits.reply), longest) }
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
    /// The number of reloads, accepted or rejected.
    private var reloads: UInt64 { (number(.reloadsApplied) ?? 0) &+ (number(.reloadsRejected) ?? 0) }

    /// Whether the broker is reading its policy.
    fileprivate var isReloading: Bool { values(.reload).first == "running" }

    /// Whether the last result is that of a reload that began after an earlier page. One that was running by then may
    /// have read the files before they were changed.
    fileprivate func hasResult(ofReloadAfter before: StatusPage) -> Bool {
        // A broker of version 0.1.0 did nothing else while it read its policy, and sends no such numbers.
        guard let begun = before.number(.reloadsBegun), let last = number(.lastReloadNumber) else {
            return reloads != before.reloads
        }
        return last > begun
    }
}

extension ReceivedReply {
    borrowing func statusPage() throws(KeyBrokerError) -> StatusPage {
        switch reply {
        case .status(let page): return page
        case .denied(let decision): throw .notAdministrator(decision: decision)
        default: throw error(asking: nil)
        }
    }
}
