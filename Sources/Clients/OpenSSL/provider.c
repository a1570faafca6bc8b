// The OpenSSL provider keybroker.so: programs sign with keys that stay with the broker.
//
// This file says what the provider has. It is C, and not Swift: Embedded Swift needs unsafe flags, with which a package
// cannot be a dependency, and the Swift runtime would install handlers for signals in the program that loads it.

#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

int kb_error(const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ERR_raise_data(ERR_LIB_PROV, ERR_R_OPERATION_FAIL, "%s", text);
    return 0;
}

static const OSSL_PARAM *gettable(void *context) {
    (void)context;
    static const OSSL_PARAM known[] = {
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_NAME, OSSL_PARAM_UTF8_PTR, NULL, 0),
        OSSL_PARAM_DEFN(OSSL_PROV_PARAM_STATUS, OSSL_PARAM_INTEGER, NULL, 0), OSSL_PARAM_END};
    return known;
}

static int get(void *context, OSSL_PARAM parameters[]) {
    (void)context;
    OSSL_PARAM *name = OSSL_PARAM_locate(parameters, OSSL_PROV_PARAM_NAME);
    if (name != NULL && !OSSL_PARAM_set_utf8_ptr(name, "Key broker")) return 0;
    OSSL_PARAM *status = OSSL_PARAM_locate(parameters, OSSL_PROV_PARAM_STATUS);
    return status == NULL || OSSL_PARAM_set_int(status, 1);
}

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_store) {
    (void)context;
    *no_store = 0;
    switch (operation) {
    case OSSL_OP_KEYMGMT: return kb_keys;
    case OSSL_OP_SIGNATURE: return kb_signatures;
    case OSSL_OP_DECODER: return kb_decoders;
    case OSSL_OP_STORE: return kb_stores;
    default: return NULL;
    }
}

static void end(void *context) {
    struct kb_provider *provider = context;
    kb_forget_last_key();
    OSSL_LIB_CTX_free(provider->library);
    OPENSSL_free(provider);
}

__attribute__((visibility("default"))) int OSSL_provider_init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in,
                                                              const OSSL_DISPATCH **out, void **context) {
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))end},
        {OSSL_FUNC_PROVIDER_GETTABLE_PARAMS, (void (*)(void))gettable},
        {OSSL_FUNC_PROVIDER_GET_PARAMS, (void (*)(void))get},
        {OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query},
        {0, NULL},
    };
    if (!kb_channels_prepare()) return 0;
    struct kb_provider *provider = OPENSSL_zalloc(sizeof *provider);
    if (provider == NULL) return 0;
    provider->handle = handle;
    provider->library = OSSL_LIB_CTX_new_from_dispatch(handle, in);
    if (provider->library == NULL) {
        OPENSSL_free(provider);
        return 0;
    }
    *out = functions;
    *context = provider;
    return 1;
}
