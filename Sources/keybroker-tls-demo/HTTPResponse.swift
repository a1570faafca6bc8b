// Makes the response to a request, ready to be sent.
//
// Must never announce a length that differs from the body's. Must never promise to keep a connection open that it
// closes.

/// The bytes of a response.
struct HTTPResponse {
    let bytes: [UInt8]

    /// The response to a request. The rows are evaluated only if a page shows them.
    static func to(
        _ request: HTTPRequest, keepsAlive: Bool, isLent: Bool, _ rows: @autoclosure () -> [Facts.Row]
    ) -> HTTPResponse {
        let isHead = request.method == "HEAD"
        guard isHead || request.method == "GET" else {
            return HTTPResponse(
                405, plain, "This server has pages to GET, and no more.\n", keepsAlive, extra: "Allow: GET, HEAD\r\n")
        }
        switch request.path {
        case "/":
            let page = Page.html(rows(), isLent: isLent)
            return HTTPResponse(200, "text/html; charset=utf-8", page, keepsAlive, isHead: isHead)
        case "/status.json":
            return HTTPResponse(200, "application/json", Page.json(rows()), keepsAlive, isHead: isHead)
        default:
            return HTTPResponse(404, plain, "There is / and /status.json.\n", keepsAlive, isHead: isHead)
        }
    }

    /// The response to input that is not a request. The connection ends after it.
    static func to(faulty status: Int) -> HTTPResponse {
        HTTPResponse(status, plain, "\(phrase(status)).\n", false)
    }

    private static let plain = "text/plain; charset=utf-8"

    private static func phrase(_ status: Int) -> String {
        switch status {
        case 200: "OK"
        case 400: "Bad Request"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 431: "Request Header Fields Too Large"
        case 501: "Not Implemented"
        case 505: "HTTP Version Not Supported"
        default: "Error"
        }
    }

    private init(
        _ status: Int, _ type: String, _ body: String, _ keepsAlive: Bool, isHead: Bool = false, extra: String = ""
    ) {
        let head =
            "HTTP/1.1 \(status) \(Self.phrase(status))\r\nContent-Type: \(type)\r\n"
            + "Content-Length: \(body.utf8.count)\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
            + extra + (keepsAlive ? "" : "Connection: close\r\n") + "\r\n"
        bytes = Array(head.utf8) + (isHead ? [] : Array(body.utf8))
    }
}
