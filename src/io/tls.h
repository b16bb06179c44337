/*
 * tls: contexts (certificates, keys, what to verify), reload, and the session under a stream.
 *
 * A context is immutable once made and counted: a reload makes a new one, sessions that run keep
 * the old. Only src/io sees OpenSSL's sockets.
 */
#ifndef WARREN_TLS_H
#define WARREN_TLS_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "io/lock.h"

#include <stdint.h>

struct tls_ctx;

struct tls_options {
    /* PEM, the chain; with the key too when key_file is NULL. NULL: none. Of a server it may be a
     * folder: each file *.pem in it, the first by name for clients that name nobody. */
    const char *cert_file;
    const char *const *more_certs; /* of a server, with their keys: files and folders */
    size_t more_cert_count;
    bool strict_sni; /* who asks for no name that a certificate is for is refused */
    const char *key_file;
    const char *ca_file;     /* whom to trust; NULL: the system's */
    bool verify_peer;        /* require and verify the other side's certificate */
    bool nobody_may_come;    /* ... but a client that shows none comes in, as nobody */
    const char *min_version; /* "1.2" or "1.3"; NULL: 1.2 */
    const char *alpn;        /* protocol name to offer and accept, or NULL */
    bool own_key;       /* no files: a key and a certificate are made, for this context alone */
    const char *suites; /* of TLS 1.3, in order of preference; NULL: ours */
};

/* The error names the file and the cause. */
MUST_CHECK struct tls_ctx *tls_server_ctx_new(const struct tls_options *o, struct err *err);
MUST_CHECK struct tls_ctx *tls_client_ctx_new(const struct tls_options *o, struct err *err);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx **ctx);

/* Where threads that begin sessions find the context in force while another one replaces it. */
struct tls_slot {
    struct lock lock;
    struct tls_ctx *ctx;
};
void tls_slot_init(struct tls_slot *s);
void tls_slot_fini(struct tls_slot *s);
void tls_slot_put(struct tls_slot *s, struct tls_ctx **ctx); /* takes it */
struct tls_ctx *tls_slot_get(struct tls_slot *s);            /* a reference; NULL: none was put */

/* From when until when a certificate holds; wall time, seconds. */
struct tls_term {
    int64_t from_s;
    int64_t until_s;
};

enum tls_whose {
    TLS_OWN,     /* the chain that is shown, the own one first */
    TLS_TRUSTED, /* those of ca_file; none when there is no such file */
};

/* For each certificate that the context was made of. Any thread. */
typedef void (*tls_term_fn)(const struct tls_term *term, void *arg);
void tls_ctx_terms(const struct tls_ctx *ctx, enum tls_whose whose, tls_term_fn fn, void *arg);

/* ---- for stream.c alone --------------------------------------------------------------------- */

struct tls_conn;

enum tls_result {
    TLS_OK,         /* *done octets moved, or the handshake is over */
    TLS_WANT_READ,  /* go on when the socket is readable */
    TLS_WANT_WRITE, /* ... writable */
    TLS_CLOSED,     /* the peer ended the session in order */
    TLS_FAILED      /* *err says why */
};

struct tls_conn *tls_conn_new(struct tls_ctx *ctx, int fd, bool server, const char *server_name);
void tls_conn_free(struct tls_conn **c); /* with a farewell; the fd stays open */
/* Tell the peer, once, that nothing more comes; dropped if the socket does not take it now. */
void tls_conn_farewell(struct tls_conn *c);
MUST_CHECK enum tls_result tls_conn_handshake(struct tls_conn *c, struct err *err);
MUST_CHECK enum tls_result tls_conn_read(struct tls_conn *c, void *into, size_t room, size_t *done,
                                         struct err *err);
/* OpenSSL reads a record with two system calls, and moves all that it has read beyond one to the
 * front of its buffer each time. Between these two, what the socket has comes to `room`
 * (TLS_AHEAD_LEAST octets or more), and records are cut from there. What is left is kept. */
#define TLS_AHEAD_LEAST ((size_t)16 * 1024)
void tls_conn_ahead(struct tls_conn *c, uint8_t *room, size_t octets);
void tls_conn_ahead_end(struct tls_conn *c);
MUST_CHECK enum tls_result tls_conn_write(struct tls_conn *c, struct slice from, size_t *done,
                                          struct err *err);

/* Each record is a system call, unless they are gathered: between the two, records of
 * tls_conn_write come together in `room` (TLS_GATHER_LEAST octets or more), and leave when it is
 * full and at the end. What the socket does not take then is kept, and goes before anything else.
 */
#define TLS_GATHER_LEAST ((size_t)64 * 1024)
void tls_conn_gather(struct tls_conn *c, uint8_t *room, size_t octets);
MUST_CHECK enum tls_result tls_conn_gather_end(struct tls_conn *c, struct err *err);
/* Octets that are kept so; and try to send them. */
size_t tls_conn_unsent(const struct tls_conn *c);
MUST_CHECK enum tls_result tls_conn_send_unsent(struct tls_conn *c, struct err *err);
const char *tls_conn_subject(const struct tls_conn *c);     /* the peer's DN, or NULL */
const char *tls_conn_common_name(const struct tls_conn *c); /* of that, or NULL */
const char *tls_conn_dns_name(const struct tls_conn *c);    /* the first of its alternative ones */
/* In OpenSSL's words. */
const char *tls_conn_version(const struct tls_conn *c);
const char *tls_conn_cipher(const struct tls_conn *c);
/* Octets that both ends derive from this session alone (RFC 8446, 7.5), after the handshake. */
void tls_conn_export(const struct tls_conn *c, const char *label, void *out, size_t octets);
bool tls_conn_was_resumed(const struct tls_conn *c); /* by a ticket, without a whole handshake */

#endif
