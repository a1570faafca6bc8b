// The daemon's own lines: on standard error, and, where that is the journal, entries with fields once it serves.
//
// Must never hold up the loop for a reader of lines that does not read, nor tell of a decision that is not in the
// audit log.

internal import Broker
internal import Kernel

/// Lines on standard error, each with the program's name: those of before it serves, and those with which it ends. The
/// journal knows then which unit they are of, even if the process has gone before they are read; of a datagram it
/// has to ask the process. They hold nothing but printable ASCII, tabs, and question marks for the rest.
enum Say {
    static func line(_ text: String, _ priority: Priority = .warning) {
        StandardStream.error.writeLine(worded(text, priority))
    }

    /// With the level in front that the journal takes away again (sd-daemon(3)), where it is read by that.
    static func worded(_ text: String, _ priority: Priority) -> String {
        (StandardStream.errorIsTheJournal ? "<\(priority.rawValue)>" : "") + "keybrokerd: " + plain(text)
    }
}

/// What the daemon says once it serves.
final class Voice {
    private let journal: Journal?
    /// Lines that nobody took since somebody last did.
    private var lost = 0

    init(_ journal: Journal?) { self.journal = journal }

    /// An entry of the journal; a line on standard error where there is none, or where it takes no entry now.
    func say(_ text: String, _ priority: Priority, _ fields: [Journal.Field] = []) {
        guard let journal else { return Say.line(text, priority) }
        if lost > 0, add("\(lost) lines could not be said, as nobody read them", .warning, [], to: journal) { lost = 0 }
        if add(text, priority, fields, to: journal) { return }
        // A stream to the same journal: it has room of its own, and nobody waits for that to be read either.
        if !StandardStream.error.offerLine(Say.worded(text, priority)) { lost += 1 }
    }

    private func add(_ text: String, _ priority: Priority, _ fields: [Journal.Field], to journal: Journal) -> Bool {
        let own: [Journal.Field] = [
            .init("MESSAGE", text), .init("PRIORITY", priority.rawValue), .init("SYSLOG_IDENTIFIER", "keybrokerd"),
        ]
        return journal.add(own + fields)
    }

    /// Tells the journal of decisions that are in the audit log. Standard error is told nothing: who reads that has
    /// the log for it.
    func tell(of recorded: [Recorded]) {
        guard journal != nil else { return }
        for decision in recorded {
            guard let sentence = decision.sentence else { continue }
            say(sentence, decision.priority, decision.fields)
        }
    }
}

/// Lets a message through at most once in an interval, and says how often it was held back.
struct Sparing {
    private let voice: Voice
    private var until = Instant(nanoseconds: 0)
    private var heldBack = 0

    private static let intervalMilliseconds = 10_000

    init(_ voice: Voice) { self.voice = voice }

    mutating func say(_ text: @autoclosure () -> String) {
        let now = Instant.now
        guard now >= until else {
            heldBack += 1
            return
        }
        let more = heldBack > 0 ? " (and \(heldBack) more times since it was last said)" : ""
        voice.say(text() + more, .warning)
        until = now.after(milliseconds: Self.intervalMilliseconds)
        heldBack = 0
    }
}
