// The state table of a connection: every pair of a state and an event.

import Testing

@testable import keybrokerd

struct ConnectionStateTests {
    @Test func everyPairHasItsStep() {
        let expected: [ConnectionState: [ConnectionEvent: ConnectionStep]] = [
            .open: [
                .packet: .answer, .earlyPacket: .wait, .endOfRequests: .leave, .hangUp: .leave, .lastAnswer: .finish,
                .sendFailure: .leave, .idle: .finish,
            ],
            // Nothing is read in this state either, and what was sent on it was answered before.
            .waiting: [.timeToRead: .read, .hangUp: .leave, .idle: .finish],
            .opening: [.channelAnswer: .read, .hangUp: .leave, .idle: .finish],
            // Nothing is read in this state, so what the client sends has no effect.
            .listing: [
                .room: .sendNames, .hangUp: .leave, .lastAnswer: .finish, .sendFailure: .leave, .idle: .finish,
            ],
            // Whatever it sends is answered, with an error.
            .watching: [
                .packet: .answer, .earlyPacket: .leave, .endOfRequests: .leave, .hangUp: .leave, .lastAnswer: .finish,
                .sendFailure: .leave,
            ],
            // The place becomes free only if the check finds that the reply was read.
            .draining: [.timeToLook: .look],
            .closed: [:],
        ]
        for state in ConnectionState.allCases {
            for event in ConnectionEvent.allCases {
                #expect(state.step(on: event) == expected[state]?[event] ?? .nothing, "\(state), \(event)")
            }
        }
    }
}
