// Golden files: each NAME.policy is read with the accounts below, and the diagnostics must equal NAME.expected, byte
// for byte. To write them again, set KEYBROKER_WRITE_GOLDEN=1, and then read the diff.

import Foundation
import TestSupport
import Testing

@testable import Policy

/// A fixed machine, so that the results do not depend on the accounts of the machine that runs the tests.
var machine: Resolver {
    Resolver(
        overflowUID: 65534, overflowGID: 65534,
        user: { name in
            switch name {
            case "www-data": .id(33)
            case "stunnel4": .id(110)
            case "nobody": .id(65534)
            case "ldap-user": .failed("Connection refused")
            case "games": .id(5)
            case "prometheus": .id(120)
            default: .unknown
            }
        },
        group: { name in
            switch name {
            case "tls-ops": .id(200)
            case "games": .id(60)
            case "wheel": .id(10)
            default: .unknown
            }
        },
        fault: { source in
            switch source {
            case .file("/missing.pem"): "there is no such file now: /missing.pem does not exist"
            default: nil
            }
        },
        known: { $0 ? ["tls-ops", "games", "wheel"] : ["www-data", "stunnel4", "nobody", "games"] })
}

struct GoldenTests {
    static let folder = testsFolder.appendingPathComponent("PolicyTests/Golden")
    static let names: [String] =
        ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [])
        .filter { $0.hasSuffix(".policy") }.map { String($0.dropLast(7)) }.sorted()

    @Test func thereAreSome() { #expect(Self.names.count > 20) }

    @Test(arguments: names) func diagnostics(_ name: String) throws {
        let bytes = Array(try Data(contentsOf: Self.folder.appendingPathComponent("\(name).policy")))
        let reading = read([PolicyText(file: "\(name).policy", bytes: bytes)], in: machine)
        let said = reading.diagnostics.map { $0.description + "\n" }.joined()
        let isFaulty = reading.diagnostics.contains { $0.severity == .error }
        #expect((reading.policy == nil) == isFaulty)
        #expect(isFaulty == !name.hasPrefix("good") && !name.hasPrefix("warn") || !isFaulty)
        let golden = Self.folder.appendingPathComponent("\(name).expected")
        if ProcessInfo.processInfo.environment["KEYBROKER_WRITE_GOLDEN"] != nil {
            try Data(said.utf8).write(to: golden)
        }
        let expected = String(decoding: try Data(contentsOf: golden), as: UTF8.self)
        #expect(said == expected)
    }
}
