import Foundation
import TestSupport
import Testing

@testable import Kernel

/// Which files are trusted, and how far a path is followed. Needs root to give files to other accounts.
@Suite(.enabled(if: isRoot, "needs root: it gives files to other accounts"))
struct TrustTests {
    private let folder = TemporaryFolder("trust")
    private let root = TrustedOwners(startedBy: 0)

    private func distrust(_ name: String) -> TrustError? {
        do throws(TrustError) {
            _ = try root.place(of: folder[name]).open()
            return nil
        } catch { return error }
    }

    @Test func aPlainFileIsTrusted() throws {
        try folder.write("a", "x", mode: 0o600)
        #expect(distrust("a") == nil)
    }

    @Test func whatIsNotThere() throws {
        try folder.write("a", "x")
        try folder.link("dangling", to: "nowhere")
        #expect(distrust("none")?.kind == .missing)
        #expect(distrust("no/ne")?.kind == .missing)
        #expect(distrust("a/b")?.kind == .missing)
        #expect(distrust("a/..")?.kind == .missing)
        #expect(distrust("dangling")?.kind == .missing)
    }

    @Test func modesAndOwners() throws {
        for (mode, isTrusted) in [(0o600, true), (0o644, true), (0o664, false), (0o606, false), (0o620, false)] {
            try folder.write("a", "x", mode: mode)
            #expect((distrust("a") == nil) == isTrusted, "\(mode)")
        }
        try folder.write("b", "x", mode: 0o600, owner: 1)
        #expect(distrust("b")?.description == "\(folder["b"]) belongs to uid 1, not to root")
        #expect(throws: Never.self) { _ = try TrustedOwners(startedBy: 1).place(of: folder["b"]) }
    }

    /// What to type. A tool writes names where it knows them.
    @Test func whatToDoAboutIt() throws {
        try folder.write("b", "x", mode: 0o600, owner: 1)
        let theirs = try #require(distrust("b")?.distrust)
        #expect(theirs.advice == "type: chown root: \(folder["b"])")
        #expect(
            theirs.sentence(user: { "daemon(\($0))" }) == "\(folder["b"]) belongs to daemon(1), not to root")
        for (mode, change) in [(0o660, "g-w"), (0o602, "o-w"), (0o666, "go-w")] {
            try folder.write("it's a key", "x", mode: mode)
            #expect(distrust("it's a key")?.distrust?.advice == "type: chmod \(change) '\(folder["it'\\''s a key"])'")
        }
        try folder.directory("open", mode: 0o777)
        try folder.write("open/a", "x")
        #expect(distrust("open/a")?.distrust?.advice == "keep the file in a directory that only root can write to")
        #expect(distrust("none")?.distrust == nil)
    }

    /// A user namespace shows the files of all accounts that it does not know as those of this uid.
    @Test func theOverflowUidIsNobodysEvenIfItStartedTheProgram() throws {
        try folder.write("a", "x", mode: 0o600, owner: 65534)
        let owners = TrustedOwners(startedBy: 65534, overflow: OverflowIDs(uid: 65534, gid: 65534))
        #expect(owners.description == "root" && !owners.contains(65534))
        #expect {
            _ = try owners.place(of: folder["a"])
        } throws: {
            "\($0)".contains(
                "\(folder["a"]) belongs to uid 65534, which stands for every account that this user namespace")
        }
    }

    @Test func directoriesAbove() throws {
        try folder.directory("d/e")
        try folder.write("d/e/a", "x")
        #expect(distrust("d/e/a") == nil)
        try folder.setAttributes("d", mode: 0o775)
        #expect(distrust("d/e/a")?.description == "\(folder["d"]) can be written to by group 0 (mode 0775)")
        try folder.setAttributes("d", mode: 0o755, owner: 1)
        #expect(distrust("d/e/a")?.kind == .untrusted)
    }

    @Test func aStickyDirectoryOfRootsAsTmp() throws {
        try folder.directory("sticky", mode: 0o1777)
        try folder.write("sticky/a", "x")
        #expect(distrust("sticky/a") == nil)
        try folder.write("sticky/b", "x", owner: 1)
        #expect(distrust("sticky/b")?.kind == .untrusted)
        // A link of another account leads to a good file. It is not followed.
        try folder.link("sticky/l", to: folder["sticky/a"])
        #expect(distrust("sticky/l") == nil)
        try folder.shell("chown -h 1:1 sticky/l")
        #expect(distrust("sticky/l")?.kind == .untrusted)
        // The directory is sticky but does not belong to root.
        try folder.setAttributes("sticky", mode: 0o1777, owner: 1)
        #expect(distrust("sticky/a")?.kind == .untrusted)
    }

    @Test func linksAsCertbotMakesThem() throws {
        try folder.directory("archive/example.org", mode: 0o700)
        try folder.directory("live/example.org", mode: 0o755)
        try folder.write("archive/example.org/privkey1.pem", "one", mode: 0o600)
        try folder.link("live/example.org/privkey.pem", to: "../../archive/example.org/privkey1.pem")
        let place = try root.place(of: folder["live/example.org/privkey.pem"])
        #expect(place.path == folder["archive/example.org/privkey1.pem"])
        // A link whose path goes through a directory of another account.
        try folder.directory("theirs", mode: 0o755, owner: 1)
        try folder.link("theirs/back", to: folder["archive/example.org/privkey1.pem"])
        try folder.link("through", to: "theirs/back")
        #expect(distrust("through")?.kind == .untrusted)
        try folder.link("loop", to: "loop")
        #expect(distrust("loop")?.description.contains("40 symbolic links") == true)
        try folder.link("absolute", to: folder["archive/example.org/../example.org/./privkey1.pem"])
        #expect(distrust("absolute") == nil)
    }

    /// Swift takes a slash and a combining mark behind it for one character.
    @Test func aSlashIsASlashWhateverComesBehindIt() throws {
        try folder.directory("theirs", mode: 0o755, owner: 1)
        try folder.write("theirs/\u{301}key", "x", mode: 0o600)
        try folder.shell("ln -s 'theirs/\u{301}key' link")
        #expect(distrust("link")?.description.hasPrefix(folder["theirs"] + " ") == true)
        #expect(distrust("theirs/\u{301}key")?.kind == .untrusted)
    }

    @Test func whatIsNoFile() throws {
        try folder.shell("mkfifo -m 600 fifo")
        #expect(distrust("fifo")?.description == "\(folder["fifo"]) is a FIFO, not a regular file")
        try folder.directory("dir")
        #expect(distrust("dir")?.kind == .untrusted)
        #expect(throws: TrustError.self) { _ = try root.place(of: "/dev/null").open() }
        #expect(throws: TrustError.self) { _ = try root.place(of: "/") }
    }

    /// The owner of an entry of a directory can cause any number of events. After that, only paths through this
    /// directory are checked each time, even if events were lost.
    @Test func aFloodOfEventsEndsOnlyTheWatchOfItsDirectory() throws {
        for name in ["quiet", "loud"] {
            try folder.directory(name)
            try folder.write("\(name)/a", "x")
        }
        let entries = ["loud/one", "loud/other"]
        for name in entries { try folder.write(name, "x") }
        let watch = try ChangeWatch()
        func isWatched(_ name: String) throws -> Bool { try root.place(of: folder[name], watchedBy: watch).isWatched }
        #expect(try isWatched("quiet/a") && isWatched("loud/a"))
        watch.seal()
        _ = watch.changes().ways
        let limit = try String(contentsOfFile: "/proc/sys/fs/inotify/max_queued_events", encoding: .utf8)
        let queued = Int(limit.dropLast())
        // Two entries in turn, because the kernel merges equal events.
        for index in 0...(try #require(queued) + 1000) {
            // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
            unsafe _ = chmod(folder[entries[index % 2]], 0o600)
        }
        #expect(watch.changes().ways)
        // One call reads only a limited part of the queue.
        #expect(watch.changes().ways)
        while watch.changes().ways {}
        #expect(try isWatched("quiet/a"))
        #expect(try !isWatched("loud/a"))
        try folder.setAttributes("quiet", mode: 0o700)
        #expect(watch.changes().ways)
    }

    /// Whoever may write to a sticky directory such as `/tmp` can change its times.
    @Test func aFloodOfEventsOfTheDirectoryItselfEndsItsWatch() throws {
        try folder.directory("sticky", mode: 0o1777)
        try folder.write("sticky/a", "x")
        let watch = try ChangeWatch()
        func isWatched() throws -> Bool { try root.place(of: folder["sticky/a"], watchedBy: watch).isWatched }
        #expect(try isWatched())
        watch.seal()
        while watch.changes().ways {}
        // The kernel merges equal events that nobody has read.
        for _ in 0..<5000 {
            // Safety: a Swift string is passed as a NUL-terminated C string for the length of the call.
            unsafe _ = chmod(folder["sticky"], 0o1777)
            _ = watch.changes()
        }
        while watch.changes().ways {}
        #expect(try !isWatched())
        // Nor is the directory itself watched, or only the one above.
        try folder.setAttributes("sticky", mode: 0o1770)
        #expect(!watch.changes().ways)
    }

    /// If others can write to a directory when its watch is added, its entries are not watched.
    @Test func aLinkIsWatchedOnlyIfItsDirectorysEntriesAre() throws {
        try folder.directory("d", mode: 0o775)
        try folder.write("a", "x")
        try folder.link("d/l", to: "../a")
        let watch = try ChangeWatch()
        #expect(distrust("d/l") != nil)
        _ = try? root.place(of: folder["d/l"], watchedBy: watch)
        watch.seal()
        try folder.setAttributes("d", mode: 0o755)
        #expect(try !root.place(of: folder["d/l"], watchedBy: watch).isWatched)
    }

    @Test func aWatchTellsOfEveryChangeOnTheWay() throws {
        try folder.directory("w/x")
        try folder.write("w/x/a", "x")
        try folder.link("way", to: "w/x/a")
        let watch = try ChangeWatch()
        func expectChange(_ change: () throws -> Void) throws {
            #expect(try root.place(of: folder["way"], watchedBy: watch).isWatched)
            _ = watch.changes().ways
            try change()
            #expect(watch.changes().ways)
        }
        #expect(!watch.changes().ways)
        // Changes that others make beside the path do not count.
        #expect(try root.place(of: folder["way"], watchedBy: watch).isWatched)
        try folder.shell(
            "touch w/beside; chmod 600 w/beside; mv w/beside w/there; mkdir w/dir; rmdir w/dir; rm w/there")
        #expect(!watch.changes().ways)
        try expectChange {
            try folder.setAttributes("w", mode: 0o777); try folder.setAttributes("w", mode: 0o755)
        }
        try expectChange {
            try FileManager.default.moveItem(atPath: folder["w/x"], toPath: folder["w/y"])
            try folder.directory("w/x")
            try folder.write("w/x/a", "y")
        }
        try expectChange {
            try folder.link("new", to: "w/y/a")
            try folder.shell("mv -T new way")
        }
    }
}
