// The demo server as the field runs such servers: behind a proxy, behind a relay, on a low port.

import Foundation
import TestSupport
import Testing

@Suite(.serialized, Jail.condition) struct DemoTests {
    private let folder = TemporaryFolder("field")
    /// The socket of the server in the manual page.
    private let path = "/run/web/tls.sock"
    /// The server's own account, as its page shows it.
    private let isItself = "\"account\":\"uid \(Demo.uid)\""

    @Test func curlOverTheSocket() throws {
        let demo = try Demo(folder)
        let server = try demo.serve()
        let line = try example("curl --unix-socket", [path: demo.socket, "/etc/ssl/web.crt": demo.certificate])
        let page = try shell("\(line)status.json", as: Demo.uid)
        #expect(page.status == 0 && page.output.contains(isItself), "\(page)")
        // Whoever is not in the server's group may not connect.
        #expect(try shell(line, as: 61_034).status == 7)
        server.signal(SIGTERM)
        #expect(try server.waitForExit() == 0)
    }

    /// nginx checks the certificate of the server behind it, and has no key of it.
    @Test(.enabled(if: installed("nginx") != nil, "nginx is not installed"))
    func nginxInFrontOfTheSocket() throws {
        let nginx = try #require(installed("nginx"))
        let demo = try Demo(folder)
        // The group of the server may connect, and nginx is in it.
        let server = try demo.serve(wrapper: ["/bin/sh", "-ec", "umask 007; exec \"$0\" \"$@\""] + Demo.account)
        try folder.directory("nginx", owner: 61_034)
        let location = try example("location / {", [path: demo.socket, "/etc/ssl/web.crt": demo.certificate])
        try folder.write(
            "nginx.conf",
            """
            daemon off; pid \(folder["nginx/pid"]); error_log stderr;
            events {}
            http {
                access_log off;
                client_body_temp_path \(folder["nginx/body"]); proxy_temp_path \(folder["nginx/proxy"]);
                fastcgi_temp_path \(folder["nginx/f"]); uwsgi_temp_path \(folder["nginx/u"]);
                scgi_temp_path \(folder["nginx/s"]);
                server {
                    listen unix:\(folder["nginx/front"]);
                    \(location)
                    \(location.replacing("location /", with: "location /wrong/").replacing("localhost", with: "a.example"))
                }
            }

            """)
        let account = ["--reuid", "61034", "--regid", "61034", "--groups", "\(Demo.uid)"]
        let proxy = try Program(
            installed("setpriv") ?? "setpriv",
            account + [nginx, "-e", "stderr", "-p", folder["nginx"], "-c", folder["nginx.conf"]])
        let front = ["--unix-socket", folder["nginx/front"]]
        // curl waits until nginx has made its socket.
        let patient = front + ["--retry", "100", "--retry-delay", "0", "--retry-all-errors", "--retry-max-time", "20"]
        #expect(try demo.page("http://localhost", patient).contains(isItself), "\(proxy.text(.error))")
        #expect(throws: Waited.self) { try demo.page("http://localhost/wrong", front) }
        for program in [proxy, server] { program.signal(SIGTERM) }
        #expect(try proxy.waitForExit() == 0)
        #expect(try server.waitForExit() == 0)
    }

    @Test(.enabled(if: installed("socat") != nil, "socat is not installed"))
    func socatForClientsThatHaveOnlyTCP() throws {
        let demo = try Demo(folder)
        let server = try demo.serve()
        let line = try example("socat TCP-LISTEN", [path: demo.socket, ":8443": ":0", "socat ": "exec socat -dd "])
        let relay = try Program("/bin/sh", ["-ec", line])
        let port = try relay.wait(for: "its port", in: .error) {
            $0.firstMatch(of: #/listening on AF=2 127\.0\.0\.1:(\d+)/#).map { String($0.1) }
        }
        #expect(try demo.page("https://localhost:\(port)", ["--ipv4"]).contains(isItself))
        // The test's thread may block other signals, which socat inherits.
        relay.signal(SIGKILL)
        try relay.waitForExit()
        server.signal(SIGTERM)
        #expect(try server.waitForExit() == 0)
    }

    /// In a network of its own, so that the port is free, and only there.
    @Test(.enabled(if: installed("ip") != nil, "ip is not installed"))
    func aLowPortWithItsOneCapability() throws {
        let ip = try #require(installed("ip"))
        let demo = try Demo(folder)
        let network = [installed("unshare") ?? "unshare", "--net", "--", "/bin/sh", "-ec"]
        let upAndRun = network + ["\(ip) link set lo up; exec \"$0\" \"$@\""]
        let options = "--key web --broker-socket \(demo.daemon.socket)"
        let line = try example(
            "setpriv --reuid",
            [
                "--reuid web --regid web --init-groups": "--reuid \(Demo.uid) --regid \(Demo.uid) --clear-groups",
                "keybroker-tls-demo --key web": "\(Program.built("keybroker-tls-demo")) \(options)",
                "setpriv ": "exec setpriv ",
            ])
        let server = try Program(upAndRun[0], Array(upAndRun.dropFirst()) + ["/bin/sh", "-ec", line])
        try server.wait(for: "readiness") { $0.contains("ready: ") ? true : nil }
        let status = try String(contentsOfFile: "/proc/\(server.pid)/status", encoding: .utf8)
        #expect(status.contains("CapEff:\t0000000000000400\n") && status.contains("CapBnd:\t0000000000000400\n"))
        let inside = [installed("nsenter") ?? "nsenter", "--target", "\(server.pid)", "--net"]
        #expect(try demo.page("https://localhost", ["--ipv4"], wrapper: inside).contains(isItself))
        server.signal(SIGTERM)
        #expect(try server.waitForExit() == 0)
        // Without it, the server says what is missing.
        let refused = try demo.start(at: "127.0.0.1:443", wrapper: upAndRun + Demo.account)
        #expect(try refused.waitForExit() == 77)
        #expect(refused.text(.error).contains("127.0.0.1:443"), "\(refused.text(.error))")
    }
}
