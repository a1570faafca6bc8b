// STORE: keybroker://NAME of OSSL_STORE(3). It gives the DER of a pointer, which the decoders turn into a key.
//
// Must never open a file.

#include "internal.h"

#include <openssl/core_object.h>
#include <string.h>

struct store {
    char name[kb_longest_name + 1];
    int isDone;
};

static void *open_uri(void *provider, const char *uri) {
    (void)provider;
    static const char scheme[] = "keybroker:";
    if (strncmp(uri, scheme, sizeof scheme - 1) != 0) return NULL;
    const char *name = uri + sizeof scheme - 1;
    // keybroker:NAME is tried as the name of a file before it comes here; keybroker://NAME is not.
    if (strncmp(name, "//", 2) == 0) name += 2;
    if (!kb_is_name(name, strlen(name))) {
        kb_error("'%s' names no key; write keybroker://NAME", uri);
        return NULL;
    }
    struct store *store = OPENSSL_zalloc(sizeof *store);
    if (store != NULL) strcpy(store->name, name);
    return store;
}

static int set(void *context, const OSSL_PARAM parameters[]) { return (void)context, (void)parameters, 1; }
static const OSSL_PARAM *settable(void *provider) {
    (void)provider;
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};
    return none;
}

static int load(void *context, OSSL_CALLBACK *callback, void *argument, OSSL_PASSPHRASE_CALLBACK *passphrase,
                void *passphrase_argument) {
    (void)passphrase, (void)passphrase_argument;
    struct store *store = context;
    if (store->isDone) return 0;
    store->isDone = 1;
    unsigned char der[128];
    size_t length = kb_pointer_to(store->name, der);
    int kind = OSSL_OBJECT_PKEY;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &kind),
        OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, (char *)"KeyBrokerUri", 0),
        OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, der, length), OSSL_PARAM_construct_end()};
    return callback(parameters, argument);
}

static int eof(void *context) { return ((struct store *)context)->isDone; }

static int end(void *context) {
    OPENSSL_free(context);
    return 1;
}

static const OSSL_DISPATCH functions[] = {
    {OSSL_FUNC_STORE_OPEN, (void (*)(void))open_uri},
    {OSSL_FUNC_STORE_SET_CTX_PARAMS, (void (*)(void))set},
    {OSSL_FUNC_STORE_SETTABLE_CTX_PARAMS, (void (*)(void))settable},
    {OSSL_FUNC_STORE_LOAD, (void (*)(void))load},
    {OSSL_FUNC_STORE_EOF, (void (*)(void))eof},
    {OSSL_FUNC_STORE_CLOSE, (void (*)(void))end},
    {0, NULL},
};

const OSSL_ALGORITHM kb_stores[] = {
    {"keybroker", "provider=keybroker", functions, "keys of the key broker"},
    {NULL, NULL, NULL, NULL},
};
