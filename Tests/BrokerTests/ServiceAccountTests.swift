// The account of the daemon's unit, whose own files the daemon trusts, as the tools find it.

import NameLookup
import PolicyLoading
import TestSupport
import Testing

struct ServiceAccountTests {
    private let folder = TemporaryFolder("account")

    @Test(arguments: [
        (["[Service]\nUser=keybroker\n"], "keybroker"), (["[Service]\nUser = 61000 \n"], "61000"),
        (["[Unit]\nUser=a\n[Service]\n#User=b\nUsers=c\n"], nil),
        (["[Service]\nUser=keybroker\n", "[Service]\nUser=other\n"], "other"),
        (["[Service]\nUser=keybroker\n", "[Service]\nUser=\n"], nil), ([], nil),
    ])
    func theLastLineCounts(_ files: [String], _ user: String?) {
        #expect(ServiceAccount.name(inFiles: files) == user)
    }

    /// As for a daemon that asks under that uid.
    @Test func theUIDIsThatOfTheUnitOrOfTheUsualAccount() throws {
        let usual = try Accounts.user(named: "keybroker")?.uid
        #expect(ServiceAccount.uid(unitFilesBelow: nil) == usual)
        #expect(ServiceAccount.uid(unitFilesBelow: folder.path) == usual)
        try folder.directory("etc/systemd/system")
        for (user, uid) in [("61000", 61_000), ("root", 0), ("no-such-user-here", nil)] as [(String, UInt32?)] {
            try folder.write("etc/systemd/system/keybrokerd.service", "[Service]\nUser=\(user)\n")
            #expect(ServiceAccount.uid(unitFilesBelow: folder.path) == uid)
        }
    }

    @Test func dropInsCountAsSystemdReadsThem() throws {
        #expect(ServiceAccount.name(unitFilesBelow: folder.path) == nil)
        try folder.directory("usr/lib/systemd/system")
        try folder.write("usr/lib/systemd/system/keybrokerd.service", "[Service]\nUser=packaged\n")
        #expect(ServiceAccount.name(unitFilesBelow: folder.path) == "packaged")
        for (path, user) in [("etc", "b"), ("usr/lib", "c")] {
            try folder.directory("\(path)/systemd/system/keybrokerd.service.d")
            try folder.write("\(path)/systemd/system/keybrokerd.service.d/20.conf", "[Service]\nUser=\(user)\n")
        }
        try folder.write("usr/lib/systemd/system/keybrokerd.service.d/10.conf", "[Service]\nUser=a\n")
        #expect(ServiceAccount.name(unitFilesBelow: folder.path) == "b")
        try folder.directory("etc/systemd/system")
        try folder.write("etc/systemd/system/keybrokerd.service", "[Service]\n")
        try folder.remove("etc/systemd/system/keybrokerd.service.d/20.conf")
        #expect(ServiceAccount.name(unitFilesBelow: folder.path) == "c")
    }
}
