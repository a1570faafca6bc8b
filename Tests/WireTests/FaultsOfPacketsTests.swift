// What is wrong with a packet is said in a text for its sender and in a reason for the log.

import Testing

@testable import Wire

struct FaultsOfPacketsTests {
    @Test(arguments: [
        (Request.Malformed.empty, Reason.packetEmpty), (.tooLong, .packetTooLong),
        (.broughtDescriptors, .packetWithDescriptors), (.unknownVersion, .unknownVersion), (.unknownVerb, .unknownVerb),
        (.badKeyName, .badKeyName), (.unexpectedRest, .unexpectedRest), (.replyUnread, .replyUnread),
        (.whileWatching, .requestWhileWatching),
    ])
    func eachHasATextThatFitsIntoAReply(_ fault: Request.Malformed, _ reason: Reason) throws {
        #expect(fault.reason == reason)
        let reply = Reply.malformed(decision: .max, reason: fault.description)
        #expect(reply.packet.count <= Limits.packetBytes)
        #expect(try Reply(reply.packet) == reply)
    }

    @Test func theTextsNameTheBoundsAndTheVerbs() {
        #expect(Request.Malformed.tooLong.description.contains(" \(Limits.packetBytes) bytes"))
        for verb in "CGLRSVW" { #expect(Request.Malformed.unknownVerb.description.contains("\(verb)")) }
    }

    @Test func aNumberOfAStatusPageIsReadOnlyIfItIsOne() throws {
        var page = StatusPage()
        page.add(.pid, 7)
        page.add(.policyState, "in-force")
        #expect(page.number(.pid) == 7)
        #expect(page.number(.policyState) == nil)
        #expect(page.number(.uptimeSeconds) == nil)
    }
}
