// The Go client, as a program of its own. See Clients/main.go.

import Foundation
import TestSupport

enum GoClient {
    static var isPossible: Bool { installed("go") != nil }

    private static let folder = TemporaryFolder("languages-go")

    /// The program, built once for all tests, and vetted. Every account can run it.
    static let program: Result<String, Waited> = Result { () throws(Waited) in
        // Nothing releases what belongs to all tests.
        atexit { try? FileManager.default.removeItem(atPath: GoClient.folder.path) }
        do { return try built() } catch { throw Waited(description: "\(error)") }
    }

    private static func built() throws -> String {
        try folder.shell(
            "mkdir -p go/keybroker && cp '\(Language.sources)/Go/keybroker.go' go/keybroker/ && "
                + "cp '\(Language.tests)/Clients/main.go' go/ && printf 'module example.org/test\\n\\ngo 1.19\\n' >go/go.mod"
        )
        let environment = [
            "GOCACHE": folder["cache"], "GOPATH": folder["gopath"], "GOFLAGS": "-mod=mod", "GOPROXY": "off",
            "GOTOOLCHAIN": "local", "HOME": folder.path,
        ]
        for arguments in [["build", "-o", folder["client"], "."], ["vet", "./..."]] {
            let result = try Program.run(
                installed("go") ?? "go", arguments, environment: environment, directory: folder["go"], seconds: 300)
            guard result.status == 0 else {
                throw Waited(description: "\(arguments): \(result.output)\(result.errors)")
            }
        }
        return folder["client"]
    }
}
