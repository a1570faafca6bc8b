// The tool's output: lines on its standard streams, and the end of the program.
//
// Must never let text from outside move the cursor. Every line goes through `harmless`, and nothing else in the tool
// writes a line to standard error.

internal import ArgumentParser
internal import Kernel
internal import KeyBrokerClient
internal import Policy
internal import Wire

/// The text in printable ASCII. Tabs are kept, because the caret in the line below is aligned with them.
func harmless(_ text: String) -> String {
    func isHarmless(_ byte: UInt8) -> Bool { (0x20...0x7E).contains(byte) || byte == 0x09 }
    if text.utf8.allSatisfy(isHarmless) { return text }
    return text.unicodeScalars.split(separator: "\t", omittingEmptySubsequences: false)
        .map { printable(String($0)) }.joined(separator: "\t")
}

/// Writes a line to standard error.
func say(_ line: String) { StandardStream.error.writeLine(harmless(line)) }

/// Writes all lines of the diagnostics to standard error.
func say(_ diagnostics: [Diagnostic]) {
    for diagnostic in diagnostics { for line in diagnostic.lines { say(line) } }
}

/// Ends the program with one line on standard error.
func fail(_ line: String, status: Int32) -> ExitCode {
    say("keybroker: \(line)")
    return ExitCode(status)
}

/// Returns the answer of the broker, or ends the program with its error.
func asking<R: ~Copyable>(_ body: @autoclosure () throws(KeyBrokerError) -> R) throws(ExitCode) -> R {
    do { return try body() } catch { throw fail(error.description + advice(on: error), status: error.exitStatus) }
}

/// The same for a request that no line of the policy can permit.
func askingAsAdministrator<R: ~Copyable>(_ body: @autoclosure () throws(KeyBrokerError) -> R) throws(ExitCode) -> R {
    do { return try body() } catch {
        if case .notAdministrator(let decision) = error {
            throw fail("not permitted (decision \(decision)): it takes root, or the broker's account", status: 77)
        }
        throw fail(error.description + advice(on: error), status: error.exitStatus)
    }
}

/// What to type on this machine, after the text that is the same everywhere. Nothing if there is nothing more to say.
func advice(on error: KeyBrokerError) -> String {
    guard case .notRunning(let socket, _) = error, let start = StandardFiles.start(socket) else { return "" }
    return "; here: \(start)"
}

/// Writes to standard output. If the reader has gone away, that is not reported as an error.
func output(_ write: @autoclosure () throws(Failure) -> Void) throws(ExitCode) {
    do { try write() } catch {
        if error.code == Failure.brokenPipe { throw ExitCode(0) }
        throw fail("cannot write to standard output: \(error)", status: 71)
    }
}

/// Makes a file at a path, or ends the program with what is in the way.
func writing<R>(_ path: String, _ body: @autoclosure () throws(Failure) -> R) throws(ExitCode) -> R {
    do { return try body() } catch { throw fail("cannot write '\(path)': \(error)", status: 71) }
}

func output(line: String) throws(ExitCode) {
    try output(try StandardStream.output.writeAll(Array((harmless(line) + "\n").utf8)))
}
