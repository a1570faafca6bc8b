// The state table of a connection: its states, the events, and the step for each pair. Nothing else belongs here.
//
// Must never let a connection end except by `leave` or `finish`. Both keep its place while a file descriptor that was
// sent on it is unread.

/// What a connection is doing.
enum ConnectionState: CaseIterable {
    /// It waits for a request.
    case open
    /// It asked again before the moment that it was told. Nothing is read from it until then.
    case waiting
    /// It waits for the signer to open its channel. Nothing is read from it.
    case opening
    /// It is being sent a list of names. Nothing is read from it.
    case listing
    /// It is told of each rotation of a key. It may make no more requests.
    case watching
    /// It gets no more answers, but keeps its place because a reply with file descriptors is unread. The kernel counts
    /// such descriptors against the daemon until they are read or the client has gone.
    case draining
    /// Its place is free. Nothing may be sent on it any more, because nothing would count it.
    case closed
}

/// What can happen to a connection.
enum ConnectionEvent: CaseIterable {
    case packet
    /// A packet has arrived before the moment at which the client was told to ask again.
    case earlyPacket
    /// That moment has come.
    case timeToRead
    /// The signer has said whether the channel is open.
    case channelAnswer
    /// The client will send no more, and everything that it sent was answered.
    case endOfRequests
    /// The client has closed its socket, or has shut it down in both directions.
    case hangUp
    /// The socket has room to send again.
    case room
    /// The answer that was just sent is the last one on this connection.
    case lastAnswer
    case sendFailure
    /// No request was granted on it for too long.
    case idle
    /// It is time to check whether the reply was read.
    case timeToLook
}

/// What to do.
enum ConnectionStep {
    case answer
    /// Read nothing for now.
    case wait
    /// Read again.
    case read
    case sendNames
    /// End the connection: close it, or drain it first.
    case leave
    /// The same as `leave`, but the client gets the chance to read its last reply.
    case finish
    /// Close the connection if the reply was read.
    case look
    case nothing
}

extension ConnectionState {
    /// Whether packets are received in this state, and answers sent.
    var takesPackets: Bool { self == .open || self == .watching }

    func step(on event: ConnectionEvent) -> ConnectionStep {
        switch (self, event) {
        case (.open, .packet), (.watching, .packet): .answer
        case (.open, .earlyPacket): .wait
        case (.waiting, .timeToRead), (.opening, .channelAnswer): .read
        case (.listing, .room): .sendNames
        case (.open, .endOfRequests), (.watching, .endOfRequests), (.watching, .earlyPacket): .leave
        case (.open, .hangUp), (.waiting, .hangUp), (.opening, .hangUp): .leave
        case (.listing, .hangUp), (.watching, .hangUp): .leave
        case (.open, .sendFailure), (.listing, .sendFailure), (.watching, .sendFailure): .leave
        case (.open, .lastAnswer), (.listing, .lastAnswer), (.watching, .lastAnswer): .finish
        case (.open, .idle), (.waiting, .idle), (.opening, .idle), (.listing, .idle): .finish
        case (.draining, .timeToLook): .look
        case (.open, _), (.waiting, _), (.opening, _), (.listing, _), (.watching, _), (.draining, _), (.closed, _):
            .nothing
        }
    }
}
