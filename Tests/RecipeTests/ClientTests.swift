// The recipe for a client with a key of its own, and what holds for the page as a whole.
//
// Must never have a recipe of its own.

import Foundation
import TestSupport
import Testing

extension RecipeTests {
    /// curl shows the certificate of its key to a server that asks for one.
    @Test(.enabled(if: installed("curl") != nil, "curl is not installed")) func aClientHasItsKeyFromTheBrokerAlone()
        throws
    {
        try shop.tryClient(try shop.recipe("curl"))
    }
}

extension Shop {
    /// A client shows the certificate of its key to a server that asks for one, and the next one after a rotation.
    func tryClient(_ recipe: Recipe) throws {
        let files = try files("client-tls", of: recipe)
        let server = try self.files("web-tls", of: recipe)
        let account = try #require(recipe.permit?.account)
        try follow(recipe)
        // -www answers with a page about the connection, the client's certificate included.
        try machine.must(
            """
            systemd-run --quiet --collect --unit=asks-for-certificates openssl s_server -accept 443 -www -Verify 1 \
                -cert \(server.certificate) -key \(server.key)
            """)
        defer { _ = try? machine.must("systemctl stop asks-for-certificates.service") }
        try machine.wait(until: "openssl s_client -connect 127.0.0.1:443 </dev/null 2>&1 | grep -q ^subject")
        for step in recipe.steps {
            guard case .commands(let lines) = step else { continue }
            for name in ["first client-tls", "next client-tls"] {
                if name.hasPrefix("next") { try machine.must(Self.make(name, files.key, files.certificate)) }
                for line in lines {
                    let command = "env CURL_CA_BUNDLE=\(server.certificate) \(line)"
                    let page = try machine.must(Machine.asUser(account, command))
                    #expect(page.contains("Subject: CN=\(name)\n"), "\(page)")
                    #expect(try copies(of: files.key).isEmpty)
                }
            }
        }
        #expect(recipe.steps.contains { if case .commands = $0 { true } else { false } })
    }
}

/// What can be seen in the page's text.
struct RecipePageTests {
    @Test func everyRecipeIsTried() throws {
        let named = try RecipePage().recipes.map(\.name)
        #expect(Set(named) == Set(Trial.all.map(\.recipe) + ["curl"]))
        #expect(Set(named).count == named.count)
        let lent = try RecipePage().lent.map(\.name)
        #expect(lent.sorted() == (Trial.lent.map(\.recipe) + [LentKeyTests.client]).sorted())
    }

    /// Each recipe permits the key to one account in one unit, and to no group.
    @Test func everyRecipePermitsAsLittleAsItCan() throws {
        let page = try RecipePage()
        for recipe in page.recipes + page.lent {
            let permit = try #require(recipe.permit, "\(recipe.name)")
            let unit = permit.account.hasPrefix("unit:") ? String(permit.account.dropFirst(5)) : permit.unit
            #expect(unit == recipe.unit, "\(recipe.name)")
            #expect(!permit.account.hasPrefix(":"), "\(recipe.name)")
        }
    }

    /// Nothing in the page writes a key anywhere.
    @Test func noRecipeWritesAKey() throws {
        let page = try String(contentsOf: RecipePage.path, encoding: .utf8)
        #expect(!page.contains("keybroker get"))
        // A pointer is no key.
        #expect(!page.replacing("keybroker pointer web-tls --output", with: "").contains("--output"))
    }
}
