// Which mounts count as local.

import TestSupport
import Testing

@testable import Kernel

struct MountTableTests {
    private static let table = """
        21 1 8:1 / / rw - nfs4 server:/root rw
        22 21 0:5 / /home rw,relatime shared:1 master:2 - ext4 /dev/sda rw
        23 21 0:6 / /srv/far rw - fuse.sshfs me@host:/ rw
        24 21 0:7 / /srv/with\\040space rw shared:7 - nfs host:/x rw
        25 21 0:8 / /srv/unheard-of rw - newfs x rw
        26 21 0:9 / /run rw - tmpfs tmpfs rw
        27 26 0:10 /k /run/key rw - fuse x rw
        28 21 0:11 / /net rw - autofs x rw
        29 21 0:12 / /dash rw - - - -
        30 21 0:12 / /short

        """

    private func table(_ text: String) -> MountTable {
        var table = MountTable()
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) { table.add(Array(line)[...]) }
        return table
    }

    @Test func whatIsNotKnownToBeLocalIsForeign() {
        let mounts = table(Self.table)
        let foreign: [String: UInt64] = [
            "/srv/far": 23, "/srv/with space": 24, "/srv/unheard-of": 25, "/run/key": 27, "/net": 28, "/dash": 29,
        ]
        #expect(mounts.foreign.count == foreign.count)
        for (path, number) in foreign { #expect(mounts.foreign[Array(path.utf8)] == number, "\(path)") }
        #expect(mounts.local == Set(["/", "/home", "/run"].map { Array($0.utf8) }))
        #expect(table("").foreign.isEmpty && table("").local.isEmpty)
    }

    /// To `String` these are one path.
    @Test func pathsAreBytes() {
        let mounts = table("1 0 0:1 / /\u{E9} rw - fuse x rw\n2 0 0:2 / /e\u{301} rw - nfs x rw\n")
        #expect(mounts.foreign[Array("/\u{E9}".utf8)] == 1)
        #expect(mounts.foreign[Array("/e\u{301}".utf8)] == 2)
    }

    /// Lines are found in whatever pieces the kernel returns.
    @Test func aFileIsReadByLines() throws {
        let folder = TemporaryFolder("lines")
        let lengths = [0, 1, 65_535, 65_536, 65_537, 200_000, 3]
        let text = lengths.map { String(repeating: "x", count: $0) }.joined(separator: "\n")
        let file = try Descriptor.forReading(try folder.write("f", text))
        var found: [Int] = []
        try file.forEachLine(limit: 500_000) { found.append($0.count) }
        #expect(found == lengths)
        #expect(throws: Failure.self) { try file.forEachLine(limit: 1000) { _ in } }
        let long = try Descriptor.forReading(try folder.write("long", String(repeating: "x", count: 3 << 20)))
        #expect(throws: Failure.self) { try long.forEachLine(limit: 4 << 20) { _ in } }
    }

    /// Nothing is known to be local then. Without `/proc` nothing is known at all.
    @Test func aTableThatCannotBeReadIsOutOfDate() throws {
        let folder = TemporaryFolder("table")
        #expect(try LocalMounts.here(folder["none"]) == nil)
        let mounts = try #require(try LocalMounts.here(folder.path))
        let owners = TrustedOwners.now.keeping(to: mounts)
        for thread in [false, true] {
            if thread { try mounts.beginThread {} }
            guard case .unknown = mounts.place(at: folder.path) else { throw Waited(description: "a known mount") }
            // Each mount has a number of its own: one that hangs holds up no other.
            let places = try ["/proc", "/sys"].map { mount in
                let error = #expect(throws: TrustError.self) { _ = try owners.entries(ofDirectory: mount) }
                #expect(error?.description.contains("is perhaps served by another program or computer") == true)
                guard case .elsewhere(let number)? = error?.kind else { throw Waited(description: "a number") }
                return number
            }
            #expect(Set(places).count == 2)
        }
    }

    /// A status that another process sends says all that is checked and recorded.
    @Test func aStatusGoesThroughWords() throws {
        let status = try #require(try statusFollowing(#filePath))
        #expect(FileStatus(words: status.words) == status)
        for words in ["", "1 2 3", "1 2 3 4 5 6 7 8 x", "1 2 3 4 99999 6 7 8 9", "-1 2 3 4 5 6 7 8 9"] {
            #expect(FileStatus(words: words) == nil, "\(words)")
        }
    }
}
