import Testing

@testable import Wire

struct PacketTests {
    private func request(_ text: String) -> Result<Request, Request.Malformed> {
        Result { () throws(Request.Malformed) in try Request(Array(text.utf8)) }
    }

    private func name(_ text: String) throws -> KeyName { try #require(KeyName(text)) }

    @Test func requests() throws {
        let web = try name("web-tls")
        #expect(request("1Gweb-tls") == .success(.get(web)))
        #expect(request("1Gweb-tls\n") == .success(.get(web)))
        #expect(request("1L") == .success(.list))
        #expect(request("1V\n") == .success(.version))
        #expect(request("") == .failure(.empty))
        #expect(request("\n") == .failure(.empty))
        #expect(request("1") == .failure(.unknownVerb))
        #expect(request("2Gweb") == .failure(.unknownVersion))
        #expect(request("1gweb") == .failure(.unknownVerb))
        #expect(request("1G") == .failure(.badKeyName))
        #expect(request("1Gweb tls") == .failure(.badKeyName))
        #expect(request("1Gweb\n\n") == .failure(.badKeyName))
        #expect(request("1G../etc/shadow") == .failure(.badKeyName))
        #expect(request("1Lx") == .failure(.unexpectedRest))
        #expect(request("1V1") == .failure(.unexpectedRest))
        for packet in [
            "1W", "1WA", "1Wk 1", "1Rk 0", "1Rk 06", "1Rk ", "1R 1", "1Rk 1 2", "1Rk +1", "1Rk 18446744073709551616",
        ] {
            #expect(request(packet) == .failure(.badKeyName), "\(packet)")
        }
    }

    /// Every packet of one or two bytes, and every third byte after a valid beginning. None crashes, and only those
    /// that the protocol names are requests.
    @Test func everyShortPacket() {
        var accepted: [[UInt8]] = []
        for first in UInt8.min...UInt8.max {
            if (try? Request([first])) != nil { accepted.append([first]) }
            for second in UInt8.min...UInt8.max where (try? Request([first, second])) != nil {
                accepted.append([first, second])
            }
        }
        #expect(accepted.map { String(decoding: $0, as: UTF8.self) } == ["1L", "1R", "1S", "1V"])
        let thirds = (UInt8.min...UInt8.max).filter { (try? Request([0x31, 0x47, $0])) != nil }
        #expect(thirds == Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8))
    }

    @Test func whatARequestSaysIsWhatIsUnderstood() throws {
        for request in [
            Request.get(try name("a.b_c-9")), .list, .version, .channel(try name("web")),
            .status(after: nil), .status(after: try name("k")),
            .watch(try name("k")), .rotation(.all), .rotation(RotationQuery(try name("k"))),
            .rotation(RotationQuery(try name("k"), after: .max)),
        ] {
            #expect(try Request(request.packet) == request)
        }
    }

    @Test func repliesAreAsTheContractWritesThem() throws {
        func text(_ reply: Reply) -> String { String(decoding: reply.packet, as: UTF8.self) }
        #expect(text(.granted(decision: 12)) == "1K12")
        #expect(text(.rotated(decision: 12, generation: 3)) == "1K12 3")
        #expect(text(.watchEnded(decision: 13, reason: "no-rule")) == "1X13 no-rule")
        #expect(text(.denied(decision: 13)) == "1D13 not permitted")
        #expect(text(.unavailable(decision: 14, reason: "file-missing")) == "1U14 file-missing")
        #expect(text(.busy(decision: 15, milliseconds: 250)) == "1B15 250")
        #expect(text(.malformed(decision: 16, reason: "why")) == "1E16 why")
        #expect(text(.names([try name("a"), try name("b")])) == "1La\nb")
        #expect(text(.names([])) == "1L")
        #expect(text(.version("0.1.0")) == "1V0.1.0")
        var page = StatusPage()
        page.add(.pid, 7)
        page.add(.auditPath, "/a\nb c")
        #expect(text(.status(page)) == "1Spid 7\naudit-path /a\\u{a}b c")
    }

    @Test func aStatusPageIsFullBeforeItsPacketIs() throws {
        var page = StatusPage()
        while page.add(.key, String(repeating: "v", count: 100), keeping: 200) {}
        page.add(.more, "k")
        #expect(page.next == (try name("k")))
        while page.add(.key, "v") {}
        let packet = Reply.status(page).packet
        #expect((Limits.packetBytes - 6...Limits.packetBytes).contains(packet.count))
        #expect(try Reply(packet) == .status(page))
        #expect(page.next == nil)
        var whole = StatusPage()
        whole.add(.key, "a")
        whole.add(.more, "a")
        var rest = StatusPage()
        rest.add(.key, "b")
        whole.append(rest)
        #expect(whole.values(.key) == ["a", "b"])
        #expect(whole.values(.more).isEmpty)
    }

    @Test func whatAReplySaysIsWhatIsUnderstood() throws {
        let replies: [Reply] = [
            .granted(decision: 1), .denied(decision: .max), .unavailable(decision: 0, reason: "audit-unavailable"),
            .busy(decision: 7, milliseconds: 3), .malformed(decision: 8, reason: "a b c"), .names([]),
            .names([try name("x"), try name("y")]), .version("1"), .rotated(decision: 0, generation: .max),
            .watchEnded(decision: 9, reason: "unknown-key"),
        ]
        for reply in replies { #expect(try Reply(reply.packet) == reply) }
    }

    @Test(arguments: [
        "", "1", "2K1", "1K", "1K+1", "1K 1", "1K1 ", "1K99999999999999999999", "1D", "1D1", "1Dx not permitted", "1U1",
        "1B1", "1B1 x", "1B1 -1", "1E1", "1Z1 x", "1LA", "1La\nB", "1Sname", "1Sname \u{1}", "1K1\u{e9}",
        "1U5 \u{1b}[2J", "1E5 \u{1b}]0;x\u{7}", "1E5 a\nb", "1D5 \u{7f}", "1V\u{1b}[2J", "1V0.1\n", "1V\u{e9}",
        "1U5 \t", "1K1 x", "1K1 1 1", "1K1 -1", "1X1", "1Xx no-rule", "1X1 \u{1b}", "1E 5 why", "1U5 ", "1S name value",
        "1Sname ",
        "1Spid 7\n name value",
    ])
    func whatIsNoReply(_ text: String) {
        #expect(throws: Reply.Malformed.self) { try Reply(Array(text.utf8)) }
    }

    /// Regression: a time in a reply that no clock can hold once crashed the program.
    @Test(arguments: ["3600001", "9223372036854775807", "9223372036854775808", "18446744073709551615"])
    func nobodyIsToldToWaitLongerThanAnHour(_ time: String) throws {
        #expect(try Reply(Array("1B5 \(time)".utf8)) == .busy(decision: 5, milliseconds: 3_600_000))
        #expect(try Reply(Array("1B5 3600000".utf8)) == .busy(decision: 5, milliseconds: 3_600_000))
        #expect(try Reply(Array("1B5 3599999".utf8)) == .busy(decision: 5, milliseconds: 3_599_999))
    }

    @Test func longListsTakeSeveralPackets() throws {
        let names = try (0..<1000).map { try name(String(repeating: "k", count: 50) + String($0)) }
        var rest = names[...]
        var seen: [KeyName] = []
        while true {
            let reply = Reply.nextPacket(of: &rest)
            #expect(reply.packet.count <= Limits.packetBytes)
            guard case .names(let some) = reply, !some.isEmpty else { break }
            #expect(try Reply(reply.packet) == reply)
            seen += some
        }
        #expect(seen == names)
    }
}
