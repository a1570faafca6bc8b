import Foundation
import TestSupport
import Testing

@testable import Kernel

/// As root: whose files are believed, and how far a way is followed.
@Suite(.enabled(if: isRoot, "needs root: it gives files to other accounts"))
struct TrustTests {
    private let sandbox = Sandbox("trust")
    private let root = TrustedOwners(startedBy: 0)

    private func distrust(_ name: String) -> Distrust? {
        do throws(Distrust) {
            _ = try root.place(of: sandbox[name]).open()
            return nil
        } catch { return error }
    }

    @Test func aPlainFileIsTrusted() throws {
        try sandbox.write("a", "x", mode: 0o600)
        #expect(distrust("a") == nil)
    }

    @Test func whatIsNotThere() throws {
        try sandbox.write("a", "x")
        try sandbox.link("dangling", to: "nowhere")
        #expect(distrust("none")?.kind == .missing)
        #expect(distrust("no/ne")?.kind == .missing)
        #expect(distrust("a/b")?.kind == .missing)
        #expect(distrust("a/..")?.kind == .missing)
        #expect(distrust("dangling")?.kind == .missing)
    }

    @Test func modesAndOwners() throws {
        for (mode, isTrusted) in [(0o600, true), (0o644, true), (0o664, false), (0o606, false), (0o620, false)] {
            try sandbox.write("a", "x", mode: mode)
            #expect((distrust("a") == nil) == isTrusted, "\(mode)")
        }
        try sandbox.write("b", "x", mode: 0o600, owner: 1)
        #expect(distrust("b")?.description == "\(sandbox["b"]) belongs to uid 1, not to root")
        #expect(throws: Never.self) { _ = try TrustedOwners(startedBy: 1).place(of: sandbox["b"]) }
    }

    @Test func directoriesAbove() throws {
        try sandbox.directory("d/e")
        try sandbox.write("d/e/a", "x")
        #expect(distrust("d/e/a") == nil)
        try sandbox.setAttributes("d", mode: 0o775)
        #expect(distrust("d/e/a")?.description == "\(sandbox["d"]) can be written to by group 0 (mode 0775)")
        try sandbox.setAttributes("d", mode: 0o755, owner: 1)
        #expect(distrust("d/e/a")?.kind == .untrusted)
    }

    @Test func aStickyDirectoryOfRootsAsTmp() throws {
        try sandbox.directory("sticky", mode: 0o1777)
        try sandbox.write("sticky/a", "x")
        #expect(distrust("sticky/a") == nil)
        try sandbox.write("sticky/b", "x", owner: 1)
        #expect(distrust("sticky/b")?.kind == .untrusted)
        // Somebody else's link in it leads to a good file, and is not followed.
        try sandbox.link("sticky/l", to: sandbox["sticky/a"])
        #expect(distrust("sticky/l") == nil)
        try sandbox.shell("chown -h 1:1 sticky/l")
        #expect(distrust("sticky/l")?.kind == .untrusted)
        // Sticky, but not root's.
        try sandbox.setAttributes("sticky", mode: 0o1777, owner: 1)
        #expect(distrust("sticky/a")?.kind == .untrusted)
    }

    @Test func linksAsCertbotMakesThem() throws {
        try sandbox.directory("archive/example.org", mode: 0o700)
        try sandbox.directory("live/example.org", mode: 0o755)
        try sandbox.write("archive/example.org/privkey1.pem", "one", mode: 0o600)
        try sandbox.link("live/example.org/privkey.pem", to: "../../archive/example.org/privkey1.pem")
        let place = try root.place(of: sandbox["live/example.org/privkey.pem"])
        #expect(place.path == sandbox["archive/example.org/privkey1.pem"])
        // A link that leads through a directory of somebody else's.
        try sandbox.directory("theirs", mode: 0o755, owner: 1)
        try sandbox.link("theirs/back", to: sandbox["archive/example.org/privkey1.pem"])
        try sandbox.link("through", to: "theirs/back")
        #expect(distrust("through")?.kind == .untrusted)
        try sandbox.link("loop", to: "loop")
        #expect(distrust("loop")?.description.contains("40 symbolic links") == true)
        try sandbox.link("absolute", to: sandbox["archive/example.org/../example.org/./privkey1.pem"])
        #expect(distrust("absolute") == nil)
    }

    @Test func whatIsNoFile() throws {
        try sandbox.shell("mkfifo -m 600 fifo")
        #expect(distrust("fifo")?.description == "\(sandbox["fifo"]) is a FIFO, not a regular file")
        try sandbox.directory("dir")
        #expect(distrust("dir")?.kind == .untrusted)
        #expect(throws: Distrust.self) { _ = try root.place(of: "/dev/null").open() }
        #expect(throws: Distrust.self) { _ = try root.place(of: "/") }
    }

    @Test func aWatchTellsOfEveryChangeOnTheWay() throws {
        try sandbox.directory("w/x")
        try sandbox.write("w/x/a", "x")
        try sandbox.link("way", to: "w/x/a")
        let watch = try ChangeWatch()
        func expectChange(_ change: () throws -> Void) throws {
            #expect(try root.place(of: sandbox["way"], watchedBy: watch).isWatched)
            _ = watch.hasChanged()
            try change()
            #expect(watch.hasChanged())
        }
        #expect(!watch.hasChanged())
        // What others do beside the way is no change of it.
        #expect(try root.place(of: sandbox["way"], watchedBy: watch).isWatched)
        try sandbox.shell(
            "touch w/beside; chmod 600 w/beside; mv w/beside w/there; mkdir w/dir; rmdir w/dir; rm w/there")
        #expect(!watch.hasChanged())
        try expectChange {
            try sandbox.setAttributes("w", mode: 0o777); try sandbox.setAttributes("w", mode: 0o755)
        }
        try expectChange {
            try FileManager.default.moveItem(atPath: sandbox["w/x"], toPath: sandbox["w/y"])
            try sandbox.directory("w/x")
            try sandbox.write("w/x/a", "y")
        }
        try expectChange {
            try sandbox.link("new", to: "w/y/a")
            try sandbox.shell("mv -T new way")
        }
    }
}
