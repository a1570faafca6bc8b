// KEYMGMT: keys whose private half is with the broker, and the public halves that OpenSSL compares them with.
//
// Must never export what was asked for as a private key: OpenSSL then signs here. All work with public halves is the default
// provider's.

#include "internal.h"

#include <string.h>

const struct kb_type kb_ec = {"EC", "ECDSA"}, kb_rsa = {"RSA", "RSA"}, kb_ed25519 = {"ED25519", "ED25519"},
                     kb_ed448 = {"ED448", "ED448"};
static const struct kb_type *const types[] = {&kb_ec, &kb_rsa, &kb_ed25519, &kb_ed448};

static struct kb_key *make(struct kb_provider *provider, const struct kb_type *type) {
    struct kb_key *key = OPENSSL_zalloc(sizeof *key);
    if (key == NULL) return NULL;
    key->provider = provider;
    key->type = type;
    key->references = 1;
    return key;
}

void kb_key_retain(struct kb_key *key) { __atomic_add_fetch(&key->references, 1, __ATOMIC_RELAXED); }

void kb_key_free(void *object) {
    struct kb_key *key = object;
    if (key == NULL || __atomic_sub_fetch(&key->references, 1, __ATOMIC_ACQ_REL) > 0) return;
    kb_channels_close(key->channels);
    EVP_PKEY_free(key->public_half);
    OPENSSL_free(key);
}

// The public half in SubjectPublicKeyInfo, read by the default provider.
static EVP_PKEY *public_half(struct kb_provider *provider, const struct kb_hello *hello) {
    const unsigned char *at = hello->public_key;
    return d2i_PUBKEY_ex(NULL, &at, (long)hello->length, provider->library, NULL);
}

struct kb_key *kb_key_open(struct kb_provider *provider, const char *name) {
    struct kb_hello *hello = OPENSSL_malloc(sizeof *hello);
    if (hello == NULL) return NULL;
    struct kb_key *key = NULL;
    EVP_PKEY *half = NULL;
    struct kb_channels *channels = kb_channels_open(name, hello);
    if (channels != NULL && (half = public_half(provider, hello)) != NULL) {
        for (size_t i = 0; i < sizeof types / sizeof *types && key == NULL; i++)
            if (EVP_PKEY_is_a(half, types[i]->name)) key = make(provider, types[i]);
        if (key == NULL) kb_error("the key '%s' is of a kind that this provider does not know", name);
    }
    if (key != NULL) {
        strncpy(key->name, name, kb_longest_name);
        key->channels = channels;
        key->public_half = half;
        key->scheme_count = hello->scheme_count;
        memcpy(key->schemes, hello->schemes, sizeof key->schemes);
    } else {
        kb_channels_close(channels);
        EVP_PKEY_free(half);
    }
    OPENSSL_free(hello);
    return key;
}

static void *new_ec(void *provider) { return make(provider, &kb_ec); }
static void *new_rsa(void *provider) { return make(provider, &kb_rsa); }
static void *new_ed25519(void *provider) { return make(provider, &kb_ed25519); }
static void *new_ed448(void *provider) { return make(provider, &kb_ed448); }

// What a decoder passes on: a pointer to a key, with its reference.
static void *load(const void *reference, size_t size) {
    if (reference == NULL || size != sizeof(struct kb_key *)) return NULL;
    struct kb_key *key = *(struct kb_key **)reference;
    *(struct kb_key **)reference = NULL;
    return key;
}

static int has(const void *object, int selection) {
    const struct kb_key *key = object;
    if (key == NULL) return 0;
    if ((selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) && key->channels == NULL) return 0;
    if ((selection & (OSSL_KEYMGMT_SELECT_PUBLIC_KEY | OSSL_KEYMGMT_SELECT_ALL_PARAMETERS)) && key->public_half == NULL)
        return 0;
    return 1;
}

static int match(const void *one, const void *other, int selection) {
    const struct kb_key *a = one, *b = other;
    (void)selection;
    return a->public_half != NULL && b->public_half != NULL && EVP_PKEY_eq(a->public_half, b->public_half) == 1;
}

static int get_parameters(void *object, OSSL_PARAM parameters[]) {
    const struct kb_key *key = object;
    if (key->public_half == NULL || !EVP_PKEY_get_params(key->public_half, parameters)) return 0;
    // On each curve there is one hash by which the signer signs.
    OSSL_PARAM *hash = OSSL_PARAM_locate(parameters, OSSL_PKEY_PARAM_DEFAULT_DIGEST);
    if (hash == NULL || key->type != &kb_ec || key->channels == NULL) return 1;
    int bits = EVP_PKEY_get_bits(key->public_half);
    return OSSL_PARAM_set_utf8_string(hash, bits == 384 ? "SHA384" : bits == 521 ? "SHA512" : "SHA256");
}

#define COMMON \
    OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL), \
        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL)

static const OSSL_PARAM ec_parameters[] = {
    COMMON, OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_X, NULL, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_EC_PUB_Y, NULL, 0), OSSL_PARAM_END};
static const OSSL_PARAM rsa_parameters[] = {
    COMMON, OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};
static const OSSL_PARAM ed_parameters[] = {
    COMMON, OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_MANDATORY_DIGEST, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, NULL, 0),
    OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};

static const OSSL_PARAM *gettable_ec(void *provider) { return (void)provider, ec_parameters; }
static const OSSL_PARAM *gettable_rsa(void *provider) { return (void)provider, rsa_parameters; }
static const OSSL_PARAM *gettable_ed(void *provider) { return (void)provider, ed_parameters; }

// What a public half consists of when it goes from one provider to another.
static const OSSL_PARAM ec_half[] = {
    OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
    OSSL_PARAM_END};
static const OSSL_PARAM rsa_half[] = {
    OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0), OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0), OSSL_PARAM_END};
static const OSSL_PARAM ed_half[] = {OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END};

static int isPublic(int selection) { return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0; }
static const OSSL_PARAM *types_ec(int selection) { return isPublic(selection) ? ec_half : NULL; }
static const OSSL_PARAM *types_rsa(int selection) { return isPublic(selection) ? rsa_half : NULL; }
static const OSSL_PARAM *types_ed(int selection) { return isPublic(selection) ? ed_half : NULL; }

static int export(void *object, int selection, OSSL_CALLBACK *callback, void *argument) {
    const struct kb_key *key = object;
    if (!isPublic(selection) || key->public_half == NULL) return 0;
    OSSL_PARAM *parameters = NULL;
    if (!EVP_PKEY_todata(key->public_half, EVP_PKEY_PUBLIC_KEY, &parameters)) return 0;
    int result = callback(parameters, argument);
    OSSL_PARAM_free(parameters);
    return result;
}

static int import(void *object, int selection, const OSSL_PARAM parameters[]) {
    struct kb_key *key = object;
    if (!isPublic(selection) || key->public_half != NULL) return 0;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(key->provider->library, key->type->name, NULL);
    int result = context != NULL && EVP_PKEY_fromdata_init(context) == 1
                 && EVP_PKEY_fromdata(context, &key->public_half, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)parameters) == 1;
    EVP_PKEY_CTX_free(context);
    return result;
}

static const char *operation_ec(int operation) { return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL; }

#define FUNCTIONS(kind, family) \
    static const OSSL_DISPATCH kind##_functions[] = { \
        {OSSL_FUNC_KEYMGMT_NEW, (void (*)(void))new_##kind}, \
        {OSSL_FUNC_KEYMGMT_FREE, (void (*)(void))kb_key_free}, \
        {OSSL_FUNC_KEYMGMT_LOAD, (void (*)(void))load}, \
        {OSSL_FUNC_KEYMGMT_HAS, (void (*)(void))has}, \
        {OSSL_FUNC_KEYMGMT_MATCH, (void (*)(void))match}, \
        {OSSL_FUNC_KEYMGMT_GET_PARAMS, (void (*)(void))get_parameters}, \
        {OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, (void (*)(void))gettable_##family}, \
        {OSSL_FUNC_KEYMGMT_EXPORT, (void (*)(void))export}, \
        {OSSL_FUNC_KEYMGMT_EXPORT_TYPES, (void (*)(void))types_##family}, \
        {OSSL_FUNC_KEYMGMT_IMPORT, (void (*)(void))import}, \
        {OSSL_FUNC_KEYMGMT_IMPORT_TYPES, (void (*)(void))types_##family},

#define END {0, NULL} };

FUNCTIONS(ec, ec) {OSSL_FUNC_KEYMGMT_QUERY_OPERATION_NAME, (void (*)(void))operation_ec}, END
FUNCTIONS(rsa, rsa) END
FUNCTIONS(ed25519, ed) END
FUNCTIONS(ed448, ed) END

const OSSL_ALGORITHM kb_keys[] = {
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", "provider=keybroker", ec_functions, "EC keys of the key broker"},
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=keybroker", rsa_functions, "RSA keys of the key broker"},
    {"ED25519:1.3.101.112", "provider=keybroker", ed25519_functions, "Ed25519 keys of the key broker"},
    {"ED448:1.3.101.113", "provider=keybroker", ed448_functions, "Ed448 keys of the key broker"},
    {NULL, NULL, NULL, NULL},
};
