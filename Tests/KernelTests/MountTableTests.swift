// Which mounts count as local.

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

    @Test func whatIsNotKnownToBeLocalIsForeign() {
        let mounts = MountTable(Array(Self.table.utf8))
        #expect(
            mounts.foreign == [
                "/srv/far": 23, "/srv/with space": 24, "/srv/unheard-of": 25, "/run/key": 27, "/net": 28, "/dash": 29,
            ])
        #expect(mounts.local == ["/", "/home", "/run"])
        #expect(MountTable([]).foreign.isEmpty && MountTable([]).local.isEmpty)
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
