import Testing

@testable import Wire

struct ChannelTests {
    private func request(_ packet: [UInt8]) -> Result<ChannelRequest, ChannelRequest.Malformed> {
        Result { () throws(ChannelRequest.Malformed) in try ChannelRequest(packet) }
    }

    private func fault(_ packet: [UInt8]) -> ChannelRequest.Malformed.Fault? {
        if case .failure(let malformed) = request(packet) { malformed.fault } else { nil }
    }

    @Test func requests() {
        let packet = Array("1S".utf8) + [0, 0, 1, 2, 0x04, 0x03] + Array("message".utf8)
        let sign = ChannelRequest.sign(sequence: 258, scheme: 0x0403, message: Array("message".utf8)[...])
        #expect(request(packet) == .success(sign))
        #expect(sign.packet == packet)
        #expect(request(Array("1C".utf8) + [1, 2, 3, 4]) == .success(.clone(sequence: 0x0102_0304)))
        #expect(ChannelRequest.clone(sequence: 0x0102_0304).packet == Array("1C".utf8) + [1, 2, 3, 4])
        // An empty message can be signed, too.
        #expect(
            request(Array("1S".utf8) + [0, 0, 0, 9, 8, 7]) == .success(.sign(sequence: 9, scheme: 0x0807, message: [])))
    }

    @Test func whatIsNoRequest() {
        #expect(fault([]) == .tooShort)
        #expect(fault(Array("1".utf8)) == .tooShort)
        #expect(fault(Array("2S".utf8) + [0, 0, 0, 1, 4, 3]) == .unknownVersion)
        #expect(fault(Array("1K".utf8) + [0, 0, 0, 1, 4, 3]) == .unknownKind)
        #expect(fault(Array("1s".utf8) + [0, 0, 0, 1, 4, 3]) == .unknownKind)
        #expect(fault(Array("1S".utf8) + [0, 0, 0]) == .tooShort)
        #expect(fault(Array("1S".utf8) + [0, 0, 0, 1, 4]) == .tooShort)
        #expect(fault(Array("1C".utf8) + [0, 0, 0]) == .tooShort)
        #expect(fault(Array("1C".utf8) + [0, 0, 0, 1, 0]) == .unexpectedRest)
        #expect(request(Array("1X".utf8) + [0, 0, 0, 7]) == .failure(.init(fault: .unknownKind, sequence: 7)))
        let longest = Array("1S".utf8) + [0, 0, 0, 1, 4, 3] + [UInt8](repeating: 1, count: 16384)
        #expect(fault(longest) == nil)
        #expect(request(longest + [1]) == .failure(.init(fault: .tooLong, sequence: 1)))
        // The buffer cut it.
        #expect(throws: ChannelRequest.Malformed(fault: .tooLong, sequence: 1)) {
            try ChannelRequest(longest[...], length: longest.count + 1)
        }
    }

    @Test(arguments: [
        ChannelReply.hello(schemes: [0x0403], publicKey: [0x30, 1]), .signature(sequence: 1, [1, 2]),
        .denied(sequence: .max, reason: "no"), .malformed(sequence: 0, reason: "what"),
        .busy(sequence: 3, milliseconds: 250, reason: "later"),
    ]) func replies(_ reply: ChannelReply) throws {
        let packet = reply.packet
        #expect(try ChannelReply(packet) == reply)
        // None of its beginnings is the same, and most are nothing at all.
        for length in 0..<packet.count { #expect((try? ChannelReply(Array(packet[..<length]))) != reply) }
        #expect(throws: ChannelReply.Malformed.malformed) { try ChannelReply([0x32] + packet.dropFirst()) }
    }

    @Test func whatIsNoReply() {
        for packet in [
            "", "1", "1H", "1X\0\0\0\u{1}", "1K\0\0\0\u{1}", "1D\0\0\0\u{1}a\u{7}", "1B\0\0\0\u{1}\0\0\0",
            "1H\0\u{1}\u{4}\u{3}",
        ] {
            #expect(throws: ChannelReply.Malformed.malformed, "\(packet)") { try ChannelReply(Array(packet.utf8)) }
        }
    }

    // MARK: What may be signed

    private static func handshake(_ role: String, hash: Int) -> [UInt8] {
        [UInt8](repeating: 0x20, count: 64) + "TLS 1.3, \(role) CertificateVerify".utf8 + [0]
            + [UInt8](repeating: 0xA5, count: hash)
    }

    @Test func handshakesAreKnown() {
        for hash in [32, 48, 64] {
            let (server, client) = (
                Self.handshake("server", hash: hash)[...], Self.handshake("client", hash: hash)[...]
            )
            #expect(SigningUses.tlsServer.permits(server) && !SigningUses.tlsServer.permits(client))
            #expect(SigningUses.tlsClient.permits(client) && !SigningUses.tlsClient.permits(server))
            #expect(SigningUses([.tlsServer, .tlsClient]).permits(client))
            #expect(SigningUses.anything.permits(server) && SigningUses.anything.permits([]))
            #expect(!SigningUses([]).permits(server))
        }
    }

    @Test func nothingElseIsOne() {
        for hash in 0...130 where ![32, 48, 64].contains(hash) {
            #expect(!SigningUses.tlsServer.permits(Self.handshake("server", hash: hash)[...]), "\(hash)")
        }
        let message = Self.handshake("server", hash: 32)
        for place in 0..<98 {
            for bit in 0..<8 {
                var other = message
                other[place] ^= 1 << bit
                #expect(!SigningUses.tlsServer.permits(other[...]), "\(place) \(bit)")
            }
            #expect(!SigningUses.tlsServer.permits(message[..<place]))
            #expect(!SigningUses.tlsServer.permits((message[..<place] + message[(place + 1)...])))
        }
    }

    /// TLS 1.3 makes no such signatures (RFC 8446, 4.4.3).
    @Test func handshakesAreNotSignedWithPKCS1() {
        for scheme in SignatureScheme.allCases {
            #expect(SigningUses.anything.permit(scheme))
            let isPKCS1 = [0x0401, 0x0501, 0x0601].contains(scheme.rawValue)
            #expect(SigningUses.tlsServer.permit(scheme) == !isPKCS1)
        }
    }
}
