// What a unit hides from its processes, read from their mounts.

import Kernel
import Testing

struct HiddenFoldersTests {
    /// Mounts of keybrokerd.service under systemd 252, and what they hide.
    private static let mounts = """
        600 500 0:50 / / ro,relatime shared:1 master:2 - overlay overlay rw
        601 600 0:22 /systemd/inaccessible/dir /home ro,nosuid,nodev,noexec master:9 - tmpfs tmpfs rw,mode=755
        602 600 0:60 / /root ro,nosuid,nodev - tmpfs tmpfs ro,mode=755
        603 600 0:22 /user /run/user ro,nosuid,nodev master:9 - tmpfs tmpfs rw,mode=755
        604 600 0:23 /systemd-private-1a2b-keybrokerd.service-x/tmp /tmp rw,nosuid - tmpfs tmpfs rw
        605 600 8:1 /var/tmp /var/tmp rw - ext4 /dev/sda1 rw
        606 601 8:1 /srv/keys /home/keys ro - ext4 /dev/sda1 rw
        not a mount
        607 600 0:22

        """

    @Test(arguments: [
        ("/home/alice/k.pem", HidingSetting.protectHome), ("/home", .protectHome), ("/root", .protectHome),
        ("/tmp/k.pem", .privateTmp), ("/run/user/1000/k.pem", nil), ("/var/tmp/k.pem", nil), ("/home/keys/k.pem", nil),
        ("/homes/k.pem", nil), ("/etc/k.pem", nil), ("/", nil),
    ]) func theMountsSayWhy(_ path: String, _ expected: HidingSetting?) {
        let hidden = HiddenFolders(mounts: Array(Self.mounts.utf8), unit: "a.service")
        #expect(hidden.setting(hiding: path) == expected)
    }

    @Test func aLaterMountIsInFront() {
        let later = Self.mounts + "608 601 8:1 /home /home ro - ext4 /dev/sda1 rw\n"
        let hidden = HiddenFolders(mounts: Array(later.utf8), unit: "a.service")
        #expect(hidden.setting(hiding: "/home/alice/k.pem") == nil)
        #expect(HiddenFolders(mounts: [], unit: "a.service").isEmpty)
    }

    @Test func theMessageSaysWhatToType() {
        let hidden = HiddenFolders(mounts: Array(Self.mounts.utf8), unit: "a.service")
        #expect(
            hidden.explanation(of: "/root")
                == "ProtectHome= of the unit a.service hides it; type: systemctl edit a.service, write the lines "
                + "'[Service]' and 'ProtectHome=read-only', and type: systemctl restart a.service; or keep the key elsewhere"
        )
        #expect(hidden.explanation(of: "/etc/k.pem") == nil)
    }
}
