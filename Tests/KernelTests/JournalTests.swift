import Foundation
import TestSupport
import Testing

@testable import Kernel

struct JournalTests {
    private let folder = TemporaryFolder("journal")

    @Test(arguments: [
        ("plain", "plain"), ("", ""), ("a\nKEY=forged", "a?KEY=forged"), ("a\n\n", "a??"), ("a\r\nb", "a??b"),
        ("a\tb", "a\tb"), ("a=b\\", "a=b\\"), ("\u{0}\u{1B}[2J\u{7F}", "??[2J?"), ("é\u{2028}x", "??x"),
    ])
    func noValueHasASecondLine(_ value: String, _ shown: String) {
        let entry = Journal.entry([.init("MESSAGE", value), .init("SEQ", 7)])
        #expect(String(decoding: entry, as: UTF8.self) == "MESSAGE=\(shown)\nSEQ=7\n")
    }

    /// Every short text of characters that could matter to the protocol remains one value on one line.
    @Test func noShortTextForgesAField() {
        let alphabet: [Unicode.Scalar] = ["\n", "\r", "=", "K", "\u{0}", "\u{8}", "\u{85}"]
        var texts = [""]
        for _ in 0..<4 {
            texts = texts.flatMap { text in alphabet.map { text + String($0) } }
            for text in texts {
                let entry = Journal.entry([.init("A", text), .init("B", 1)])
                #expect(entry.count { $0 == UInt8(ascii: "\n") } == 2)
                #expect(entry.allSatisfy { $0 == UInt8(ascii: "\n") || (0x20...0x7E).contains($0) })
            }
        }
    }

    /// The same descriptor works without a listener, with one, with a full queue, and with a new listener.
    @Test(.enabled(if: installed("python3") != nil, "python3 is not installed")) func itOutlivesWhoListens() throws {
        let journal = try Journal(at: folder["socket"])
        let entry: [Journal.Field] = [.init("MESSAGE", "text")]
        #expect(journal.add(entry) == false)
        let script = testsFolder.appendingPathComponent("EndToEndTests/Peers/journal.py").path
        let listener = try Program(installed("python3") ?? "python3", [script, folder["socket"]])
        _ = try listener.nextLine()
        #expect(journal.add(entry) == true)
        #expect(try listener.nextLine() == #"{"entry": {"MESSAGE": "text"}, "fields": 1}"#)

        try listener.send("hold")
        #expect(try listener.nextLine().contains("hold"))
        var taken = 0
        while journal.add([.init("MESSAGE", taken)]), taken < 100_000 { taken += 1 }
        #expect((1..<100_000).contains(taken))
        try listener.send("go")
        #expect(try listener.nextLine().contains("go"))
        for number in 0..<taken { #expect(try listener.nextLine().contains("\"\(number)\"")) }
        #expect(journal.add(entry) == true)
        #expect(try listener.nextLine().contains("text"))

        try listener.send("leave")
        #expect(try listener.nextLine().contains("leave"))
        #expect(journal.add(entry) == false)
        try listener.send("return")
        #expect(try listener.nextLine().contains("return"))
        #expect(journal.add(entry) == true)
        #expect(try listener.nextLine().contains("text"))
        try listener.waitForExit()
    }

    /// Standard error of the tests is not the journal, whatever the variable says.
    @Test func onlyWhereStandardErrorIsTheJournal() throws {
        #expect(StandardStream.errorIsTheJournal == false)
        #expect(try Journal.ofStandardError() == nil)
    }
}
