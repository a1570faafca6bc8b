// The command line of `keybroker exec`, and the names in braces in the arguments of its command.

import ClientKernel
import Testing
import Wire

@testable import Launching

struct OptionsTests {
    private func words(_ texts: [String]) -> [[UInt8]] { texts.map { Array($0.utf8) } }

    private func options(_ texts: String...) throws -> LaunchOptions { try LaunchOptions(words(texts)) }

    /// The fault of a command line, or nil if it has none.
    private func fault(_ texts: String...) -> String? {
        do throws(LaunchOptions.Refusal) { _ = try LaunchOptions(words(texts)) } catch {
            switch error {
            case .fault(let text): return text
            case .helpWanted: return "help"
            }
        }
        return nil
    }

    private func name(_ text: String) throws -> KeyName { try #require(KeyName(text)) }

    /// The argument with `<name>` for each file that it names.
    private func filled(_ argument: String, known: [String] = []) -> String {
        let template = Template(Array(argument.utf8), known: Set(known.compactMap { KeyName($0) }))
        return String(decoding: template.filled { "<\($0)>" }, as: UTF8.self)
    }

    @Test func allOptions() throws {
        let options = try options(
            "--key", "web=7", "--certificate=web", "--bundle", "api=9", "--env", "KEY=web", "--env=CHAIN=mail.bundle",
            "--wait", "30s", "--socket", "/s", "--", "nginx", "-g", "x {db}")
        #expect(options.requests.map(\.file.description) == ["web", "web.certificate", "api.bundle"])
        #expect(options.requests.map(\.number) == [7, nil, 9])
        #expect(options.variables.map(\.name) == ["KEY", "CHAIN"])
        #expect(options.wait == .seconds(30))
        #expect(options.socketPath == "/s")
        #expect(options.command == words(["nginx", "-g", "x {db}"]))
        #expect(options.files.map(\.description) == ["web", "web.certificate", "api.bundle", "mail.bundle", "db"])
    }

    @Test func lentKeys() throws {
        let options = try options(
            "--sign", "web=7", "--certificate", "web=8", "--key", "db", "--on-rotate", "HUP", "true")
        #expect(options.lent == [try name("web")])
        #expect(options.files.map(\.description) == ["web", "web.certificate", "db"])
        #expect(try self.options("--sign", "web", "true") != self.options("--key", "web", "true"))
        // Nobody is told of the rotations of a key that is lent.
        #expect(fault("--sign", "web", "--on-rotate", "HUP", "true")?.contains("there is none") == true)
        #expect(
            fault("--sign", "web", "--on-rotate-run", "x", "true", "{web.bundle}")?.contains("there is none") == true)
        for (one, other) in [("--sign", "--key"), ("--key", "--sign")] {
            #expect(fault(one, "web", other, "web", "true")?.contains("by --key and by --sign") == true)
        }
        #expect(fault("--sign", "web", "--sign=web=5", "true")?.contains("named twice") == true)
    }

    @Test(arguments: [("HUP", Int32(1)), ("SIGHUP", 1), ("1", 1), ("USR1", 10), ("SIGUSR2", 12), ("WINCH", 28)])
    func signals(_ text: String, _ number: Int32) throws {
        guard case .signal(let signal) = try options("--on-rotate", text, "true").onRotate else {
            Issue.record("\(text) is no signal")
            return
        }
        #expect(signal.number == number)
    }

    @Test func theCommandBeginsWithTheFirstWordThatIsNoOption() throws {
        #expect(try options("--key", "web", "nginx", "--key", "x").command == words(["nginx", "--key", "x"]))
        #expect(try options("--", "--odd").command == words(["--odd"]))
        #expect(try options("true", "--").command == words(["true", "--"]))
    }

    @Test func theBytesOfTheCommandAreKept() throws {
        let odd: [[UInt8]] = [Array("true".utf8), [0xFF, 0xC0, 0x7B, 0x77, 0x7D, 0xFE]]
        let options = try LaunchOptions([Array("--".utf8)] + odd)
        #expect(options.command == odd)
        #expect(options.arguments[0].filled { _ in "p" } == [0xFF, 0xC0, 0x70, 0xFE])
    }

    @Test(arguments: [
        (["--kex", "web", "true"], "unknown option '--kex'"), (["--key"], "--key needs a value"),
        (["--key", "Web", "true"], "made of a-z"), (["--key", "web=2", "true"], "3 or more"),
        (["--key", "web=", "true"], "no number"), (["--key", "web=+7", "true"], "no number"),
        (["--key", "web=99999999999", "true"], "no number"), (["--key", "web", "--key", "web=4", "true"], "twice"),
        (["--env", "KEY", "true"], "a key name is missing"), (["--env", "=web", "true"], "VAR=NAME"),
        (["--env", "1A=web", "true"], "VAR=NAME"), (["--env", "A=We", "true"], "made of a-z"),
        (["--wait", "soon", "true"], "no time"), (["--wait", "25h", "true"], "no time"),
        (["--key", "web"], "no command"), (["--key", "web", "--"], "no command"), (["--socket=", "true"], "a path"),
        (["-k", "true"], "unknown option '-k'"),
        (["--on-rotate", "KILL", "true"], "no signal"), (["--on-rotate", "STOP", "true"], "no signal"),
        (["--on-rotate", "9", "true"], "no signal"), (["--on-rotate", "0", "true"], "no signal"),
        (["--on-rotate", "NOPE", "true"], "no signal"), (["--on-rotate", "+1", "true"], "no signal"),
        (["--on-rotate", "HUP", "--on-rotate-run", "x", "true"], "more than one"),
        (["--on-rotate-run", "", "true"], "needs a command"), (["--help"], "help"), (["-h", "--nonsense"], "help"),
    ])
    func faults(_ texts: [String], _ said: String) throws {
        do throws(LaunchOptions.Refusal) {
            _ = try LaunchOptions(words(texts))
            Issue.record("\(texts) was taken")
        } catch {
            switch error {
            case .fault(let text): #expect(text.contains(said), "\(texts): \(text)")
            case .helpWanted: #expect(said == "help", "\(texts)")
            }
        }
    }

    @Test func times() {
        #expect(duration("30") == .seconds(30))
        #expect(duration("1.5s") == .milliseconds(1500))
        #expect(duration("0.025") == .milliseconds(25))
        #expect(duration("500ms") == .milliseconds(500))
        #expect(duration("2m") == .seconds(120))
        #expect(duration("1h") == .seconds(3600))
        for text in ["", "s", "1d", "-1", "1.", ".5", "1.2.3", "1.0000", "99999999999", "1 s", "٣"] {
            #expect(duration(text) == nil, "\(text)")
        }
    }

    /// `.certificate` and `.bundle` name parts, unless an option names the whole as a key.
    @Test func partsOfAKey() throws {
        let file = try #require(KeyFile(Array("web.bundle".utf8)[...], known: []))
        #expect(file == KeyFile(try name("web"), .bundle))
        let key = KeyFile(Array("web.bundle".utf8)[...], known: [try name("web.bundle")])
        #expect(key == KeyFile(try name("web.bundle"), .key))
        #expect(KeyFile(Array(".bundle".utf8)[...], known: []) == nil)
        #expect(KeyFile(Array("web.bundle.certificate".utf8)[...], known: [])?.key.description == "web.bundle")
    }

    @Test(arguments: [
        ("{web}", "<web>"), ("--key={web}", "--key=<web>"), ("{a}{b.bundle}", "<a><b.bundle>"),
        ("ssl_key {web}; ssl_cert {web.certificate};", "ssl_key <web>; ssl_cert <web.certificate>;"),
        // A pair of braces is taken away.
        ("{{web}}", "{web}"), ("{{{web}}}", "{{web}}"), ("{{web}", "{<web>"), ("{web}}", "<web>}"),
        // What is no name stays.
        ("", ""), ("{}", "{}"), ("{ web }", "{ web }"), ("{PATH}", "{PATH}"), ("{a,b}", "{a,b}"), ("{web", "{web"),
        ("web}", "web}"), ("{.Name}", "{.Name}"), ("{{.Name}}", "{{.Name}}"), ("{{ name }}", "{{ name }}"),
        ("a{b{web}c}", "a{b<web>c}"), ("{{{{", "{{{{"), ("}{", "}{"),
        // Shells and JSON.
        ("${web}", "${web}"), ("${web}{web}", "${web}<web>"), ("$${web}", "$${web}"), ("$ {web}", "$ <web>"),
        (#"{"a":{"key":"{web}"}}"#, #"{"a":{"key":"<web>"}}"#), ("awk '{ print $1 }'", "awk '{ print $1 }'"),
    ])
    func braces(_ argument: String, _ expected: String) {
        #expect(filled(argument) == expected, "\(argument)")
    }

    /// Every text can be written.
    @Test func bracesCanAlwaysBeWritten() {
        for count in 1...4 {
            let text = String(repeating: "{", count: count) + "web" + String(repeating: "}", count: count)
            #expect(filled("{" + text + "}") == text)
        }
    }

    private func numbers(
        _ options: LaunchOptions, sockets: Int = 0, inherited: Set<Int32> = [0, 1, 2]
    ) throws -> [String: Int32] {
        let numbers = try Numbers(options, sockets: sockets) { inherited.contains($0) }
        return Dictionary(uniqueKeysWithValues: numbers.numbers.map { ($0.key.description, $0.value) })
    }

    @Test func numbersAreFreeOnes() throws {
        let plain = try options("--key", "a", "--certificate", "a", "x", "{b}")
        #expect(try numbers(plain) == ["a": 3, "a.certificate": 4, "b": 5])
        #expect(try numbers(plain, inherited: [0, 1, 2, 4]) == ["a": 3, "a.certificate": 5, "b": 6])
        #expect(try numbers(plain, sockets: 2) == ["a": 5, "a.certificate": 6, "b": 7])
        let fixed = try options("--key", "a", "--certificate", "a=3", "--key", "b=5", "x", "{c}")
        #expect(try numbers(fixed) == ["a": 4, "a.certificate": 3, "b": 5, "c": 6])
    }

    @Test func aNumberThatIsInUseIsAFault() throws {
        let fixed = try options("--key", "a=4", "x")
        #expect(throws: Numbers.Fault.self) { try numbers(fixed, inherited: [4]) }
        #expect(throws: Numbers.Fault.self) { try numbers(fixed, sockets: 2) }
        #expect(try numbers(fixed, sockets: 1) == ["a": 4])
        #expect(throws: Numbers.Fault.self) { try numbers(try options("--key", "a=4", "--key", "b=4", "x")) }
    }
}
