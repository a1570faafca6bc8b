// What the loop does by the clock: ends of idle connections, records of what was folded, looks at unread replies, signs
// of life, another try of a faulty policy.
//
// Must never come between a decision and its reply.

internal import Broker
internal import Kernel

extension EventLoop {
    /// How long until something is due, or nil if nothing is.
    func untilNextChore() -> Duration? {
        let dues = [
            connections.nextDue, broker.nextSettling, acceptAgain, nextSignOfLife, credentials?.nextDue,
            broker.nextTryOfPolicy,
        ].compactMap(\.self)
        guard let next = dues.min(), next != .never else { return nil }
        return Instant.now.until(next)
    }

    func doChores() {
        let now = Instant.now
        for connection in connections.idle(now) {
            do throws(Failure) { try perform(connection.state.step(on: .idle), on: connection) } catch {
                connections.leave(connection)
            }
        }
        connections.look(now)
        credentials?.doChores(now, commit: commitEvents)
        if let again = acceptAgain, again <= now { resumeAccepting() }
        tryPolicyAgain(now)
        if let due = nextSignOfLife, due <= now {
            manager.isAlive()
            nextSignOfLife = manager.lifeSignInterval.map { now.after($0) }
        }
    }

    func pauseAccepting(until instant: Instant) {
        acceptAgain = instant
        setAccepting(.hangUp)
    }

    func resumeAccepting() {
        acceptAgain = nil
        setAccepting(.reading)
    }

    func setAccepting(_ interest: Poller.Interest) {
        do throws(Failure) {
            try poller.change(listener.socket.descriptor, to: interest, as: Token.listener)
        } catch { acceptTrouble.log("the socket could not be watched: \(error)") }
    }
}
