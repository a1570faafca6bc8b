// Shows the facts as an HTML page and as JSON.
//
// Must never show text without escaping it.

internal import Wire

enum Page {
    /// - Parameter isLent: whether the key stays with the broker.
    static func html(_ rows: [Facts.Row], isLent: Bool = false) -> String {
        let (title, story) =
            isLent
            ? (
                "A TLS service with a key that it never had",
                "This server has no private key. keybrokerd gave it a channel to keybroker-signer, which signs its "
                    + "handshakes; OpenSSL asks there through the provider keybroker.so."
            )
            : (
                "A TLS service that was handed its key",
                "This server got its private key as an open descriptor from keybrokerd."
            )
        let table = rows.map { "<tr><th>\(escaped($0.label))<td><code>\(escaped($0.value))</code>\n" }
        return """
            <!doctype html>
            <html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>keybroker demo</title>
            <style>
            body { font: 1rem/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem }
            th { text-align: left; font-weight: 600; padding-right: 2rem; vertical-align: top; white-space: nowrap }
            code { overflow-wrap: anywhere }
            </style>
            <h1>\(title)</h1>
            <p>\(story)</p>
            <table>
            \(table.joined())</table>
            <p>The certificate tells the same fingerprint:<br>
            <code>openssl x509 -in CERTIFICATE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum</code></p>
            <p>The same as JSON: <a href="/status.json">status.json</a></p>
            </html>

            """
    }

    static func json(_ rows: [Facts.Row]) -> String {
        var object = JSONObject()
        for row in rows { object.add(row.field, row.value) }
        return object.text + "\n"
    }

    private static func escaped(_ text: String) -> String {
        text.unicodeScalars.map { scalar in
            switch scalar {
            case "&": "&amp;"
            case "<": "&lt;"
            case ">": "&gt;"
            case "\"": "&quot;"
            case "'": "&#39;"
            default: String(scalar)
            }
        }.joined()
    }
}
