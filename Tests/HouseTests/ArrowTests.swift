// Which target may import which, and so what the daemon consists of.

import Foundation
import TestSupport
import Testing

struct ArrowTests {
    /// Which module may import which, as ARCHITECTURE.md lists it.
    static let arrows: [String: Set<String>] = [
        "Wire": [], "Kernel": ["CKernel", "Glibc", "Synchronization"], "Digest": ["CCrypto"], "Policy": ["Wire"],
        "NameLookup": ["CKernel", "Kernel", "Glibc", "Synchronization"],
        "PolicyLoading": ["Policy", "NameLookup", "Digest", "Kernel", "Wire"], "Audit": ["Digest", "Wire", "Kernel"],
        "Keys": ["PolicyLoading", "Policy", "NameLookup", "Wire", "Kernel", "Synchronization"],
        "FileReading": ["CKernel", "Kernel", "Glibc"], "Gzip": ["CZlib", "FileReading", "Kernel"],
        "LocalTime": ["Kernel", "Glibc"], "Interaction": ["CKernel", "Kernel", "Glibc"],
        "PolicyReview": ["Policy", "Wire"],
        "AuditReading": ["Audit", "Gzip", "FileReading", "LocalTime", "Policy", "Wire", "Kernel"],
        "Broker": ["Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "Wire", "Kernel"],
        "keybrokerd": [
            "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "NameLookup", "Wire", "Kernel",
        ],
        "SignerControl": ["Wire", "Kernel"], "SigningKeys": ["CCrypto", "PEM", "Wire"],
        "keybroker-signer": ["SignerControl", "SigningKeys", "ClientKernel", "Wire", "Kernel", "Synchronization"],
        "ClientKernel": ["CKernel", "Kernel", "Glibc"],
        "KeyBrokerClient": ["ClientKernel", "Wire", "Kernel", "Dispatch", "Synchronization"],
        "KeyBrokerClientFoundation": ["KeyBrokerClient", "Foundation"], "PEM": ["CCrypto", "Digest"],
        "Launching": ["KeyBrokerClient", "PEM", "ClientKernel", "Wire", "Kernel"],
        "keybroker": [
            "KeyBrokerClient", "Launching", "ClientKernel", "AuditReading", "FileReading", "Interaction", "LocalTime",
            "PolicyReview",
            "PolicyLoading", "Policy", "NameLookup", "Digest", "Wire", "Kernel", "ArgumentParser",
        ],
        "TLS": ["COpenSSL", "PEM", "Kernel", "Glibc"], "Streams": ["Kernel", "Glibc"],
        "keybroker-tls-demo": [
            "KeyBrokerClient", "TLS", "PEM", "Streams", "NameLookup", "Kernel", "Wire", "ArgumentParser",
        ],
    ]

    private static func closure(of target: String) -> Set<String> {
        var closure: Set<String> = []
        var open = [target]
        while let target = open.popLast() {
            guard closure.insert(target).inserted else { continue }
            open += arrows[target] ?? []
        }
        return closure
    }

    @Test func arrowsPointDown() throws {
        for target in try FileManager.default.contentsOfDirectory(atPath: sources.path).sorted() {
            let files = try swiftFiles(sources.appendingPathComponent(target))
            if files.isEmpty { continue }
            let allowed = try #require(Self.arrows[target], "\(target) has no place in the house")
            for (path, lines) in files {
                for line in lines {
                    guard let match = line.firstMatch(of: #/^(?:\w+ |@\w+ )*import (?:struct |func )?(\w+)/#) else {
                        continue
                    }
                    #expect(allowed.contains(String(match.1)), "\(target)/\(path): \(line)")
                }
            }
        }
    }

    /// The daemon contains neither Foundation nor third-party code, in its sources and in what it links.
    @Test func theDaemonsClosureIsItsOwn() throws {
        let expected: Set = [
            "keybrokerd", "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "NameLookup", "Digest",
            "Wire", "Kernel", "CKernel", "CCrypto", "Glibc", "Synchronization",
        ]
        #expect(Self.closure(of: "keybrokerd") == expected)
        // A program that uses the library does not link libcrypto because of it.
        #expect(Self.closure(of: "KeyBrokerClient").isDisjoint(with: ["Digest", "CCrypto", "COpenSSL", "CZlib"]))
        let linked = try Program.run("/usr/bin/ldd", [Program.built("keybrokerd")])
        #expect(linked.status == 0)
        #expect(linked.output.contains("libcrypto"))
        for unwanted in ["Foundation", "libssl", "ArgumentParser"] {
            #expect(!linked.output.contains(unwanted), "\(linked.output)")
        }
        // libcrypto of OpenSSL 3.5 needs libz itself; the daemon does not.
        let needed = try Program.run(installed("readelf") ?? "readelf", ["--dynamic", Program.built("keybrokerd")])
            .output
        #expect(needed.contains("[libcrypto.so") && !needed.contains("[libz"), "\(needed)")
    }
}
