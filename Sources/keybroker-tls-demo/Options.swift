// The command line of keybroker-tls-demo.
//
// Must never guess: what is not known ends the program before it asked for a key.

internal import TLS
internal import Wire

/// What the server was told to do.
struct Options {
    var key = ""
    var addresses: [Address] = []
    var certificate: String?
    var brokerSocket: String?
    var wait = 0
    var keyPath: String?
    var idleSeconds = 10
    var maxConnections = 512

    enum Request {
        case serve(Options)
        case help
        case version
    }

    /// One line: what is wrong with the command line.
    struct Fault: Error { let description: String }

    static func request(_ arguments: [String]) throws(Fault) -> Request {
        var options = Options()
        var rest = arguments[...]
        while let name = rest.popFirst() {
            func value() throws(Fault) -> String {
                guard let value = rest.popFirst(), !value.isEmpty else {
                    throw Fault(description: "\(name) needs a value")
                }
                return value
            }
            func number(_ range: ClosedRange<Int>) throws(Fault) -> Int {
                let text = try value()
                guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
                    range.contains(number)
                else {
                    throw Fault(
                        description:
                            "\(name) is a number from \(range.lowerBound) to \(range.upperBound), not '\(text)'")
                }
                return number
            }
            switch name {
            case "--help", "-h": return .help
            case "--version": return .version
            case "--key": options.key = try value()
            case "--listen":
                let text = try value()
                do throws(Address.Malformed) { options.addresses.append(try Address(text)) } catch {
                    throw Fault(description: error.description)
                }
            case "--certificate": options.certificate = try value()
            case "--broker-socket": options.brokerSocket = try value()
            case "--wait": options.wait = try number(0...86_400)
            case "--key-path": options.keyPath = try value()
            case "--idle-timeout": options.idleSeconds = try number(1...3_600)
            case "--max-connections": options.maxConnections = try number(1...16_384)
            default: throw Fault(description: "unknown argument '\(name)'")
            }
        }
        guard !options.key.isEmpty else { throw Fault(description: "--key NAME is missing") }
        guard !options.addresses.isEmpty else { throw Fault(description: "--listen ADDRESS is missing") }
        return .serve(options)
    }

    static let help = """
        USAGE: keybroker-tls-demo --key NAME --listen ADDRESS [OPTION]...

        A small HTTPS server that gets its private key from the key broker, as an open descriptor.

          --key NAME             the key to ask for
          --listen ADDRESS       127.0.0.1:8443, [::1]:8443 or unix:/PATH; may be repeated; port 0 is any free one
          --certificate PATH     the certificate and its chain, where the broker hands none over
          --broker-socket PATH   the broker's socket ($KEYBROKER_SOCKET, else /run/keybroker/broker.sock)
          --wait SECONDS         how long to wait for a broker that is starting or busy (0)
          --key-path PATH        a path of the key, to show on the page that this account cannot open it
          --idle-timeout SECONDS how long a client may take for a handshake, a request, a response (10)
          --max-connections N    at a time (512)
          --version              print the version
          --help                 print this

        The page shows SHA-256 of the public key, as this computes it of the certificate:
          openssl x509 -in CERTIFICATE -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum

        SIGHUP asks the broker again and serves new connections with what it hands over; SIGTERM and SIGINT
        finish the responses in hand and end. Exit status: 0 done, 64 usage, 69 the broker cannot be reached,
        71 system error, 75 try again, 77 not permitted, 78 the key or certificate cannot be used.
        """
}
