// An end of a channel that another process owns: a child has it after a fork, and makes an end of its own with it.

import Foundation
import Kernel
import TestSupport
import Testing
import Wire

@testable import KeyBrokerClient

@Suite struct InheritedEndTests {
    /// A channel, and the signer's end of it.
    private struct Channel: ~Copyable {
        let client: ChannelEnd
        let signer: SeqpacketSocket

        /// - Parameters:
        ///   - isOwn: false for a process that was forked.
        ///   - isFull: the signer has no room for another request.
        init(isOwn: Bool, isFull: Bool = false) throws {
            var pair = try SeqpacketSocket.pair()
            guard let one = pair.first.take(), let two = pair.second.take() else {
                throw Waited(description: "no pair")
            }
            var hasRoom = isFull
            while hasRoom {
                do throws(Failure) { try one.send([0]) } catch { hasRoom = false }
            }
            client = isOwn ? ChannelEnd(one) : ChannelEnd(one, owner: 1)
            signer = two
        }
    }

    private let refusal = ChannelReply.malformed(sequence: ChannelEnd.sequenceOfClones, reason: "there are too many")

    /// With a signer that does not answer, or one whose queue is full, half of the time is left to ask the broker anew.
    @Test(arguments: [false, true]) func halfOfTheTimeIsLeft(_ isFull: Bool) throws {
        let channel = try Channel(isOwn: false, isFull: isFull)
        let began = Instant.now
        let made = try channel.client.another(of: "k", until: began.after(.seconds(8)))
        let isMade =
            switch made {
            case .some: true
            case .none: false
            }
        #expect(!isMade && began.until(.now) < .milliseconds(7500))
    }

    /// What is said on it is for the process that owns it.
    @Test func nothingIsReadFromIt() throws {
        let channel = try Channel(isOwn: false)
        try channel.signer.send(refusal.packet)
        _ = try channel.client.another(of: "k", until: Instant.now.after(.milliseconds(20)))
        #expect(try channel.signer.peerHasReadAll() == false)
    }

    /// Refusals to children are in the owner's queue. They do not say why the owner got no other end.
    @Test func aRefusalToAChildIsNotTheOwners() throws {
        let channel = try Channel(isOwn: true)
        for _ in 0..<100 { try channel.signer.send(refusal.packet) }
        var failure: KeyBrokerError?
        do throws(KeyBrokerError) {
            // Time enough to read them.
            _ = try channel.client.another(of: "k", until: Instant.now.after(.seconds(2)))
        } catch { failure = error }
        #expect(failure == .noSignature(key: "k", after: Limits.signature))
        #expect(try channel.signer.peerHasReadAll())
    }
}
