// swift-tools-version: 6.3
//
// The house, as the compiler enforces it: the arrows below are the only imports that build
// (make test passes --explicit-target-dependency-import-check error).
//
// The daemon's closure (keybrokerd and all it reaches) holds no Foundation and no third-party
// package; Tests/HouseTests looks after that.

import PackageDescription

/// What every target of ours is built with: no warning survives, no unsafe expression is unmarked.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// For the programs alone: who only uses the library says `traits: []`, and fetches nothing else.
let programs = "Programs"
let argumentParser = Target.Dependency.product(
    name: "ArgumentParser", package: "swift-argument-parser", condition: .when(traits: [programs]))

let package = Package(
    name: "keybroker",
    products: [
        .library(name: "KeyBrokerClient", targets: ["KeyBrokerClient"]),
        .library(name: "KeyBrokerClientFoundation", targets: ["KeyBrokerClientFoundation"]),
        .executable(name: "keybrokerd", targets: ["keybrokerd"]),
        .executable(name: "keybroker-signer", targets: ["keybroker-signer"]),
        .executable(name: "keybroker", targets: ["keybroker"]),
        .executable(name: "keybroker-tls-demo", targets: ["keybroker-tls-demo"]),
    ],
    traits: [
        .default(enabledTraits: [programs]),
        .trait(name: programs, description: "The programs, and the package that reads their command lines."),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", .upToNextMinor(from: "1.8.2"))
    ],
    targets: [
        // C, and the libraries of others.
        .target(
            name: "CKernel",
            cSettings: [
                .enableWarning("all"), .enableWarning("extra"), .treatAllWarnings(as: .error),
                .define("_FORTIFY_SOURCE", to: "2", .when(configuration: .release)),
            ]),
        .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),

        // The daemon, from the system calls up.
        .target(name: "Kernel", dependencies: ["CKernel"], swiftSettings: strict),
        .target(name: "Digest", dependencies: ["CCrypto"], swiftSettings: strict),
        .target(name: "NameLookup", dependencies: ["CKernel", "Kernel"], swiftSettings: strict),
        .target(name: "Wire", swiftSettings: strict),
        .target(name: "Policy", dependencies: ["Wire"], swiftSettings: strict),
        .target(
            name: "PolicyLoading", dependencies: ["Policy", "NameLookup", "Digest", "Wire", "Kernel"],
            swiftSettings: strict),
        .target(
            name: "Keys", dependencies: ["PolicyLoading", "Policy", "NameLookup", "Wire", "Kernel"],
            swiftSettings: strict),
        .target(name: "Audit", dependencies: ["Digest", "Wire", "Kernel"], swiftSettings: strict),
        .target(
            name: "Broker",
            dependencies: ["Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "Wire", "Kernel"],
            swiftSettings: strict),
        .executableTarget(
            name: "keybrokerd",
            dependencies: [
                "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "SignerControl", "NameLookup", "Wire", "Kernel",
            ],
            swiftSettings: strict),

        // The program that signs, and what the daemon knows of it.
        .target(name: "SignerControl", dependencies: ["Wire", "Kernel"], swiftSettings: strict),
        .target(name: "SigningKeys", dependencies: ["CCrypto", "PEM", "Wire"], swiftSettings: strict),
        .executableTarget(
            name: "keybroker-signer",
            dependencies: ["SignerControl", "SigningKeys", "ClientKernel", "Wire", "Kernel"], swiftSettings: strict),

        // Those who read what it wrote.
        .target(name: "FileReading", dependencies: ["CKernel", "Kernel"], swiftSettings: strict),
        .target(name: "Gzip", dependencies: ["CZlib", "FileReading", "Kernel"], swiftSettings: strict),
        .target(name: "LocalTime", dependencies: ["Kernel"], swiftSettings: strict),
        .target(name: "Interaction", dependencies: ["CKernel", "Kernel"], swiftSettings: strict),
        .target(name: "PolicyReview", dependencies: ["Policy", "Wire"], swiftSettings: strict),
        .target(
            name: "AuditReading",
            dependencies: ["Audit", "Gzip", "FileReading", "LocalTime", "Policy", "Wire", "Kernel"],
            swiftSettings: strict),

        // Those who ask. What they link holds no libcrypto.
        .target(name: "ClientKernel", dependencies: ["CKernel", "Kernel"], swiftSettings: strict),
        .target(name: "KeyBrokerClient", dependencies: ["ClientKernel", "Wire", "Kernel"], swiftSettings: strict),
        // For programs that have Foundation anyway.
        .target(name: "KeyBrokerClientFoundation", dependencies: ["KeyBrokerClient"], swiftSettings: strict),
        // What they do with keys and certificates, on libcrypto.
        .target(name: "PEM", dependencies: ["CCrypto", "Digest"], swiftSettings: strict),
        .target(
            name: "Launching", dependencies: ["KeyBrokerClient", "PEM", "ClientKernel", "Wire", "Kernel"],
            swiftSettings: strict),
        .executableTarget(
            name: "keybroker",
            dependencies: [
                "KeyBrokerClient", "Launching", "ClientKernel", "AuditReading", "FileReading", "Interaction",
                "LocalTime",
                "PolicyReview", "PolicyLoading", "Policy", "NameLookup", "Digest", "Wire", "Kernel",
                argumentParser,
            ],
            swiftSettings: strict),
        .target(name: "TLS", dependencies: ["COpenSSL", "PEM", "Kernel"], swiftSettings: strict),
        .target(name: "Streams", dependencies: ["Kernel"], swiftSettings: strict),
        .executableTarget(
            name: "keybroker-tls-demo",
            dependencies: [
                "KeyBrokerClient", "TLS", "PEM", "Streams", "NameLookup", "Wire", "Kernel",
                argumentParser,
            ],
            swiftSettings: strict),

        // Tests: pure parts by themselves, the rest as real processes under real uids.
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        // The log and what a power cut may leave of it.
        .target(
            name: "CrashStates",
            dependencies: [
                "AuditReading", "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "Wire", "Kernel", "TestSupport",
            ],
            path: "Tests/CrashStates", swiftSettings: strict),
        .executableTarget(
            name: "crash-states", dependencies: ["CrashStates"], path: "Tests/CrashRunner", swiftSettings: strict),
        .testTarget(
            name: "CrashTests", dependencies: ["CrashStates", "Audit", "AuditReading", "Kernel", "TestSupport"],
            swiftSettings: strict),
        .testTarget(name: "WireTests", dependencies: ["Wire"], swiftSettings: strict),
        .testTarget(
            name: "PolicyTests", dependencies: ["Policy", "PolicyReview", "Wire", "TestSupport"],
            exclude: ["Golden", "Model"],
            swiftSettings: strict),
        .testTarget(
            name: "AuditTests", dependencies: ["Audit", "Wire", "Kernel", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "AuditReadingTests",
            dependencies: [
                "AuditReading", "LocalTime", "Digest", "Audit", "Broker", "Keys", "PolicyReview", "PolicyLoading",
                "Policy",
                "Wire", "Kernel",
                "TestSupport", "keybroker",
            ],
            swiftSettings: strict),
        .testTarget(name: "KernelTests", dependencies: ["Kernel", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "BrokerTests",
            dependencies: [
                "keybrokerd", "Broker", "Keys", "PolicyLoading", "Policy", "Audit", "Wire", "Kernel", "TestSupport",
            ], swiftSettings: strict),
        .testTarget(
            name: "SignerTests",
            dependencies: [
                "keybroker-signer", "SignerControl", "SigningKeys", "Wire", "Kernel", "TestSupport",
            ],
            exclude: ["Peers"], swiftSettings: strict),
        .testTarget(
            name: "ClientTests",
            dependencies: [
                "KeyBrokerClient", "KeyBrokerClientFoundation", "Wire", "Kernel", "TestSupport", "keybrokerd",
                "keybroker-signer",
            ],
            exclude: ["Brokers"], swiftSettings: strict),
        .testTarget(
            name: "TLSTests",
            dependencies: [
                "TLS", "PEM", "Streams", "Kernel", "TestSupport", "keybrokerd", "keybroker-tls-demo",
                argumentParser,
            ],
            exclude: ["Peers"], swiftSettings: strict),
        // What a fuzzer calls with bytes. `make test` calls it with the corpus, libFuzzer with what it invents.
        .target(
            name: "FuzzTargets",
            dependencies: ["AuditReading", "Audit", "PolicyReview", "Policy", "Wire", "Kernel"],
            path: "Tests/Fuzz/Targets", swiftSettings: strict),
        .testTarget(
            name: "FuzzTests",
            dependencies: [
                "FuzzTargets", "Wire", "Policy", "PolicyReview", "Audit", "AuditReading", "Kernel", "TestSupport",
                "keybroker", "keybroker-tls-demo",
            ],
            swiftSettings: strict),
        .testTarget(
            name: "LaunchingTests", dependencies: ["Launching", "ClientKernel", "Wire"], swiftSettings: strict),
        .testTarget(name: "HouseTests", dependencies: ["Wire", "TestSupport"], swiftSettings: strict),
        .testTarget(
            name: "EndToEndTests", dependencies: ["TestSupport", "keybrokerd", "keybroker", "KeyBrokerClient"],
            exclude: ["Peers"], swiftSettings: strict),
        // Where others put the programs and the socket: chroots, containers, user namespaces.
        .testTarget(
            name: "FieldTests", dependencies: ["TestSupport", "keybrokerd", "keybroker", "keybroker-tls-demo"],
            exclude: ["Peers"], swiftSettings: strict),
        // What an admin's machine has besides: service managers, monitoring, shells.
        .testTarget(
            name: "OperationsTests", dependencies: ["TestSupport", "keybrokerd", "keybroker"],
            exclude: ["Scripts", "Monitoring", "with-init"], swiftSettings: strict),
        // The clients in other languages, compared with the library.
        .testTarget(
            name: "LanguageTests", dependencies: ["TestSupport", "KeyBrokerClient", "keybrokerd"],
            exclude: ["Clients", "Brokers"], swiftSettings: strict),
        // In a real systemd, with the package that `make deb` built.
        .testTarget(
            name: "SystemdTests", dependencies: ["TestSupport", "keybroker"], exclude: ["Peers", "with-systemd"],
            swiftSettings: strict),
        // Programs on OpenSSL 3 with the provider keybroker.so, which the tests build.
        .testTarget(
            name: "OpenSSLTests",
            dependencies: ["TestSupport", "keybroker-signer", "keybroker", "keybrokerd", "keybroker-tls-demo"],
            exclude: ["Brokers", "Clients"], swiftSettings: strict),
        .testTarget(name: "RecipeTests", dependencies: ["TestSupport"], swiftSettings: strict),
    ]
)

// Programs of libFuzzer, which brings their main function: they build with `--sanitize fuzzer` alone (`make fuzz`).
if Context.environment["KEYBROKER_FUZZ"] == "1" {
    let names = ["packets", "channels", "policy", "audit-reader", "credential-address", "environment", "log-recovery"]
    package.targets += names.map { name in
        .executableTarget(
            name: "fuzz-\(name)", dependencies: ["FuzzTargets"], path: "Tests/Fuzz/Programs/\(name)",
            swiftSettings: strict)
    }
}
