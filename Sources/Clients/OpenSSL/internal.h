// What the files of the provider share.
//
// Must never write to standard error, handle a signal, start a thread or keep a key: it runs inside other people's programs.

#ifndef KEYBROKER_OPENSSL_INTERNAL_H
#define KEYBROKER_OPENSSL_INTERNAL_H

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <stddef.h>
#include <stdint.h>

enum {
    kb_longest_name = 63,       // of a key
    kb_longest_message = 16384, // that is signed
    kb_longest_reply = 4096,    // on a channel
    kb_most_schemes = 16,
    kb_patience = 1000, // milliseconds: for a reply of the broker, and for one of the signer
};

// ---- the provider ---------------------------------------------------------------------------

struct kb_provider {
    const OSSL_CORE_HANDLE *handle;
    // For the public halves of keys: the algorithms of the default provider.
    OSSL_LIB_CTX *library;
};

// Puts an error into OpenSSL's queue, with a text. Returns 0.
int kb_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

extern const OSSL_ALGORITHM kb_keys[], kb_signatures[], kb_decoders[], kb_stores[];

// ---- channels -------------------------------------------------------------------------------

// The channels to one key: as many as are used at the same time.
struct kb_channels;

// What the first packet on a channel says.
struct kb_hello {
    size_t scheme_count;
    uint16_t schemes[kb_most_schemes];
    size_t length; // of the public key
    unsigned char public_key[kb_longest_reply];
};

// Asks the broker for a channel. NULL if there is none; the reason is in the error queue.
struct kb_channels *kb_channels_open(const char *name, struct kb_hello *hello);
void kb_channels_close(struct kb_channels *channels);
// Has a message signed. Returns the length of the signature, or 0; the reason is in the error queue. If the channel has
// ended, another is asked for; it must be of the same key.
size_t kb_channels_sign(struct kb_channels *channels, uint16_t scheme, const unsigned char *message, size_t length,
                        unsigned char *signature, size_t room);
// Called once, before anything else here.
int kb_channels_prepare(void);

// Connects to the broker and asks for a channel: a descriptor, or -1 with the reason in the error queue. `deadline` is a
// time of kb_now.
int kb_ask_broker(const char *name, int64_t deadline);
// Milliseconds of a clock that never goes back.
int64_t kb_now(void);
// Waits until the descriptor is readable. Returns 0 at the deadline.
int kb_wait(int descriptor, int64_t deadline);

// ---- keys -----------------------------------------------------------------------------------

struct kb_type {
    const char *name;      // of the key, as EVP_PKEY_is_a(3) knows it
    const char *signature; // of the algorithm by which it signs
};
extern const struct kb_type kb_ec, kb_rsa, kb_ed25519, kb_ed448;

struct kb_key {
    struct kb_provider *provider;
    const struct kb_type *type;
    int references;
    // Empty and NULL if only the public half is here.
    char name[kb_longest_name + 1];
    struct kb_channels *channels;
    size_t scheme_count;
    uint16_t schemes[kb_most_schemes];
    EVP_PKEY *public_half; // NULL before it is imported
};

// A key in the broker, with one reference. NULL if there is none; the reason is in the error queue.
struct kb_key *kb_key_open(struct kb_provider *provider, const char *name);
void kb_key_retain(struct kb_key *key);
void kb_key_free(void *key);
// The decoders of a file keep its key until one of them takes it. It must not live longer than its provider.
void kb_forget_last_key(void);

// The name of a key in the DER of a pointer file: SEQUENCE { UTF8String "keybroker:NAME" }. Returns 0 if it is none.
int kb_name_in_pointer(const unsigned char *der, size_t length, char name[kb_longest_name + 1]);
// Writes that DER, of less than 128 bytes, and returns its length.
size_t kb_pointer_to(const char *name, unsigned char der[128]);
int kb_is_name(const char *name, size_t length);

#endif
