/*
 * tls_about: what the two ends of a TLS session agreed on, and whom the peer's certificate names,
 * in the words that Erlang has for them, which readers of RabbitMQ's management look for.
 */
#ifndef WARREN_TLS_ABOUT_H
#define WARREN_TLS_ABOUT_H

#define TLS_ABOUT_WORD_MAX 32u

struct tls_about {
    char protocol[TLS_ABOUT_WORD_MAX]; /* "tlsv1.3" */
    char
        key_exchange[TLS_ABOUT_WORD_MAX]; /* "ecdhe_rsa"; "any" where the protocol leaves it open */
    char cipher[TLS_ABOUT_WORD_MAX];      /* "aes_256_gcm" */
    char hash[TLS_ABOUT_WORD_MAX];        /* "sha384"; "aead" where the cipher authenticates */
    /* Of the peer's certificate; NULL when it has shown none, or one whose names are too long. */
    char *subject;
    char *issuer;
    char *validity; /* "2026-11-28T12:00:00Z - 2027-11-28T12:00:00Z" */
};

struct tls_conn;
/* Of a session whose handshake is over. */
struct tls_about *tls_about_new(const struct tls_conn *c);

/* NULL is allowed. */
void tls_about_free(struct tls_about **a);

#endif
