// What the tests know of a service beside its recipe: what shows that it is installed, where it serves, and as whom.

import TestSupport
import Testing

/// A service that a recipe of the page is tried with.
struct Trial: Sendable, CustomTestStringConvertible {
    /// The title of the recipe.
    let recipe: String
    /// A program of the Debian package.
    let program: String
    /// The port of the recipe. The machine of the tests has a network of its own, so it is free.
    let port: Int
    /// The account of the processes that serve.
    let account: String
    /// The option with which `openssl s_client` begins TLS, if it is not the first thing that is said.
    var startTLS = ""
    var renewal = Renewal.reads
    /// The port of another server that it wants to reach. Without one it ends each connection at once.
    var backend: Int?

    /// How the service gets its next key.
    enum Renewal {
        /// It is told, and reads the key again.
        case reads
        /// It reads its key only once, so a new key ends it, and systemd starts it anew.
        case isStartedAnew
        /// Nobody tells it: the admin restarts it.
        case isRestartedByHand
    }

    var testDescription: String { recipe }

    /// Says so if the service is not installed.
    var isInstalled: Bool {
        if installed(program) != nil { return true }
        print("skipped: \(program) is not installed")
        return false
    }

    /// Those whose keys stay with the broker.
    static let lent = [
        Trial(recipe: "nginx, with a key that stays", program: "nginx", port: 443, account: "www-data"),
        Trial(recipe: "apache2, with a key that stays", program: "apache2", port: 443, account: "www-data"),
        Trial(recipe: "haproxy, with a key that stays", program: "haproxy", port: 443, account: "haproxy"),
        Trial(
            recipe: "stunnel4, with a key that stays", program: "stunnel4", port: 443, account: "stunnel4", backend: 80),
        Trial(recipe: "redis-server, with a key that stays", program: "redis-server", port: 6380, account: "redis"),
        Trial(
            recipe: "postgresql, with a key that stays", program: "pg_ctlcluster", port: 5432, account: "postgres",
            startTLS: "-starttls postgres"),
        Trial(recipe: "Python, with a key that stays", program: "python3", port: 8443, account: "python-server"),
    ]

    static let all = [
        Trial(recipe: "nginx", program: "nginx", port: 443, account: "www-data"),
        Trial(recipe: "apache2", program: "apache2", port: 443, account: "www-data"),
        Trial(recipe: "haproxy", program: "haproxy", port: 443, account: "haproxy"),
        Trial(recipe: "stunnel4", program: "stunnel4", port: 443, account: "stunnel4"),
        Trial(recipe: "caddy", program: "caddy", port: 443, account: "caddy"),
        Trial(recipe: "lighttpd", program: "lighttpd", port: 443, account: "www-data"),
        Trial(recipe: "hitch", program: "hitch", port: 443, account: "_hitch"),
        Trial(recipe: "redis-server", program: "redis-server", port: 6380, account: "redis"),
        Trial(recipe: "valkey-server", program: "valkey-server", port: 6380, account: "valkey"),
        Trial(
            recipe: "postgresql", program: "pg_ctlcluster", port: 5432, account: "postgres",
            startTLS: "-starttls postgres"),
        Trial(recipe: "mosquitto", program: "mosquitto", port: 8883, account: "mosquitto"),
        Trial(recipe: "prometheus", program: "prometheus", port: 9090, account: "prometheus"),
        Trial(recipe: "gunicorn", program: "gunicorn", port: 8443, account: "www-data"),
        Trial(recipe: "Node", program: "node", port: 8443, account: "www-data"),
        Trial(recipe: "Go", program: "go", port: 8443, account: "www-data", renewal: .isStartedAnew),
        Trial(
            recipe: "LoadCredential=", program: "gunicorn", port: 8443, account: "web-server",
            renewal: .isRestartedByHand),
    ]
}
