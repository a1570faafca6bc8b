// The package's own tests, as autopkgtest(1) runs them for Debian.

import Foundation
import TestSupport
import Testing

@Suite(.enabled(if: isRoot && installed("autopkgtest") != nil, "needs root, and autopkgtest"))
struct AutopkgtestTests {
    /// The machine is thrown away, and has no network: what the tests depend on is there.
    @Test func theTestsOfThePackagePass() throws {
        let machine = try Machine()
        let folder = projectFolder.appendingPathComponent("systemd/debian")
        let tests = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/tests").sorted()
        #expect(tests == ["clients", "control", "serves"])
        // autopkgtest would wait for sources of packages that it cannot reach.
        try machine.must("rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*; mkdir -p /run/source/debian/tests")
        for file in tests.map({ "tests/\($0)" }) + ["changelog"] {
            let text = try String(contentsOf: folder.appendingPathComponent(file), encoding: .utf8)
            try machine.write("/run/source/debian/\(file)", text, mode: "755")
        }
        // What autopkgtest wants to know of the source.
        try machine.write(
            "/run/source/debian/control",
            """
            Source: keybroker
            Maintainer: The keybroker developers <keybroker@localhost>

            Package: keybroker
            Architecture: any
            Description: hands open private keys to the services that may have them

            """)
        let run = try machine.run(
            "autopkgtest --ignore-restrictions=isolation-container /package/*.deb /run/source/ -- null", seconds: 180)
        #expect(run.status == 0, "\(run.output)\(run.errors)")
        for test in tests where test != "control" {
            #expect(run.output.contains(try Regex("(?m)^\(test) +PASS$")), "\(test): \(run.output)")
        }
    }
}
