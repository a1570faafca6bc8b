// SIGNATURE: the message goes to the signer whole, which looks at it and hashes it.
//
// Must never hash here, and never sign in another way than it was asked for.

#include "internal.h"

#include <string.h>

struct operation {
    struct kb_key *key;
    int bits; // of the hash: 256, 384 or 512; 0 if none was named
    int isPSS;
    unsigned char *message; // as far as it has come in pieces
    size_t length;
};

static void *begin(void *provider, const char *properties) {
    (void)provider, (void)properties;
    return OPENSSL_zalloc(sizeof(struct operation));
}

static void end(void *object) {
    struct operation *operation = object;
    if (operation == NULL) return;
    kb_key_free(operation->key);
    OPENSSL_free(operation->message);
    OPENSSL_free(operation);
}

static void *duplicate(void *object) {
    const struct operation *original = object;
    struct operation *copy = OPENSSL_memdup(original, sizeof *original);
    if (copy == NULL) return NULL;
    if (original->message != NULL && (copy->message = OPENSSL_malloc(kb_longest_message)) == NULL) {
        OPENSSL_free(copy);
        return NULL;
    }
    if (copy->message != NULL) memcpy(copy->message, original->message, original->length);
    if (copy->key != NULL) kb_key_retain(copy->key);
    return copy;
}

static int bits_of(const char *hash) {
    if (OPENSSL_strcasecmp(hash, "SHA256") == 0 || OPENSSL_strcasecmp(hash, "SHA2-256") == 0) return 256;
    if (OPENSSL_strcasecmp(hash, "SHA384") == 0 || OPENSSL_strcasecmp(hash, "SHA2-384") == 0) return 384;
    if (OPENSSL_strcasecmp(hash, "SHA512") == 0 || OPENSSL_strcasecmp(hash, "SHA2-512") == 0) return 512;
    return -1;
}

static uint16_t scheme(const struct operation *operation) {
    const struct kb_type *type = operation->key->type;
    if (type == &kb_ed25519) return 0x0807;
    if (type == &kb_ed448) return 0x0808;
    if (type == &kb_ec) {
        int size = EVP_PKEY_get_bits(operation->key->public_half);
        uint16_t only = size == 256 ? 0x0403 : size == 384 ? 0x0503 : size == 521 ? 0x0603 : 0;
        int bits = size == 521 ? 512 : size;
        return operation->bits == 0 || operation->bits == bits ? only : 0;
    }
    int step = operation->bits == 384 ? 1 : operation->bits == 512 ? 2 : 0;
    return (uint16_t)(operation->isPSS ? 0x0804 + step : 0x0401 + 0x0100 * step);
}

static int says(const OSSL_PARAM *parameter, const char *word, int number) {
    if (parameter->data_type == OSSL_PARAM_UTF8_STRING)
        return parameter->data != NULL && OPENSSL_strcasecmp(parameter->data, word) == 0;
    int value;
    return OSSL_PARAM_get_int(parameter, &value) && value == number;
}

// If something of it cannot be, all stays as it was: a program may sign although it was told so.
static int set(void *object, const OSSL_PARAM parameters[]) {
    struct operation *operation = object;
    if (parameters == NULL) return 1;
    int named = operation->bits, isPSS = operation->isPSS;
    const OSSL_PARAM *one = OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_DIGEST);
    if (one != NULL && (one->data_type != OSSL_PARAM_UTF8_STRING || (named = bits_of(one->data)) < 0))
        return kb_error("the key broker signs with SHA-256, SHA-384 and SHA-512");
    if ((one = OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_PAD_MODE)) != NULL) {
        isPSS = says(one, "pss", 6);
        if (!isPSS && !says(one, "pkcs1", 1))
            return kb_error("the key broker signs with RSA in PSS and PKCS #1 form");
    }
    int bits = named ? named : 256;
    // "auto" leaves the choice of the salt to who signs.
    if ((one = OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_PSS_SALTLEN)) != NULL && !says(one, "digest", -1)
        && !says(one, "auto", -2) && !says(one, "auto-digestmax", -4) && !says(one, "", bits / 8))
        return kb_error("the salt of a PSS signature of the key broker is as long as its hash");
    if ((one = OSSL_PARAM_locate_const(parameters, OSSL_SIGNATURE_PARAM_MGF1_DIGEST)) != NULL
        && (one->data_type != OSSL_PARAM_UTF8_STRING || bits_of(one->data) != bits))
        return kb_error("the mask of a PSS signature of the key broker has the hash of the signature");
    operation->bits = named;
    operation->isPSS = isPSS;
    return 1;
}

static int start(void *object, const char *hash, void *provider_key, const OSSL_PARAM parameters[]) {
    struct operation *operation = object;
    struct kb_key *key = provider_key != NULL ? provider_key : operation->key;
    if (key == NULL || key->channels == NULL) return kb_error("only the public half of the key is here");
    if (key != operation->key) {
        kb_key_retain(key);
        kb_key_free(operation->key);
        operation->key = key;
    }
    operation->length = 0;
    int bits = hash == NULL || *hash == 0 ? 0 : bits_of(hash);
    if (bits < 0) return kb_error("the key broker does not sign with %s", hash);
    operation->bits = bits;
    return set(operation, parameters);
}

static int sign(void *object, unsigned char *signature, size_t *length, size_t room, const unsigned char *message,
                size_t count) {
    struct operation *operation = object;
    size_t longest = (size_t)EVP_PKEY_get_size(operation->key->public_half);
    if (signature == NULL) {
        *length = longest;
        return 1;
    }
    uint16_t wanted = scheme(operation);
    int isOffered = 0;
    for (size_t i = 0; i < operation->key->scheme_count; i++) isOffered |= operation->key->schemes[i] == wanted;
    if (!isOffered)
        return kb_error("the channel to '%s' does not sign in that way (0x%04x)", operation->key->name, wanted);
    size_t made = kb_channels_sign(operation->key->channels, wanted, message, count, signature, room);
    *length = made;
    return made > 0;
}

static int add(void *object, const unsigned char *data, size_t count) {
    struct operation *operation = object;
    if (count > kb_longest_message - operation->length)
        return kb_error("a message for the key broker has at most %d bytes", kb_longest_message);
    if (operation->message == NULL && (operation->message = OPENSSL_malloc(kb_longest_message)) == NULL) return 0;
    if (count > 0) memcpy(operation->message + operation->length, data, count);
    operation->length += count;
    return 1;
}

static int finish(void *object, unsigned char *signature, size_t *length, size_t room) {
    struct operation *operation = object;
    return sign(operation, signature, length, room, operation->message, operation->length);
}

// ---- parameters -----------------------------------------------------------------------------

// The AlgorithmIdentifier in DER, for certificates and requests. PSS has none here: its form has parameters of its own.
static size_t identifier(uint16_t scheme, unsigned char der[16]) {
    static const unsigned char ecdsa[] = {0x30, 0x0A, 6, 8, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 4, 3, 0};
    static const unsigned char rsa[] = {0x30, 0x0D, 6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 0, 5, 0};
    static const unsigned char edwards[] = {0x30, 5, 6, 3, 0x2B, 0x65, 0};
    unsigned char step = (unsigned char)((scheme >> 8) - 4);
    switch (scheme) {
    case 0x0403: case 0x0503: case 0x0603:
        memcpy(der, ecdsa, sizeof ecdsa);
        der[11] = (unsigned char)(2 + step);
        return sizeof ecdsa;
    case 0x0401: case 0x0501: case 0x0601:
        memcpy(der, rsa, sizeof rsa);
        der[12] = (unsigned char)(11 + step);
        return sizeof rsa;
    case 0x0807: case 0x0808:
        memcpy(der, edwards, sizeof edwards);
        der[6] = scheme == 0x0807 ? 0x70 : 0x71;
        return sizeof edwards;
    default: return 0;
    }
}

static int get(void *object, OSSL_PARAM parameters[]) {
    struct operation *operation = object;
    OSSL_PARAM *one = OSSL_PARAM_locate(parameters, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);
    if (one != NULL) {
        unsigned char der[16];
        size_t length = operation->key == NULL ? 0 : identifier(scheme(operation), der);
        if (length == 0 || !OSSL_PARAM_set_octet_string(one, der, length)) return 0;
    }
    if ((one = OSSL_PARAM_locate(parameters, OSSL_SIGNATURE_PARAM_DIGEST)) != NULL) {
        const char *name = operation->bits == 384 ? "SHA384" : operation->bits == 512 ? "SHA512" : "SHA256";
        if (!OSSL_PARAM_set_utf8_string(one, name)) return 0;
    }
    return 1;
}

static const OSSL_PARAM *gettable(void *object, void *provider) {
    (void)object, (void)provider;
    static const OSSL_PARAM known[] = {OSSL_PARAM_octet_string(OSSL_SIGNATURE_PARAM_ALGORITHM_ID, NULL, 0),
                                       OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0), OSSL_PARAM_END};
    return known;
}

static const OSSL_PARAM *settable(void *object, void *provider) {
    (void)object, (void)provider;
    static const OSSL_PARAM known[] = {OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, NULL, 0),
                                       OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
                                       OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
                                       OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_MGF1_DIGEST, NULL, 0), OSSL_PARAM_END};
    return known;
}

static const OSSL_DISPATCH functions[] = {
    {OSSL_FUNC_SIGNATURE_NEWCTX, (void (*)(void))begin},
    {OSSL_FUNC_SIGNATURE_FREECTX, (void (*)(void))end},
    {OSSL_FUNC_SIGNATURE_DUPCTX, (void (*)(void))duplicate},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, (void (*)(void))start},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_UPDATE, (void (*)(void))add},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN_FINAL, (void (*)(void))finish},
    {OSSL_FUNC_SIGNATURE_DIGEST_SIGN, (void (*)(void))sign},
    {OSSL_FUNC_SIGNATURE_GET_CTX_PARAMS, (void (*)(void))get},
    {OSSL_FUNC_SIGNATURE_GETTABLE_CTX_PARAMS, (void (*)(void))gettable},
    {OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, (void (*)(void))set},
    {OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, (void (*)(void))settable},
    {0, NULL},
};

const OSSL_ALGORITHM kb_signatures[] = {
    {"ECDSA", "provider=keybroker", functions, "ECDSA by the key broker"},
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", "provider=keybroker", functions, "RSA by the key broker"},
    {"ED25519:1.3.101.112", "provider=keybroker", functions, "Ed25519 by the key broker"},
    {"ED448:1.3.101.113", "provider=keybroker", functions, "Ed448 by the key broker"},
    {NULL, NULL, NULL, NULL},
};
