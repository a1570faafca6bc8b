import Foundation
import Kernel
import Testing
import Wire

@testable import Audit

struct RecordTests {
    private func object(_ line: [UInt8]) throws -> [String: Any] {
        let object = try JSONSerialization.jsonObject(with: Data(line + Array("}".utf8)))
        return try #require(object as? [String: Any])
    }

    @Test func everyByteOfATextFromOutsideStaysInItsString() throws {
        for byte in UInt8.min...UInt8.max {
            var record = Record(.request)
            record.detail = String(decoding: [0x61, byte, 0x62], as: UTF8.self)
            record.peer = Peer(uid: 1, gid: 2, pid: 3, comm: record.detail, unit: record.detail)
            let line = record.line(number: 1, time: WallTime(seconds: 0, nanoseconds: 0), previous: nil)
            #expect(line.allSatisfy { (0x20...0x7E).contains($0) })
            #expect(try object(line)["comm"] as? String == record.detail)
        }
    }

    @Test func textsAreCut() throws {
        var record = Record(.request)
        record.detail = String(repeating: "\u{1F511}", count: 10_000)
        record.peer = Peer(
            uid: 1, gid: 2, groups: [UInt32](repeating: .max, count: 65_536),
            comm: String(repeating: "\u{1}", count: 100_000), unit: String(repeating: "\"", count: 100_000))
        let line = record.line(number: .max, time: .now, previous: [UInt8](repeating: 0x30, count: 64))
        #expect(line.count < Record.longest)
        #expect((try object(line)["detail"] as? String)?.hasPrefix("\u{1F511}") == true)
    }

    @Test func fieldsStandInTheOrderOfTheContract() throws {
        var record = Record(.request)
        record.verb = .get
        record.decision = .granted
        record.reason = .permitted
        record.key = "web"
        record.peer = Peer(uid: 33, gid: 34, groups: [1, 2], pid: 4, comm: "c", unit: "u.service")
        record.user = "www-data"
        record.rule = "f:1"
        record.policy = "abc"
        record.suppressed = 3
        let line = record.line(
            number: 7, time: WallTime(seconds: 1_763_904_480, nanoseconds: 123_456_789), previous: nil)
        #expect(
            String(decoding: line, as: UTF8.self) == """
                {"seq":7,"time":"2025-11-23T13:28:00.123456Z","event":"request","verb":"get","decision":"granted",\
                "reason":"permitted","key":"web","uid":33,"user":"www-data","gid":34,"groups":[1,2],"pid":4,\
                "comm":"c","unit":"u.service","rule":"f:1","policy":"abc","suppressed":3
                """)
    }
}
