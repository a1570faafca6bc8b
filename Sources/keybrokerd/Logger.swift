// Writes the daemon's own messages: lines on standard error, or entries with fields if standard error is the journal.
//
// Must never wait for a reader that does not read, nor mention a decision that is not in the audit log.

internal import Broker
internal import Kernel

/// Writes lines to standard error, each with the program's name. They hold only printable ASCII and tabs. Each other
/// character becomes a question mark.
///
/// A line that cannot be written at once is dropped and counted: a pipe or a terminal that nobody reads must not
/// stop the daemon.
final class Logger {
    /// Nil until the daemon serves, and if standard error is not the journal. The journal knows the unit of a line on
    /// its stream even if the process has ended. For an entry it must still find the process.
    var journal: Journal?
    private let stream = PromptErrorStream()
    /// How many lines were dropped since the last one that could be written.
    private var lost = 0

    /// Writes an entry to the journal. Writes a line to standard error if there is no journal, or it takes no entry
    /// now.
    func log(_ text: String, _ priority: Priority = .warning, _ fields: [Journal.Field] = []) {
        if lost > 0, offer("\(lost) lines could not be said, as nobody read them", .warning, []) { lost = 0 }
        if !offer(text, priority, fields) { lost += 1 }
    }

    private func offer(_ text: String, _ priority: Priority, _ fields: [Journal.Field]) -> Bool {
        if let journal, add(text, priority, fields, to: journal) { return true }
        // If standard error goes to the journal, a level is put in front, which the journal removes again
        // (sd-daemon(3)).
        let level = StandardStream.errorIsTheJournal ? "<\(priority.rawValue)>" : ""
        return stream.offerLine("\(level)keybrokerd: \(plain(text))")
    }

    private func add(_ text: String, _ priority: Priority, _ fields: [Journal.Field], to journal: Journal) -> Bool {
        let own: [Journal.Field] = [
            .init("MESSAGE", text), .init("PRIORITY", priority.rawValue), .init("SYSLOG_IDENTIFIER", "keybrokerd"),
        ]
        return journal.add(own + fields)
    }

    /// Writes decisions that are in the audit log to the journal. They do not go to standard error: whoever reads that
    /// has the audit log as well. Only refused credentials do, because the unit itself is not told why.
    func log(_ recorded: [Recorded]) {
        for decision in recorded where journal != nil || decision.isForEveryLog {
            guard let sentence = decision.sentence else { continue }
            log(sentence, decision.priority, decision.fields)
        }
    }
}

/// Lets a message through at most once in an interval, and says how many were held back.
struct RateLimited {
    private let logger: Logger
    private var until = Instant.boot
    private var heldBack = 0

    private static let interval = Duration.seconds(10)

    init(_ logger: Logger) { self.logger = logger }

    mutating func log(_ text: @autoclosure () -> String) {
        let now = Instant.now
        guard now >= until else {
            heldBack += 1
            return
        }
        let more = heldBack > 0 ? " (and \(heldBack) more times since it was last said)" : ""
        logger.log(text() + more)
        until = now.after(Self.interval)
        heldBack = 0
    }
}
