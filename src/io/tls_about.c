#include "io/tls_about.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/tls_internal.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#define MOMENT_MAX 32u

/* ---- what was agreed on ---- */

struct word {
    int nid;
    const char *text;
};

static const struct word key_exchanges[] = {
    { NID_kx_rsa, "rsa" }, { NID_kx_ecdhe, "ecdhe" }, { NID_kx_dhe, "dhe" },
    { NID_kx_psk, "psk" }, { NID_kx_any, "any" },
};

/* Of RSA, a key exchange alone, it is not said twice. */
static const struct word proofs[] = {
    { NID_auth_rsa, "_rsa" },
    { NID_auth_ecdsa, "_ecdsa" },
    { NID_auth_dss, "_dss" },
    { NID_auth_psk, "_psk" },
};

static const struct word ciphers[] = {
    { NID_aes_128_gcm, "aes_128_gcm" },
    { NID_aes_256_gcm, "aes_256_gcm" },
    { NID_aes_128_ccm, "aes_128_ccm" },
    { NID_aes_256_ccm, "aes_256_ccm" },
    { NID_aes_128_cbc, "aes_128_cbc" },
    { NID_aes_256_cbc, "aes_256_cbc" },
    { NID_chacha20_poly1305, "chacha20_poly1305" },
};

static const struct word hashes[] = {
    { NID_sha1, "sha" },
    { NID_sha256, "sha256" },
    { NID_sha384, "sha384" },
};

/* What is in no list is called as OpenSSL does. */
static void put_word(struct text *t, const struct word *words, size_t count, int nid)
{
    for (size_t i = 0; i < count; i++) {
        if (words[i].nid == nid) {
            text_str(t, words[i].text);
            return;
        }
    }
    if (nid != NID_undef)
        text_str(t, OBJ_nid2ln(nid));
}

static void read_key_exchange(struct tls_about *a, const SSL_CIPHER *cipher)
{
    struct text t = text_over(a->key_exchange, sizeof a->key_exchange);
    int exchange = SSL_CIPHER_get_kx_nid(cipher);
    put_word(&t, key_exchanges, ARRAY_COUNT(key_exchanges), exchange);
    if (exchange == NID_kx_ecdhe || exchange == NID_kx_dhe)
        put_word(&t, proofs, ARRAY_COUNT(proofs), SSL_CIPHER_get_auth_nid(cipher));
}

static void read_agreed(struct tls_about *a, const SSL *ssl)
{
    struct text t = text_over(a->protocol, sizeof a->protocol);
    text_str(&t, SSL_get_version(ssl));
    for (char *c = a->protocol; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
    if (cipher == NULL)
        return;
    read_key_exchange(a, cipher);
    t = text_over(a->cipher, sizeof a->cipher);
    put_word(&t, ciphers, ARRAY_COUNT(ciphers), SSL_CIPHER_get_cipher_nid(cipher));
    t = text_over(a->hash, sizeof a->hash);
    if (SSL_CIPHER_is_aead(cipher))
        text_str(&t, "aead");
    else
        put_word(&t, hashes, ARRAY_COUNT(hashes), SSL_CIPHER_get_digest_nid(cipher));
}

/* ---- whom the certificate names ---- */

static void put_moment(struct text *t, const ASN1_TIME *at)
{
    struct tm tm;
    char room[MOMENT_MAX];
    if (ASN1_TIME_to_tm(at, &tm) == 1 && strftime(room, sizeof room, "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        text_str(t, room);
}

static char *validity_of(const X509 *cert)
{
    char room[2 * MOMENT_MAX + 8];
    struct text t = text_over(room, sizeof room);
    put_moment(&t, X509_get0_notBefore(cert));
    text_str(&t, " - ");
    put_moment(&t, X509_get0_notAfter(cert));
    return mem_strdup(room);
}

struct tls_about *tls_about_new(const struct tls_conn *c)
{
    CHECK(c != NULL);
    const SSL *ssl = tls_conn_ssl(c);
    struct tls_about *a = mem_zalloc(sizeof *a);
    read_agreed(a, ssl);
    const X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert != NULL) {
        a->subject = tls_name_text(X509_get_subject_name(cert));
        a->issuer = tls_name_text(X509_get_issuer_name(cert));
        a->validity = validity_of(cert);
    }
    return a;
}

void tls_about_free(struct tls_about **about)
{
    struct tls_about *a = *about;
    *about = NULL;
    if (a == NULL)
        return;
    mem_free(a->subject);
    mem_free(a->issuer);
    mem_free(a->validity);
    mem_free(a);
}
