import Testing

@testable import Kernel

struct UnitNameTests {
    @Test(arguments: [
        ("0::/system.slice/nginx.service\n", "nginx.service"),
        ("0::/system.slice/system-stunnel.slice/stunnel@a.service\n", "stunnel@a.service"),
        ("1:name=systemd:/x.service\n0::/system.slice/a.service/sub/b.service\n", "a.service"),
        // A unit of a user's own service manager counts as the unit of that manager.
        ("0::/user.slice/user-33.slice/user@33.service/app.slice/nginx.service\n", "user@33.service"),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "session-1.scope"),
        // A unit inside of a container counts as the container.
        ("0::/system.slice/docker-abc.scope/system.slice/nginx.service\n", "docker-abc.scope"),
        ("0::/_nginx.service\n", "nginx.service"),
        ("0::/\n", nil), ("0::/../nginx.service\n", nil), ("0::/nginx\n", nil), ("0::/.service\n", nil),
        // The file was cut off in the middle of a name.
        ("0::/system.slice/nginx.service", nil), ("1:x:/\n0::/system.slice/nginx.service", nil),
        ("9:name=systemd:/system.slice/nginx.service\n", nil), ("", nil), ("0::/system.slice\n", nil),
    ])
    func units(_ file: String, _ unit: String?) {
        #expect(unitName(inCgroups: Array(file.utf8)) == unit)
    }
}

struct UnitTableTests {
    @Test func aGroupIsKnownOnceItWasRemembered() {
        let table = UnitTable()
        #expect(table.unit(inGroup: 1) == nil)
        table.remember("a.service", ofGroup: 1)
        table.remember(nil, ofGroup: 2)
        #expect(table.unit(inGroup: 1) == .some("a.service"))
        #expect(table.unit(inGroup: 2) == .some(nil))
    }

    @Test func itDoesNotGrowWithoutABound() {
        let table = UnitTable()
        for number in 0..<10_000 as Range<UInt64> { table.remember("unit-\(number).service", ofGroup: number) }
        #expect(table.count <= 1024)
        #expect(table.unit(inGroup: 9999) == .some("unit-9999.service"))
    }
}

struct ClockTests {
    @Test(arguments: [
        (0, 0, "1970-01-01T00:00:00.000000Z"), (951_782_399, 999_999_999, "2000-02-28T23:59:59.999999Z"),
        (951_782_400, 0, "2000-02-29T00:00:00.000000Z"), (1_709_164_800, 1_000, "2024-02-29T00:00:00.000001Z"),
        (4_107_542_399, 0, "2100-02-28T23:59:59.000000Z"), (4_107_542_400, 0, "2100-03-01T00:00:00.000000Z"),
        (-1, 0, "1969-12-31T23:59:59.000000Z"), (253_402_300_799, 0, "9999-12-31T23:59:59.000000Z"),
    ])
    func times(_ seconds: Int, _ nanoseconds: Int, _ text: String) {
        #expect(WallTime(seconds: seconds, nanoseconds: nanoseconds).rfc3339 == text)
    }
}

struct FailureTests {
    @Test func failuresAreSentences() {
        #expect("\(Failure("open", code: 13, on: "/x"))" == "open /x: Permission denied (EACCES)")
        #expect("\(Failure("fsync", code: 5))" == "fsync: Input/output error (EIO)")
        #expect("\(Failure("x", code: 99_999))" == "x: error 99999 (errno 99999)")
    }
}
