// handshakes CERTIFICATE KEY THREADS SECONDS
//
// Full handshakes of TLS 1.3, client and server in one thread, over memory. KEY is a file with a private key, or a pointer to
// a key of the broker. Prints how many there were, how many failed, and how long it took in seconds.
//
// handshakes --sign KEY COUNT: so many signatures of what a server signs. Prints microseconds for each.

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static SSL_CTX *server_context, *client_context;
static atomic_ulong done, failed;
static double until;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static int handshake(void) {
    SSL *server = SSL_new(server_context), *client = SSL_new(client_context);
    BIO *a = NULL, *b = NULL;
    if (!server || !client || !BIO_new_bio_pair(&a, 0, &b, 0)) fail("no connection");
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    int client_done = 0, server_done = 0, good = 1;
    for (int turn = 0; turn < 20 && good && !(client_done && server_done); turn++) {
        if (!client_done) {
            int result = SSL_do_handshake(client);
            client_done = result == 1;
            if (result != 1 && SSL_get_error(client, result) != SSL_ERROR_WANT_READ) good = 0;
        }
        if (good && !server_done) {
            int result = SSL_do_handshake(server);
            server_done = result == 1;
            if (result != 1 && SSL_get_error(server, result) != SSL_ERROR_WANT_READ) good = 0;
        }
    }
    good = good && client_done && server_done;
    SSL_free(server);
    SSL_free(client);
    return good;
}

static void *work(void *unused) {
    while (now() < until) {
        if (handshake()) atomic_fetch_add(&done, 1);
        else if (atomic_fetch_add(&failed, 1) == 0) ERR_print_errors_fp(stderr);
        ERR_clear_error();
    }
    return unused;
}

static int sign(const char *path, long count) {
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *key = file ? PEM_read_bio_PrivateKey(file, NULL, NULL, NULL) : NULL;
    if (!key) fail(path);
    unsigned char message[64 + 34 + 32], signature[1024];
    memset(message, 0x20, sizeof message);
    memcpy(message + 64, "TLS 1.3, server CertificateVerify", 34);
    double began = 0;
    for (long i = -10; i < count; i++) {
        if (i == 0) began = now();
        EVP_MD_CTX *context = EVP_MD_CTX_new();
        EVP_PKEY_CTX *options = NULL;
        size_t length = sizeof signature;
        int is_ed25519 = EVP_PKEY_is_a(key, "ED25519");
        if (EVP_DigestSignInit_ex(context, &options, is_ed25519 ? NULL : "SHA256", NULL, NULL, key, NULL) != 1
            || (EVP_PKEY_is_a(key, "RSA")
                && (EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING) != 1
                    || EVP_PKEY_CTX_set_rsa_pss_saltlen(options, RSA_PSS_SALTLEN_DIGEST) != 1))
            || EVP_DigestSign(context, signature, &length, message, sizeof message) != 1)
            fail("no signature");
        EVP_MD_CTX_free(context);
    }
    printf("%.2f\n", (now() - began) / (double)count * 1e6);
    return 0;
}

int main(int count, char **arguments) {
    if (count == 4 && strcmp(arguments[1], "--sign") == 0) return sign(arguments[2], atol(arguments[3]));
    if (count != 5) return 64;
    server_context = SSL_CTX_new(TLS_server_method());
    client_context = SSL_CTX_new(TLS_client_method());
    for (int i = 0; i < 2; i++) {
        SSL_CTX *context = i ? client_context : server_context;
        SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    }
    SSL_CTX_set_num_tickets(server_context, 0);
    SSL_CTX_set_verify(client_context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_use_certificate_file(server_context, arguments[1], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_use_PrivateKey_file(server_context, arguments[2], SSL_FILETYPE_PEM) != 1
        || SSL_CTX_load_verify_file(client_context, arguments[1]) != 1)
        fail("no certificate or key");
    if (!handshake()) fail("no handshake");
    int threads = atoi(arguments[3]);
    double began = now();
    until = began + atof(arguments[4]);
    pthread_t all[64];
    for (int i = 0; i < threads && i < 64; i++) pthread_create(&all[i], NULL, work, NULL);
    for (int i = 0; i < threads && i < 64; i++) pthread_join(all[i], NULL);
    printf("%lu %lu %.3f\n", atomic_load(&done), atomic_load(&failed), now() - began);
    return 0;
}
