// A key that stays with the broker, as OpenSSL's provider keybroker.so has it.
//
// Must never touch OpenSSL's settings for the rest of the process: what it loads, it loads into a library context of its own.

internal import COpenSSL
internal import Glibc
package import PEM

/// A private key of which only the public half is in this process. OpenSSL signs with it through the provider.
@safe package final class LentKey {
    // Safety: the context, and with it the providers, belong to this object. Who uses the key keeps this object.
    let library: OpaquePointer
    // Safety: as above.
    let pointer: OpaquePointer

    /// Loads the provider, and has it ask the broker for a channel.
    /// - Parameters:
    ///   - name: the key's name in the policy.
    ///   - provider: the path of `keybroker.so`. Nil: where OpenSSL looks for modules.
    ///   - socketPath: of the broker. Sets the variable `KEYBROKER_SOCKET` of this process, by which the provider finds it,
    ///     so no other thread may run.
    package init(_ name: String, provider: String?, socketPath: String?) throws(LibraryFailure) {
        ERR_clear_error()
        // Safety: the call copies two NUL-terminated strings, and no other thread uses the environment.
        if let socketPath, unsafe setenv("KEYBROKER_SOCKET", socketPath, 1) != 0 {
            throw LibraryFailure("the environment has no room for KEYBROKER_SOCKET")
        }
        // Safety: a fresh context, or nil.
        guard let library = unsafe OSSL_LIB_CTX_new() else { throw .now("OpenSSL has no memory for a library context") }
        do throws(LibraryFailure) {
            // Safety: the context is valid until it is freed, here or at the end of this object.
            unsafe pointer = try unsafe Self.key(name, provider, library)
        } catch {
            // Safety: nothing refers to it any more.
            unsafe OSSL_LIB_CTX_free(library)
            throw error
        }
        // Safety: this object owns it from here on.
        unsafe self.library = library
    }

    deinit {
        // Safety: nothing refers to the key, and then to the context, any more.
        unsafe EVP_PKEY_free(pointer)
        // Safety: as above. It unloads its providers.
        unsafe OSSL_LIB_CTX_free(library)
    }

    private static func key(
        _ name: String, _ provider: String?, _ library: OpaquePointer
    ) throws(LibraryFailure) -> OpaquePointer {
        var module = "keybroker"
        if let provider {
            let parts = provider.split(separator: "/", omittingEmptySubsequences: false)
            let folder = parts.dropLast().joined(separator: "/")
            module = (parts.last ?? "").hasSuffix(".so") ? String((parts.last ?? "").dropLast(3)) : ""
            // Safety: the call copies a NUL-terminated string.
            guard !module.isEmpty, unsafe OSSL_PROVIDER_set_default_search_path(library, folder) == 1 else {
                throw LibraryFailure("\(provider) is no path of a provider; name keybroker.so with its folder")
            }
        }
        // Public halves are the default provider's, and it comes first.
        for module in ["default", module] {
            // Safety: the context owns the provider.
            guard unsafe OSSL_PROVIDER_load(library, module) != nil else {
                throw .now(
                    "OpenSSL cannot load the provider '\(module)'; "
                        + "install keybroker, or name keybroker.so with --provider PATH")
            }
        }
        // Safety: a fresh store, or nil. It copies the text.
        let store = unsafe OSSL_STORE_open_ex("keybroker://\(name)", library, nil, nil, nil, nil, nil, nil)
        // Safety: as above.
        guard let store = unsafe store else { throw .now("OpenSSL cannot ask the broker") }
        // Safety: nothing refers to it after this.
        defer { unsafe OSSL_STORE_close(store) }
        // Safety: the store is valid while it is read, and so is what it gives until it is freed.
        while unsafe OSSL_STORE_eof(store) == 0 {
            // Safety: as above.
            guard let found = unsafe OSSL_STORE_load(store) else { continue }
            // Safety: as above.
            defer { unsafe OSSL_STORE_INFO_free(found) }
            // Safety: a reference of its own, or nil.
            if let key = unsafe OSSL_STORE_INFO_get1_PKEY(found) { return unsafe key }
        }
        throw .now("OpenSSL got no key '\(name)' from the broker")
    }
}

/// Why OpenSSL's provider did not sign, if the last call failed because of that. Empties the error queue of this thread.
func refusedSignature() -> String? {
    var reason: String?
    while true {
        var text: UnsafePointer<CChar>?
        // Safety: the call sets the pointer to a text that is valid until the next error, or to nil.
        let code = unsafe kb_next_error(&text)
        if code == 0 { return reason }
        // Safety: as above.
        if reason == nil, ERR_GET_LIB(code) == ERR_LIB_PROV { reason = unsafe text.map { unsafe String(cString: $0) } }
    }
}
