// DECODER: from the PEM of a pointer file to its DER, and from that to a key. Two levels are needed, as OpenSSL's file store
// gives DER to decoders and PEM_read_bio_PrivateKey gives PEM.
//
// Must never ask the broker more than once for one file, although OpenSSL tries a decoder for each kind of key.

#include "internal.h"

#include <openssl/bio.h>
#include <openssl/core_object.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>

// One decoder of a file. OpenSSL makes one for each kind of key that it tries, and frees them together.
struct decoder {
    struct kb_provider *provider;
};

static void *begin(void *provider) {
    struct decoder *decoder = OPENSSL_malloc(sizeof *decoder);
    if (decoder != NULL) decoder->provider = provider;
    return decoder;
}

static void end(void *decoder);

static int selects(void *provider, int selection) {
    (void)provider;
    return selection == 0 || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY);
}

// ---- PEM ------------------------------------------------------------------------------------

static int decode_pem(void *context, OSSL_CORE_BIO *input, int selection, OSSL_CALLBACK *callback, void *argument,
                      OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_argument) {
    (void)selection, (void)passphrase, (void)passphrase_argument;
    const struct decoder *decoder = context;
    BIO *bio = BIO_new_from_core_bio(decoder->provider->library, input);
    if (bio == NULL) return 0;
    char *label = NULL, *header = NULL;
    unsigned char *data = NULL;
    long length = 0;
    // What is no PEM, or another kind of it, is for other decoders.
    int result = 1;
    ERR_set_mark();
    if (PEM_read_bio(bio, &label, &header, &data, &length) && strcmp(label, "KEYBROKER URI") == 0) {
        OSSL_PARAM parameters[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_STRUCTURE, (char *)"KeyBrokerUri", 0),
            OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_DATA, data, (size_t)length),
            OSSL_PARAM_construct_end()};
        ERR_pop_to_mark();
        result = callback(parameters, argument);
    } else {
        ERR_pop_to_mark();
    }
    OPENSSL_free(label);
    OPENSSL_free(header);
    OPENSSL_free(data);
    BIO_free(bio);
    return result;
}

// ---- DER ------------------------------------------------------------------------------------

// The key that was opened last, for the decoders of the other kinds. It goes when one of them takes it, and at the latest with
// the decoder that opened it: a program may have asked for another kind, and the key's channel must not stay open for that.
static struct {
    pthread_mutex_t lock;
    const struct decoder *opener;
    struct kb_provider *provider;
    char name[kb_longest_name + 1];
    int64_t until;
    struct kb_key *key; // NULL if the broker did not give it
} last = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { moment = 200, tries = 100 };

// A key with one reference, or NULL.
static struct kb_key *open_once(const struct decoder *decoder, const char *name) {
    // In a child that was forked meanwhile the lock may be held for ever: then it asks without it.
    int isLocked = pthread_mutex_trylock(&last.lock) == 0;
    struct kb_key *key;
    if (isLocked && last.until > kb_now() && last.provider == decoder->provider && strcmp(last.name, name) == 0) {
        key = last.key;
    } else {
        key = kb_key_open(decoder->provider, name);
        if (isLocked) {
            kb_key_free(last.key);
            if (key != NULL) kb_key_retain(key);
            last.key = key;
            last.opener = decoder;
            last.provider = decoder->provider;
            strcpy(last.name, name);
            last.until = kb_now() + moment;
        }
        if (isLocked) pthread_mutex_unlock(&last.lock);
        return key;
    }
    if (key != NULL) kb_key_retain(key);
    pthread_mutex_unlock(&last.lock);
    return key;
}

static void forget_locked(void) {
    kb_key_free(last.key);
    last.key = NULL;
    last.until = 0;
}

void kb_forget_last_key(void) {
    if (pthread_mutex_trylock(&last.lock) != 0) return;
    forget_locked();
    pthread_mutex_unlock(&last.lock);
}

static void end(void *decoder) {
    // Another thread holds the lock for an instant, or asks the broker, and then it drops the key itself.
    int isLocked = 0;
    for (int i = 0; i < tries && !(isLocked = pthread_mutex_trylock(&last.lock) == 0); i++) sched_yield();
    if (isLocked) {
        // What the broker refused is still remembered: OpenSSL may try the file once more.
        if (last.opener == decoder && last.key != NULL) forget_locked();
        pthread_mutex_unlock(&last.lock);
    }
    OPENSSL_free(decoder);
}

static int decode_der(const struct decoder *decoder, OSSL_CORE_BIO *input, const struct kb_type *type,
                      OSSL_CALLBACK *callback, void *argument) {
    BIO *bio = BIO_new_from_core_bio(decoder->provider->library, input);
    if (bio == NULL) return 0;
    unsigned char der[256];
    char name[kb_longest_name + 1];
    int length = BIO_read(bio, der, sizeof der);
    BIO_free(bio);
    if (length <= 0 || !kb_name_in_pointer(der, (size_t)length, name)) return 1;
    struct kb_key *key = open_once(decoder, name);
    if (key == NULL) return 1; // the reason is in the error queue
    int result = 1;
    if (key->type == type) {
        int kind = OSSL_OBJECT_PKEY;
        OSSL_PARAM parameters[] = {
            OSSL_PARAM_construct_int(OSSL_OBJECT_PARAM_TYPE, &kind),
            OSSL_PARAM_construct_utf8_string(OSSL_OBJECT_PARAM_DATA_TYPE, (char *)type->name, 0),
            OSSL_PARAM_construct_octet_string(OSSL_OBJECT_PARAM_REFERENCE, &key, sizeof key),
            OSSL_PARAM_construct_end()};
        result = callback(parameters, argument);
        kb_forget_last_key();
    }
    // Whoever took it has made it NULL.
    kb_key_free(key);
    return result;
}

#define DECODER(kind) \
    static int decode_##kind(void *decoder, OSSL_CORE_BIO *input, int selection, OSSL_CALLBACK *callback, \
                             void *argument, OSSL_PASSPHRASE_CALLBACK *passphrase, void *passphrase_argument) { \
        (void)selection, (void)passphrase, (void)passphrase_argument; \
        return decode_der(decoder, input, &kb_##kind, callback, argument); \
    } \
    FUNCTIONS(kind)

#define FUNCTIONS(kind) \
    static const OSSL_DISPATCH kind##_functions[] = { \
        {OSSL_FUNC_DECODER_NEWCTX, (void (*)(void))begin}, \
        {OSSL_FUNC_DECODER_FREECTX, (void (*)(void))end}, \
        {OSSL_FUNC_DECODER_DOES_SELECTION, (void (*)(void))selects}, \
        {OSSL_FUNC_DECODER_DECODE, (void (*)(void))decode_##kind}, \
        {0, NULL}, \
    };

FUNCTIONS(pem)
DECODER(ec)
DECODER(rsa)
DECODER(ed25519)
DECODER(ed448)

#define FROM_DER "provider=keybroker,input=der,structure=KeyBrokerUri"

const OSSL_ALGORITHM kb_decoders[] = {
    {"DER", "provider=keybroker,input=pem", pem_functions, "pointer files of the key broker"},
    {"EC:id-ecPublicKey:1.2.840.10045.2.1", FROM_DER, ec_functions, "pointers to EC keys"},
    {"RSA:rsaEncryption:1.2.840.113549.1.1.1", FROM_DER, rsa_functions, "pointers to RSA keys"},
    {"ED25519:1.3.101.112", FROM_DER, ed25519_functions, "pointers to Ed25519 keys"},
    {"ED448:1.3.101.113", FROM_DER, ed448_functions, "pointers to Ed448 keys"},
    {NULL, NULL, NULL, NULL},
};
