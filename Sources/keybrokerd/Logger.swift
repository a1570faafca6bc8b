// The daemon's own lines: on standard error, or entries with fields where that is the journal.
//
// Must never wait for a reader that does not read, nor tell of a decision that is not in the audit log.

internal import Broker
internal import Kernel

/// Lines on standard error, each with the program's name. They hold nothing but printable ASCII, tabs, and question
/// marks for the rest.
///
/// A line that cannot be written at once is lost and counted: a pipe or a terminal that nobody reads must not stop the daemon.
final class Logger {
    /// Nil until the daemon serves, and where standard error is not the journal: the journal knows the unit of a line
    /// on the stream even if the process has gone before it is read; of an entry it has to ask the process.
    var journal: Journal?
    private let stream = PromptErrorStream()
    /// Lines that nobody took since somebody last did.
    private var lost = 0

    /// An entry of the journal; a line on standard error where there is none, or where it takes no entry now.
    func log(_ text: String, _ priority: Priority = .warning, _ fields: [Journal.Field] = []) {
        if lost > 0, offer("\(lost) lines could not be said, as nobody read them", .warning, []) { lost = 0 }
        if !offer(text, priority, fields) { lost += 1 }
    }

    private func offer(_ text: String, _ priority: Priority, _ fields: [Journal.Field]) -> Bool {
        if let journal, add(text, priority, fields, to: journal) { return true }
        // With the level in front that the journal takes away again (sd-daemon(3)), where it is read by that.
        let level = StandardStream.errorIsTheJournal ? "<\(priority.rawValue)>" : ""
        return stream.offerLine("\(level)keybrokerd: \(plain(text))")
    }

    private func add(_ text: String, _ priority: Priority, _ fields: [Journal.Field], to journal: Journal) -> Bool {
        let own: [Journal.Field] = [
            .init("MESSAGE", text), .init("PRIORITY", priority.rawValue), .init("SYSLOG_IDENTIFIER", "keybrokerd"),
        ]
        return journal.add(own + fields)
    }

    /// Tells the journal of decisions that are in the audit log. Standard error is told nothing: who reads that has
    /// the log for it.
    func log(_ recorded: [Recorded]) {
        guard journal != nil else { return }
        for decision in recorded {
            guard let sentence = decision.sentence else { continue }
            log(sentence, decision.priority, decision.fields)
        }
    }
}

/// Lets a message through at most once in an interval, and says how often it was held back.
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
