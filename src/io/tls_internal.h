/*
 * tls_internal: what tls.c (contexts) and tls_conn.c (sessions) share. For these two alone.
 */
#ifndef WARREN_TLS_INTERNAL_H
#define WARREN_TLS_INTERNAL_H

#include "io/tls.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* How many servers a client context remembers a session for. */
#define TLS_SESSIONS_MAX 64u

/* The last session with a server, to be resumed by the next connection to the same name. */
struct tls_known {
    char *server_name;
    SSL_SESSION *session;
};

/* Certificates of one server, at most. */
#define TLS_CERTS_MAX 256u

struct tls_ctx {
    atomic_uint refs;
    SSL_CTX *ssl;
    BIO_METHOD *bio; /* over a socket; never raises SIGPIPE */
    bool is_server;
    bool verify_peer;
    bool has_ca_file;
    bool nobody_may_come;
    uint8_t alpn[1 + UINT8_MAX]; /* length and name, as it travels (RFC 7301, 3.1) */
    unsigned alpn_len;           /* 0: none */
    struct tls_ctx **others;     /* of a server: one for each further certificate; NULL: none */
    unsigned other_count;
    bool strict_sni;

    /* Everything above is immutable. Connections of several loops share what is below. */
    pthread_mutex_t lock;
    struct tls_known known[TLS_SESSIONS_MAX];
    unsigned known_count;
    unsigned known_next; /* the one to give up when all are taken */
};

/* Put the cause that OpenSSL's queue of errors holds behind the message; empties the queue. Always
 * false. */
bool tls_err_set(struct err *err, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* The files of a server's certificates: those that are named, and what lies in folders. */
struct tls_files {
    char *paths[TLS_CERTS_MAX];
    unsigned count;
};
MUST_CHECK bool tls_files_find(struct tls_files *f, const struct tls_options *o, struct err *err);
void tls_files_free(struct tls_files *f);

/* Show the certificate that is for the name which a client asks for. */
void tls_choose_by_name(struct tls_ctx *ctx);

/* Make a key and a certificate for it, and have the context show them. */
MUST_CHECK bool tls_use_own(SSL_CTX *ssl, struct err *err);

/* A name as text on one line, or NULL when there is none or it is too long. The caller's. */
char *tls_name_text(const X509_NAME *name);

/* Lent. */
SSL *tls_conn_ssl(const struct tls_conn *c);

/* The method of a BIO whose data is a `struct tls_conn`. */
BIO_METHOD *tls_bio_method_new(void);

/* A callback of OpenSSL's: the server gave a ticket. */
int tls_on_new_session(SSL *ssl, SSL_SESSION *session);

/* The session to resume with that server, counted, or NULL. */
SSL_SESSION *tls_known_get(struct tls_ctx *ctx, const char *server_name);

/* Takes the reference to `session`. */
void tls_known_put(struct tls_ctx *ctx, const char *server_name, SSL_SESSION *session);

#endif
