// The end of the daemon: what was asked before the stop is answered, and signing channels end.
//
// Must never lose a request that has arrived, nor wait for long.

internal import Broker
internal import Kernel
internal import Wire

extension EventLoop {
    /// Answers what has arrived before the stop, and waits a moment for clients that were admitted but had no time to
    /// ask, so that no request is lost. If the service manager owns the socket, new callers wait in it for the next
    /// daemon.
    func drain() throws(Failure) {
        if listener.outlivesTheDaemon { pauseAccepting(until: .never) }
        credentials?.stopAccepting()
        let end = Instant.now.after(Limits.drain)
        try turn(wait: .zero)
        while connections.hasSilent || credentials?.isSending == true || broker.isAskingSigner, Instant.now < end {
            try turn(wait: Instant.now.until(end))
        }
        // The log says how often each channel was used.
        broker.endChannels()
        let last = end.after(Limits.drain)
        while broker.hasChannels, Instant.now < last { try turn(wait: Instant.now.until(last)) }
    }

    /// Records the end, and lets go of all that others may want.
    func end() {
        credentials?.stop()
        do throws(Failure) { try broker.stop() } catch {
            logger.log("the end could not be recorded: \(error)", .failure)
        }
        listener.removeSocket()
        // At the end of this process the kernel closes what callers sent, however long that takes. So others get it.
        connections.endAll()
        let end = Instant.now.after(Limits.drain)
        closer?.finish(until: end)
        manager.finish(until: end)
    }
}
