// Takes new connections, as many in a turn as leave time for those who are connected already.
//
// The kernel has one queue of connections for all uids, and it is served in the order of arrival. So the queue is short,
// and surplus connections are closed at once. Its length stays as it is: `listen(2)` anew would make this account, and not
// root, the one that clients see as the listener. Must never decide who may stay (`Broker.admit` does), nor take
// connections without an end.

internal import Broker
internal import Kernel
internal import Wire

extension EventLoop {
    /// Accepts new connections, asks the broker whether each may stay, and answers what they have sent already.
    func accept(_ turn: inout Turn) {
        // A client may have read its reply a moment ago, and so freed a place.
        connections.look(turnBegan, all: true)
        do throws(Failure) {
            // The rest waits in the queue. After some of a flood, those who are connected have their turn again. However much
            // they ask, some who are new are answered in each turn.
            let most = max(Limits.requestsPerTurn, turn.count + Limits.requestsOfUserPerTurn)
            var surplus = 0
            defer { if surplus > 0 { closer?.begin() } }
            for _ in 0..<min(Limits.requestsPerTurn * 2, max(1, capacity.total / 4)) {
                guard turn.count < most, surplus < Limits.surplusPerTurn || isStopping else { break }
                if let closer, closer.isFull {
                    acceptTrouble.log("no connection is taken before those are closed whose callers sent descriptors")
                    return pauseAccepting(until: Instant.now.after(Limits.closingAgain))
                }
                guard let socket = try acceptOne() else { break }
                if !admit(socket, &turn) { surplus += 1 }
            }
        } catch {
            guard error.isShortage else { return acceptTrouble.log("a connection could not be taken: \(error)") }
            acceptTrouble.log("no connection can be taken for want of descriptors or memory: \(error); going on")
            pauseAccepting(until: Instant.now.after(Limits.busy))
        }
    }

    private func acceptOne() throws(Failure) -> SeqpacketSocket? {
        guard var socket = try listener.socket.accept() else {
            // Whoever connects from now on does so after the kernel was told to refuse descriptors.
            expectsDescriptors = !listener.refusesDescriptors
            return nil
        }
        if expectsDescriptors { try socket.expectDescriptors() }
        return socket
    }

    /// Returns false if it was closed without a reply.
    private func admit(_ socket: consuming SeqpacketSocket, _ turn: inout Turn) -> Bool {
        let credentials: PeerCredentials
        let admission: Admission
        do throws(Failure) {
            credentials = try socket.peerCredentials()
            admission = try broker.admit(credentials, from: socket)
        } catch {
            // It is not known who the caller is, so it gets no answer.
            peerTrouble.log("a caller's identity could not be read: \(error)")
            closer?.close(socket, of: .max)
            return false
        }
        switch admission {
        case .admitted(let client):
            lastNumber += 1
            let connection = Connection(number: lastNumber, socket: socket, client: client, closer)
            connections.add(connection)
            // Most clients have sent their request by now.
            attend(to: connection, .readable(lastNumber), &turn)
        case .turnedAway(let client, let answer):
            lastNumber += 1
            turn.append((Connection(number: lastNumber, socket: socket, client: client, closer), answer))
        case .surplus:
            closer?.closeOneOfMany(socket, of: credentials.uid)
            return false
        }
        return true
    }

    // MARK: Pauses

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
