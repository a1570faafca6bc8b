// Callers in a real systemd: the unit that a process belongs to, and keys that are credentials of the service manager.
//
// Must never wait for a fixed time if there is an event to wait for.

import Foundation
import TestSupport
import Testing

extension ServiceTests {
    // MARK: Units of callers

    /// The real nginx of Debian with its real unit. It gets its key from the broker. Root gets none outside of that
    /// unit.
    @Test(.enabled(if: installed("nginx") != nil, "nginx is not installed")) func nginx() throws {
        try machine.must(
            """
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost -keyout /etc/ssl/private/nginx.pem -out /etc/ssl/certs/nginx.pem
            chmod 600 /etc/ssl/private/nginx.pem
            ip link set lo up 2>/dev/null || true
            rm -f /etc/nginx/sites-enabled/*
            """)
        try machine.write(
            "/etc/nginx/conf.d/tls.conf",
            """
            server { listen unix:/run/nginx-tls.sock ssl; ssl_certificate /etc/ssl/certs/nginx.pem;
                ssl_certificate_key /run/nginx-key/key.pem; return 200 "served"; }

            """)
        try machine.write(
            "/run/systemd/system/nginx.service.d/key.conf",
            """
            [Unit]
            After=keybrokerd.socket
            [Service]
            RuntimeDirectory=nginx-key
            RuntimeDirectoryMode=0700
            ExecStartPre=
            ExecStartPre=keybroker get nginx-tls --output /run/nginx-key/key.pem

            """)
        try machine.policy(
            "key nginx-tls /etc/ssl/private/nginx.pem\npermit root unit nginx.service key nginx-tls\n"
                + "permit www-data key web")
        try machine.must("systemctl daemon-reload; systemctl restart keybrokerd.service; systemctl start nginx.service")
        let page = "curl -sS --cacert /etc/ssl/certs/nginx.pem --unix-socket /run/nginx-tls.sock https://localhost/"
        #expect(try machine.must(page) == "served")
        let granted = try machine.records().last { $0["decision"] as? String == "granted" }
        #expect(granted?["unit"] as? String == "nginx.service")
        #expect(granted?["uid"] as? Int == 0)
        // The same uid, outside of the unit and in another unit.
        #expect(try machine.mustFail("keybroker get nginx-tls").status == 77)
        #expect(try machine.records().last?["unit"] as? String == "with-systemd-command.scope")
        #expect(
            try machine.mustFail("systemd-run --quiet --wait --unit=not-nginx keybroker get nginx-tls").status == 77)
        // Stopped at once. Stopping the unit would wait for clients first.
        try machine.must("nginx -s stop; rm -r /run/systemd/system/nginx.service.d")
    }

    @Test func templatesAndDynamicUsers() throws {
        try machine.write(
            "/run/systemd/system/worker@.service",
            """
            [Service]
            Type=oneshot
            DynamicUser=yes
            SupplementaryGroups=keyusers
            ExecStart=keybroker get web
            StandardOutput=truncate:/run/worker.out

            """)
        try machine.policy("permit :keyusers unit worker@*.service key web")
        try machine.must("systemctl daemon-reload; systemctl restart keybrokerd.service")
        try machine.must("systemctl start worker@one.service")
        #expect(try machine.must("cat /run/worker.out") == "THE KEY")
        let record = try machine.records().last
        #expect(record?["unit"] as? String == "worker@one.service")
        // A uid that systemd allocates for a time. It is in no file, and was not in the policy.
        #expect((61184...65519).contains(record?["uid"] as? Int ?? 0))
        let other = "systemd-run --quiet --wait -p DynamicUser=yes -p SupplementaryGroups=keyusers"
        #expect(try machine.mustFail("\(other) --unit=worker-one keybroker get web").status == 77)
        #expect(try machine.mustFail(Machine.asUser("www-data", "keybroker get web")).status == 77)
    }

    // MARK: Keys that are credentials

    /// Credentials of the broker's own unit. One is encrypted on disk, and decrypted only in the service manager's
    /// memory.
    @Test func keysAsCredentials() throws {
        try machine.write(
            "/run/systemd/system/keybrokerd.service.d/keys.conf",
            """
            [Service]
            LoadCredential=web.pem:/etc/ssl/private/web.pem
            LoadCredentialEncrypted=vault.pem:/etc/keybroker/vault.cred

            """)
        defer {
            _ = try? machine.must("rm -r /run/systemd/system/keybrokerd.service.d; systemctl daemon-reload")
        }
        try machine.policy(
            "key lent credential:web.pem\nkey vault credential:vault.pem\npermit www-data key web lent vault")
        try machine.must(
            """
            echo 'THE SECRET' | systemd-creds --quiet --with-key=host --name=vault.pem encrypt - /etc/keybroker/vault.cred
            systemctl daemon-reload
            systemctl start keybrokerd.service
            """)
        #expect(try machine.must(Machine.asUser("www-data", "keybroker get lent")) == "THE KEY")
        #expect(try machine.must(Machine.asUser("www-data", "keybroker get vault")) == "THE SECRET")
        // Nobody else can read them in that directory.
        let vault = "/run/credentials/keybrokerd.service/vault.pem"
        #expect(try machine.records().last.flatMap { $0["file"] as? [String: Any] }?["path"] as? String == vault)
        _ = try machine.mustFail(Machine.asUser("www-data", "cat \(vault)"))
    }
}
