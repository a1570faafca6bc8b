// What libFuzzer calls, called here with the corpus, and with inputs of it that are changed at random. So what was found
// once stays repaired, and no fuzzer is needed for that. KEYBROKER_FUZZ_ROUNDS sets how often each is changed.

import Foundation
import FuzzTargets
import TestSupport
import Testing

struct CorpusTests {
    private static let fuzz = testsFolder.appendingPathComponent("Fuzz")

    /// The inputs of a target, in the order of their names.
    private func corpus(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let folder = Self.fuzz.appendingPathComponent("Corpus/\(target.rawValue)")
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map {
            ($0, Array(try Data(contentsOf: folder.appendingPathComponent($0))))
        }
    }

    @Test(arguments: FuzzTarget.allCases) func whatIsInTheCorpus(_ target: FuzzTarget) throws {
        let inputs = try corpus(target)
        #expect(inputs.count >= 5)
        for (name, bytes) in inputs {
            #expect(throws: Never.self, "\(target.rawValue)/\(name)") { try target.run(bytes) }
        }
    }

    @Test(arguments: FuzzTarget.allCases) func whatIsAlmostLikeIt(_ target: FuzzTarget) throws {
        let inputs = try corpus(target).map(\.bytes)
        // A log takes longer than a packet: it is written to a file, and read four times.
        let isSlow = [.auditReader, .logRecovery, .policy].contains(target)
        for round in 0..<(isSlow ? rounds / 16 : rounds) {
            let bytes = mutated(inputs, round: round)
            #expect(throws: Never.self, "seed \(round)") { try target.run(bytes) }
        }
    }

    /// OSS-Fuzz and `make fuzz` find the programs, the corpora and the dictionaries by their names.
    @Test func eachTargetHasAProgramAndAFolderAndADictionary() throws {
        func names(_ folder: String, _ suffix: String = "") throws -> Set<String> {
            let path = Self.fuzz.appendingPathComponent(folder).path
            return Set(try FileManager.default.contentsOfDirectory(atPath: path).map { $0.replacing(suffix, with: "") })
        }
        let targets = Set(FuzzTarget.allCases.map(\.rawValue))
        #expect(try names("Programs") == targets)
        #expect(try names("Corpus") == targets)
        #expect(try names("Dictionaries", ".dict") == targets)
        let manifest = try String(contentsOf: projectFolder.appendingPathComponent("Package.swift"), encoding: .utf8)
        let script = try String(contentsOf: Self.fuzz.appendingPathComponent("targets"), encoding: .utf8)
        #expect(Set(script.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init)) == targets)
        for target in targets { #expect(manifest.contains("\"\(target)\"")) }
    }
}
