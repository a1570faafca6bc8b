// The steps of keybroker policy edit, from the copy to the policy in its place.
//
// Must never write other bytes in place than those that were checked: they are not read again in between.

internal import ArgumentParser
internal import Interaction
internal import Kernel
internal import Policy
internal import PolicyLoading
internal import Wire

struct PolicyEditing {
    let files: PolicyFiles
    let file: EditedFile

    /// What the person wants to be done with the copy.
    private enum Choice: Character { case place = "y", edit = "e", keep = "k", drop = "d" }

    /// Edits the file. Returns whether another content is in its place now.
    /// - Parameter lock: keeps others from editing until this returns.
    func run(holding lock: borrowing LockFile) throws -> Bool {
        try begin()
        while true {
            try runEditor()
            let bytes = try file.readCopy(limit: Limits.policyBytes)
            if bytes == file.original ?? [] {
                try file.removeCopy()
                try output(line: "\(file.path) is unchanged")
                return false
            }
            switch try choice(bytes) {
            case .edit: continue
            case .keep:
                try output(line: "not put in place; kept in \(file.copy): 'keybroker policy edit' goes on with it")
                return false
            case .drop:
                try file.removeCopy()
                try output(line: "dropped; \(file.path) is unchanged")
                return false
            case .place:
                guard try !file.hasChanged(limit: Limits.policyBytes) else {
                    throw fail(
                        "\(file.path) was changed by somebody else meanwhile; yours is kept in \(file.copy): "
                            + "'keybroker policy edit' goes on with it", status: 75)
                }
                try file.replace(with: bytes)
                try file.removeCopy()
                try output(line: "\(file.path) is in place")
                return true
            }
        }
    }

    /// Makes the copy, or goes on with one that was kept or left.
    private func begin() throws {
        guard let left = try statusWithoutFollowing(file.copy) else { return try file.makeCopy() }
        say("keybroker: an earlier edit of \(file.path) is kept in \(file.copy), of \(left.modified.rfc3339)")
        guard canAsk() else {
            throw fail("on a terminal you are asked whether to go on with it; or remove it", status: 75)
        }
        switch ask("(e)dit it, (d)rop it and begin anew, or (k)eep it and do nothing?", [.edit, .drop, .keep]) {
        case .drop:
            try file.removeCopy()
            try file.makeCopy()
        case .edit: break
        case .keep, .place: throw ExitCode(0)
        }
    }

    private func runEditor() throws {
        let editor = ["VISUAL", "EDITOR"].lazy.compactMap { environment($0) }.first { !$0.isEmpty }
        let script =
            editor.map { "\($0) \"$1\"" } ?? "command -v editor >/dev/null && exec editor \"$1\"; exec vi \"$1\""
        let status = try ForegroundProgram(script: script, argument: file.copy).wait()
        if status == 0 { return }
        let isUntouched = (try? file.readCopy(limit: Limits.policyBytes)) == file.original ?? []
        if isUntouched { try file.removeCopy() }
        // By this the shell says that it found none, as on a system without any.
        let advice = status == 127 ? " (set EDITOR, or install one: apt install nano)" : ""
        throw fail(
            "the editor '\(editor ?? "editor")' ended with status \(status)\(advice); \(file.path) is unchanged"
                + (isUntouched ? "" : ", what was written is kept in \(file.copy)"), status: 71)
    }

    /// Checks what was written, shows what it changes, and asks what to do. Without a terminal, what is good is put in
    /// place. Ends the program if what is faulty is kept.
    private func choice(_ bytes: [UInt8]) throws -> Choice {
        let loading = files.replacing(PolicyText(file: file.path, bytes: bytes)).load()
        say(loading.diagnostics)
        guard let after = loading.loaded else {
            say("keybroker: \(counted(loading.faults, "error")); not put in place")
            let answer =
                canAsk() ? ask("(e)dit again, (k)eep it aside, or (d)rop it?", [.edit, .keep, .drop]) : .keep
            guard answer == .keep else { return answer }
            throw fail(
                "\(file.path) is unchanged; what was written is kept in \(file.copy): 'keybroker policy edit' goes on "
                    + "with it", status: 78)
        }
        try show(after.policy)
        guard canAsk() else { return .place }
        return ask(
            "put it in place? (y)es, (e)dit again, (k)eep it aside, or (d)rop it?", [.place, .edit, .keep, .drop])
    }

    private func show(_ after: Policy) throws {
        guard let before = files.load(warns: false).loaded?.policy else {
            return try output(line: "the policy was faulty until now: there is nothing to compare with")
        }
        let difference = DifferenceTable(from: before, to: after)
        if difference.table.isEmpty {
            try output(line: "nobody gains or loses a key")
        } else {
            for line in difference.table.lines { try output(line: line) }
        }
        for line in difference.linesOfFiles { try output(line: line) }
        difference.sayDoubts()
    }

    /// Asks until one of the answers is given. The end of the input keeps the copy.
    private func ask(_ question: String, _ answers: [Choice]) -> Choice {
        while true {
            say(question)
            guard let line = readLine() else { return .keep }
            if let choice = line.lowercased().first.flatMap(Choice.init(rawValue:)), answers.contains(choice) {
                return choice
            }
            say("keybroker: type one of the letters in parentheses, and Enter")
        }
    }
}
