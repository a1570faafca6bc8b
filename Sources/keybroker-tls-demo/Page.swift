// What the server says: its page, the same facts as JSON, and the answers to what it does not have.
//
// Must never show a byte of the key, nor a text that it did not escape.

internal import Kernel

/// What is true of this server as long as it has this key.
struct Facts {
    let name: String
    let account: String
    /// What came of opening the key's path; nil where no path is known here.
    let keyPath: (path: String, outcome: String)?
    let decision: UInt64
    let kind: String
    let fingerprint: String

    init(_ options: Options, _ identity: Identity) {
        name = options.key
        let uid = Privileges.effectiveUID
        let user = (try? Accounts.user(numbered: uid))?.name
        account = user.map { "uid \(uid) (\($0))" } ?? "uid \(uid)"
        keyPath = options.keyPath.map { path in
            do throws(Failure) {
                try tryOpening(path)
                return (path, "can be opened by this account, which it should not be")
            } catch { return (path, "cannot be opened by this account: \(error.reason) (\(error.name))") }
        }
        decision = identity.decision
        kind = identity.kind
        fingerprint = identity.fingerprint
    }

    /// In the order in which they are shown: a name for JSON, one for people, the value.
    func rows(cipher: String) -> [(field: String, label: String, value: String)] {
        [
            ("account", "runs as", account),
            ("key", "key", name),
            ("key_path", "its path", keyPath.map { "\($0.path) \($0.outcome)" } ?? "not known to this service"),
            ("decision", "decision of the broker", String(decision)),
            ("kind", "kind of key", kind),
            ("fingerprint", "public key, SHA-256", fingerprint),
            ("connection", "this connection", cipher),
        ]
    }
}

/// A response, ready to be sent.
struct HTTPResponse {
    let bytes: [UInt8]

    /// The answer to a request.
    static func to(_ request: HTTPRequest, _ facts: Facts, cipher: String, keepsAlive: Bool) -> HTTPResponse {
        let isHead = request.method == "HEAD"
        guard isHead || request.method == "GET" else {
            return HTTPResponse(
                405, "text/plain", "This server has pages to GET, and no more.\n", keepsAlive,
                extra: "Allow: GET, HEAD\r\n")
        }
        switch request.target.split(separator: "?", maxSplits: 1).first {
        case "/": return HTTPResponse(200, "text/html; charset=utf-8", html(facts, cipher), keepsAlive, isHead: isHead)
        case "/status.json":
            return HTTPResponse(200, "application/json", json(facts, cipher), keepsAlive, isHead: isHead)
        default: return HTTPResponse(404, "text/plain", "There is / and /status.json.\n", keepsAlive, isHead: isHead)
        }
    }

    /// The answer to what is no request.
    static func to(faulty status: Int) -> HTTPResponse {
        HTTPResponse(status, "text/plain", "\(phrases[status] ?? "Error").\n", false)
    }

    private static let phrases = [
        200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 413: "Content Too Large",
        414: "URI Too Long", 431: "Request Header Fields Too Large", 501: "Not Implemented",
        505: "HTTP Version Not Supported",
    ]

    private init(
        _ status: Int, _ type: String, _ body: String, _ keepsAlive: Bool, isHead: Bool = false, extra: String = ""
    ) {
        let head =
            "HTTP/1.1 \(status) \(Self.phrases[status] ?? "Error")\r\nContent-Type: \(type)\r\n"
            + "Content-Length: \(body.utf8.count)\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            + extra + (keepsAlive ? "" : "Connection: close\r\n") + "\r\n"
        bytes = Array(head.utf8) + (isHead ? [] : Array(body.utf8))
    }

    private static func html(_ facts: Facts, _ cipher: String) -> String {
        let rows = facts.rows(cipher: cipher).map {
            "<tr><th>\(escaped($0.label))<td><code>\(escaped($0.value))</code>\n"
        }
        return """
            <!doctype html>
            <html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>keybroker demo</title>
            <style>
            body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem }
            th { text-align: left; font-weight: 600; padding-right: 2rem; vertical-align: top; white-space: nowrap }
            code { overflow-wrap: anywhere }
            </style>
            <h1>A TLS service that cannot open its key</h1>
            <p>This server got its private key as an open descriptor from keybrokerd.</p>
            <table>
            \(rows.joined())</table>
            </html>

            """
    }

    private static func escaped(_ text: String) -> String {
        text.map { character in
            switch character {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            default: String(character)
            }
        }.joined()
    }

    private static func json(_ facts: Facts, _ cipher: String) -> String {
        "{" + facts.rows(cipher: cipher).map { "\"\($0.field)\":\"\(jsonEscaped($0.value))\"" }.joined(separator: ",")
            + "}\n"
    }

    private static func jsonEscaped(_ text: String) -> String {
        text.unicodeScalars.map { scalar in
            switch scalar {
            case "\"": "\\\""
            case "\\": "\\\\"
            case _ where scalar.value < 0x20:
                "\\u00" + (scalar.value < 0x10 ? "0" : "") + String(scalar.value, radix: 16)
            default: String(scalar)
            }
        }.joined()
    }
}
