// What the daemon's unit hides from it, read from the files of the unit.

import Foundation
import Kernel
import PolicyLoading
import TestSupport
import Testing

struct ServiceUnitTests {
    private let folder = TemporaryFolder("unit")

    private func unit(_ files: String...) -> HiddenFolders { HiddenFolders(unit: "keybrokerd", files: files) }

    @Test func theUnitOfThePackageHidesWhatItSays() throws {
        let text = try String(
            contentsOf: projectFolder.appendingPathComponent("systemd/keybrokerd.service"), encoding: .utf8)
        let hidden = unit(text)
        for setting in HidingSetting.allCases {
            for place in setting.folders { #expect(hidden.setting(hiding: "\(place)/a/k.pem") == setting) }
        }
        #expect(hidden.setting(hiding: "/dev/shm/k.pem") == nil)
        #expect(hidden.setting(hiding: "/etc/ssl/private/k.pem") == nil)
        // Each remedy is one.
        for setting in HidingSetting.allCases {
            let mended = unit(text, "[Service]\n\(setting.remedy)\n")
            for place in setting.folders { #expect(mended.setting(hiding: "\(place)/k.pem") == nil) }
        }
    }

    @Test(arguments: [
        ("[Service]\nProtectHome=yes", true), ("[Service]\n  ProtectHome = True \r", true),
        ("[Service]\nProtectHome=tmpfs", true), ("[Service]\nProtectHome=read-only", false),
        ("[Service]\nProtectHome=yes\nProtectHome=", false), ("[Service]\n#ProtectHome=yes", false),
        ("[Unit]\nProtectHome=yes", false), ("", false),
        ("[Service]\nProtectHome=yes\nBindReadOnlyPaths=-/srv/keys:/home/alice:rbind /x", false),
        ("[Service]\nProtectHome=yes\nBindPaths=/home/alice/keys", false),
    ]) func theLastValueCounts(_ text: String, _ isHidden: Bool) {
        #expect((unit(text).setting(hiding: "/home/alice/keys/k.pem") != nil) == isHidden)
    }

    @Test func dropInsAreReadInTheirOrder() throws {
        func write(_ path: String, _ line: String) throws {
            try folder.shell("mkdir -p $(dirname \(path)) && printf '[Service]\\n\(line)\\n' >\(path)")
        }
        func isHidden() -> Bool {
            HiddenFolders(unitFilesBelow: folder.path).setting(hiding: "/root") == .protectHome
        }
        #expect(!isHidden())
        let drop = "systemd/system/keybrokerd.service.d"
        // Without the unit its drop-ins are nothing.
        try write("etc/\(drop)/10.conf", "ProtectHome=yes")
        #expect(!isHidden())
        try write("usr/lib/systemd/system/keybrokerd.service", "ProtectHome=no")
        #expect(isHidden())
        try write("usr/lib/\(drop)/20.conf", "ProtectHome=no")
        #expect(!isHidden())
        // The one of the administrator replaces the one of the same name.
        try write("etc/\(drop)/20.conf", "PrivateTmp=yes")
        #expect(isHidden())
        try folder.shell("ln -s /dev/null etc/\(drop)/15.conf")
        #expect(isHidden())
        try write("etc/systemd/system/keybrokerd.service", "PrivateDevices=yes")
        #expect(isHidden())
    }
}
