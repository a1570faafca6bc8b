// The clients as what their users install: a header with pkg-config, a Python package, a Go file.

import Foundation
import TestSupport
import Testing

@Suite struct ClientPackageTests {
    private let folder = TemporaryFolder("languages-package")

    private static func hasPythonModule(_ name: String) -> Bool {
        guard let python = installed("python3") else { return false }
        return (try? Program.run(python, ["-c", "import \(name)"]).status) == 0
    }

    /// A key and a certificate that signs itself.
    private func daemonWithTLS() throws -> Daemon {
        try folder.shell(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=languages.test "
                + "-addext subjectAltName=DNS:languages.test -keyout key.pem -out crt.pem 2>/dev/null && chmod 600 key.pem"
        )
        let policy = "key web \(folder["key.pem"]) certificate \(folder["crt.pem"])\npermit \(caller) key web\n"
        return try Daemon(folder, policy: policy)
    }

    private var caller: UInt32 { isRoot ? 61012 : geteuid() }

    private func asCaller(_ command: [String], socket: String, _ more: [String: String] = [:]) throws -> (Int32, String)
    {
        let id = ["--reuid=\(caller)", "--regid=\(caller)", "--clear-groups"]
        let whole = isRoot ? [installed("setpriv") ?? "setpriv"] + id + command : command
        let (status, output, errors) = try Program.run(
            whole[0], Array(whole[1...]), environment: Language.environment(socket).merging(more) { $1 })
        return (status, output + errors)
    }

    @Test(.enabled(if: installed("openssl") != nil && installed("python3") != nil, "openssl and python3 are needed"))
    func pythonServesTLSWithTheKey() throws {
        let daemon = try daemonWithTLS()
        let command = try Language.python.command() + ["tls", "web", folder["crt.pem"]]
        #expect(try asCaller(command, socket: daemon.socket) == (0, "languages.test\n"))
    }

    @Test(.enabled(if: installed("openssl") != nil && GoClient.isPossible, "openssl and go are needed"))
    func goServesTLSWithTheKey() throws {
        let daemon = try daemonWithTLS()
        let command = [try GoClient.program.get(), "web", folder["crt.pem"]]
        #expect(
            try asCaller(command, socket: daemon.socket, ["KEY_FILE": folder["key.pem"]]) == (0, "languages.test\n"))
        let denied = try asCaller([command[0], "other", folder["crt.pem"]], socket: daemon.socket)
        #expect(denied.0 == 1)
        #expect(denied.1.contains("not permitted"), "\(denied.1)")
    }

    /// What pip makes of it can be imported, and has the marker of a typed package.
    @Test(
        .enabled(
            if: hasPythonModule("setuptools, wheel, pip"), "python3-pip, python3-setuptools or python3-wheel is missing"
        ))
    func pipInstallsThePackage() throws {
        try folder.shell("cp -r '\(Language.sources)/Python' source")
        let pip = try Program.run(
            installed("python3") ?? "python3",
            [
                "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install", "--quiet", "--no-index",
                "--no-build-isolation", "--no-deps", "--root-user-action=ignore", "--target", folder["installed"],
                folder["source"],
            ], environment: ["HOME": folder.path], seconds: 120)
        #expect(pip.status == 0, "\(pip.output)\(pip.errors)")
        let used = try Program.run(
            installed("python3") ?? "python3",
            [
                "-c",
                "import importlib.metadata as m, keybroker, os; print(m.version('keybroker'), keybroker.__version__, "
                    + "os.path.exists(os.path.join(os.path.dirname(keybroker.__file__), 'py.typed')))",
            ], environment: ["PYTHONPATH": folder["installed"]])
        #expect(used.output == "0.1.0 0.1.0 True\n", "\(used.output)\(used.errors)")
    }

    @Test(.enabled(if: hasPythonModule("build, setuptools, wheel"), "python3-build is missing"))
    func buildMakesAWheelAndASourceArchive() throws {
        try folder.shell("cp -r '\(Language.sources)/Python' source")
        let build = try Program.run(
            installed("python3") ?? "python3",
            ["-m", "build", "--no-isolation", "--outdir", folder["dist"], folder["source"]],
            environment: ["HOME": folder.path], seconds: 120)
        #expect(build.status == 0, "\(build.output)\(build.errors)")
        let made = try FileManager.default.contentsOfDirectory(atPath: folder["dist"]).sorted()
        #expect(made == ["keybroker-0.1.0-py3-none-any.whl", "keybroker-0.1.0.tar.gz"])
    }

    @Test(.enabled(if: hasPythonModule("mypy"), "python3-mypy is missing"))
    func theTypesOfThePythonModuleAreStrict() throws {
        try folder.shell("cp -r '\(Language.sources)/Python' source")
        let mypy = try Program.run(
            installed("python3") ?? "python3",
            ["-m", "mypy", "--strict", "--cache-dir", folder["cache"], "src/keybroker"],
            directory: folder["source"], seconds: 300)
        #expect(mypy.status == 0, "\(mypy.output)\(mypy.errors)")
    }

    @Test(.enabled(if: installed("cc") != nil && installed("c++") != nil, "a C and a C++ compiler are needed"))
    func theExampleOfTheCPageCanBeCompiled() throws {
        try folder.write("example.c", try lastExample(of: "systemd/keybroker.3"))
        // As a user includes it, and as a part that has the declarations only.
        try folder.write("user.c", "#include <keybroker.h>\nextern struct keybroker_key key;\n")
        for compiler in ["cc -std=c99", "cc -std=c17", "c++ -x c++ -std=c++11", "c++ -x c++ -std=c++20"] {
            for file in ["example.c", "user.c"] {
                try folder.shell(
                    "\(compiler) -Wall -Wextra -Wshadow -Werror -pedantic -I'\(Language.sources)/C' -c \(file) -o example.o"
                )
            }
        }
        try folder.shell(
            "cc -std=c99 -Wall -Wextra -Werror -pedantic -DKEYBROKER_STATIC -I'\(Language.sources)/C' -c example.c -o example.o"
        )
    }

    @Test(.enabled(if: installed("python3") != nil, "python3 is missing"))
    func theExampleOfTheProtocolsPageGetsAKey() throws {
        try folder.write("key", "THE KEY", mode: 0o600)
        let daemon = try Daemon(folder, policy: "key web \(folder["key"])\npermit \(caller) key web\n")
        let use = """
            key, certificate = get_key("web", "\(daemon.socket)")
            print(os.pread(key, 4096, 0).decode(), certificate)
            try:
                get_key("other", "\(daemon.socket)")
            except OSError as error:
                print(error)

            """
        try folder.write("example.py", try lastExample(of: "systemd/keybroker-protocol.7") + use)
        let (status, output) = try asCaller(
            [installed("python3") ?? "python3", folder["example.py"]], socket: daemon.socket)
        #expect(status == 0)
        #expect(output == "THE KEY None\nbroker: b'1D3 not permitted'\n", "\(output)")
    }
}
