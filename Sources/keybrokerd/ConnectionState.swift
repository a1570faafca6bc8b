// The states of a connection, what can happen in each, and what is done then: one table, and nothing else.
//
// Must never let a connection end but by `leave` or `finish`: both keep its place while a descriptor that was sent on
// it is unread.

/// What a connection is doing.
enum ConnectionState: CaseIterable {
    /// It waits for a request.
    case open
    /// It is being sent names, and not read from.
    case listing
    /// It gets no more answers. A reply with descriptors is unread, so it keeps its place until that was read or the
    /// client is gone: the kernel counts such descriptors against the daemon.
    case draining
    /// Its place is free. Nothing may be sent on it any more: that would be counted nowhere.
    case closed
}

/// What can happen to one.
enum ConnectionEvent: CaseIterable {
    case packet
    /// The client will send no more, and all that it sent was answered.
    case endOfRequests
    /// The client has gone, or has shut down both ways.
    case hangUp
    /// There is room to send to it again.
    case room
    /// The answer that was sent ends it.
    case lastAnswer
    case sendFailure
    /// It had no granted request for too long.
    case idle
    /// It is time to see whether the reply was read.
    case timeToLook
}

/// What is done.
enum ConnectionStep {
    case answer
    case sendNames
    /// It ends: closed, or drained first.
    case leave
    /// As `leave`; the client is given the chance to read the last reply.
    case finish
    /// It ends if the reply was read.
    case look
    case nothing
}

extension ConnectionState {
    func step(on event: ConnectionEvent) -> ConnectionStep {
        switch (self, event) {
        case (.open, .packet): .answer
        case (.listing, .room): .sendNames
        case (.open, .endOfRequests): .leave
        case (.open, .hangUp), (.listing, .hangUp): .leave
        case (.open, .sendFailure), (.listing, .sendFailure): .leave
        case (.open, .lastAnswer), (.listing, .lastAnswer): .finish
        case (.open, .idle), (.listing, .idle): .finish
        case (.draining, .timeToLook): .look
        case (.open, _), (.listing, _), (.draining, _), (.closed, _): .nothing
        }
    }
}
