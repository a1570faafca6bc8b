// What the loop does by the clock: ends of idle connections, records of what was folded, looks at unread replies, signs
// of life, the steps of a reload, another try of a faulty policy.
//
// Must never come between a decision and its reply.

internal import Audit
internal import Broker
internal import Kernel
internal import Keys
internal import Wire

extension EventLoop {
    /// How long until something is due, or nil if nothing is.
    func untilNextChore() -> Duration? {
        var next = connections.nextDue
        func note(_ due: Instant?) { if let due { next = min(next, due) } }
        note(broker.nextSettling)
        note(acceptAgain)
        note(nextSignOfLife)
        note(credentials?.nextDue)
        note(nextReload)
        note(opener.nextForgetting)
        guard next != .never else { return nil }
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
        connections.readAgain(now)
        credentials?.doChores(now, commit: commitEvents)
        if let again = acceptAgain, again <= now { resumeAccepting() }
        if let due = opener.nextForgetting, due <= now { opener.forgetOld(now) }
        goOnReloading(now)
        tryPolicyAgain(now)
        if let due = nextSignOfLife, due <= now {
            manager.isAlive()
            nextSignOfLife = manager.lifeSignInterval.map { now.after($0) }
        }
    }

    /// Goes on in the new file if the audit log was rotated, so that no rotation has to find this process. It comes
    /// before anything of a turn is decided: nothing may be staged.
    func followLog() {
        // If it cannot be written, the file may have been rotated away and removed: it is looked for each time.
        guard turnBegan >= lookAtLog || !broker.logIsWritten else { return }
        lookAtLog = turnBegan.after(Limits.logLook)
        guard broker.logIsReplaced else { return }
        reopenLog { self.logTrouble.log($0) }
    }

    /// - Parameter trouble: says that the file that is there now cannot be the log.
    func reopenLog(trouble: (String) -> Void) {
        do throws(LogError) {
            if try broker.reopenLog() { logger.log("goes on in a new audit log", .information) }
        } catch { trouble("the audit log is not reopened, and the old file is written on: \(error)") }
    }

    /// Commits records that answer no client.
    func commitEvents() -> [Recorded] { commit([]) }
}
