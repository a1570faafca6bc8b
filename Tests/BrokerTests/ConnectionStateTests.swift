// The table of a connection's states: every pair of a state and an event.

import Testing

@testable import keybrokerd

struct ConnectionStateTests {
    @Test func everyPairHasItsStep() {
        let expected: [ConnectionState: [ConnectionEvent: ConnectionStep]] = [
            .open: [
                .packet: .answer, .endOfRequests: .leave, .hangUp: .leave, .lastAnswer: .finish, .sendFailure: .leave,
                .idle: .finish,
            ],
            // It is not read from, so nothing that it sends counts.
            .listing: [
                .room: .sendNames, .hangUp: .leave, .lastAnswer: .finish, .sendFailure: .leave, .idle: .finish,
            ],
            // Nothing but reading frees its place.
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
