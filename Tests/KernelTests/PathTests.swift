// C would read a path with a NUL byte as a shorter path than Swift does. So no call accepts one.

import Testing

@testable import Kernel

struct PathTests {
    @Test(arguments: [
        ("/a/b", "/a/b"), ("/a/./b", "/a/b"), ("/./a//b/", "/a/b"), ("/a/../b", "/b"), ("/a/b/../../../c", "/c"),
        ("/", "/"), ("/..", "/"), ("/a/..b/.c/...", "/a/..b/.c/..."),
    ])
    func waysToWriteOnePath(_ path: String, _ normal: String) { #expect(normalized(path) == normal) }

    @Test(arguments: ["/proc/self/status\0x", "\0", "/proc/self/\0"])
    func pathsWithNULAreRefused(_ path: String) throws {
        func code(_ call: () throws(Failure) -> Void) -> Int32 {
            do { try call() } catch { return error.code }
            return 0
        }
        let invalid = PathCall.remove("\0")
        #expect(invalid < 0)
        #expect(code { () throws(Failure) in _ = try Descriptor.forReading(path) } == -invalid)
        #expect(code { () throws(Failure) in _ = try directoryEntries(path) } == -invalid)
        #expect(code { () throws(Failure) in _ = try statusFollowing(path) } == -invalid)
        #expect(code { () throws(Failure) in _ = try SeqpacketSocket.connected(to: path) } == -invalid)
        #expect(throws: TrustError.self) { try TrustedOwners.now.place(of: path) }
    }
}
