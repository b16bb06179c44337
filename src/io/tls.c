#include "io/tls.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/tls_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Tickets of one server configuration are good for its other loops; the name only has to be
 * constant. Without it a server that verifies clients refuses every resumption. */
static const unsigned char session_id_context[] = "warren";

#define FIRST_SUITE 0x1301u /* TLS_AES_128_GCM_SHA256 (RFC 8446, B.4) */
#define SUITES_MAX  512u    /* the names of all of TLS 1.3: it has five */

/* ---- errors --------------------------------------------------------------------------------- */

/* The oldest error of the queue is the cause; what OpenSSL piles on top only says where it was. */
static const char *queue_cause(char *room, size_t room_bytes)
{
    unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0)
        return "unknown cause";
    if (ERR_SYSTEM_ERROR(code))
        return strerror_r(ERR_GET_REASON(code), room, room_bytes);
    if (ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE)
        return "it holds nothing of that kind in PEM form";
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER ||
                                             ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST))
        return "the peer does not speak TLS";
    const char *reason = ERR_reason_error_string(code);
    if (reason != NULL)
        return reason;
    snprintf(room, room_bytes, "OpenSSL error %08lX", code);
    return room;
}

bool tls_err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    char what[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    char room[128];
    return err_set(err, code, "%s: %s", what, queue_cause(room, sizeof room));
}

/* ---- sessions that a client may resume ------------------------------------------------------ */

static struct tls_known *known_find(struct tls_ctx *ctx, const char *server_name)
{
    for (unsigned i = 0; i < ctx->known_count; i++)
        if (strcmp(ctx->known[i].server_name, server_name) == 0)
            return &ctx->known[i];
    return NULL;
}

SSL_SESSION *tls_known_get(struct tls_ctx *ctx, const char *server_name)
{
    SSL_SESSION *session = NULL;
    pthread_mutex_lock(&ctx->lock);
    struct tls_known *k = known_find(ctx, server_name);
    if (k != NULL && SSL_SESSION_is_resumable(k->session) && SSL_SESSION_up_ref(k->session) == 1)
        session = k->session;
    pthread_mutex_unlock(&ctx->lock);
    return session;
}

static struct tls_known *known_place(struct tls_ctx *ctx)
{
    if (ctx->known_count < TLS_SESSIONS_MAX)
        return &ctx->known[ctx->known_count++];
    struct tls_known *k = &ctx->known[ctx->known_next];
    ctx->known_next = (ctx->known_next + 1) % TLS_SESSIONS_MAX;
    return k;
}

void tls_known_put(struct tls_ctx *ctx, const char *server_name, SSL_SESSION *session)
{
    pthread_mutex_lock(&ctx->lock);
    struct tls_known *k = known_find(ctx, server_name);
    if (k == NULL) {
        k = known_place(ctx);
        mem_free(k->server_name);
        k->server_name = mem_strdup(server_name);
    }
    SSL_SESSION *old = k->session;
    k->session = session;
    pthread_mutex_unlock(&ctx->lock);
    SSL_SESSION_free(old);
}

/* ---- contexts ------------------------------------------------------------------------------- */

static bool set_min_version(struct tls_ctx *ctx, const char *version, struct err *err)
{
    int least = TLS1_2_VERSION;
    if (version != NULL && strcmp(version, "1.3") == 0)
        least = TLS1_3_VERSION;
    else if (version != NULL && strcmp(version, "1.2") != 0)
        return err_set(err, ERR_CONFIG, "TLS version \"%s\" is not known; 1.2 and 1.3 are",
                       version);
    if (SSL_CTX_set_min_proto_version(ctx->ssl, least) != 1)
        return tls_err_set(err, ERR_TLS, "cannot set the lowest TLS version");
    return true;
}

/* Those of TLS 1.3 that the library (or the system's policy for it) has, but that with the fewest
 * rounds first: each octet costs a quarter less than with keys of 256 bits. */
static void order_suites(const SSL_CTX *ssl, struct text *out)
{
    const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(ssl);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
            const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);
            bool is_first = SSL_CIPHER_get_protocol_id(cipher) == FIRST_SUITE;
            if (strcmp(SSL_CIPHER_get_version(cipher), "TLSv1.3") != 0 || is_first != (pass == 0))
                continue;
            text_str(out, out->len != 0 ? ":" : "");
            text_str(out, SSL_CIPHER_get_name(cipher));
        }
    }
}

static bool set_suites(struct tls_ctx *ctx, const char *suites, struct err *err)
{
    char room[SUITES_MAX];
    struct text ours = text_over(room, sizeof room);
    if (suites == NULL) {
        order_suites(ctx->ssl, &ours);
        suites = ours.ptr;
        if (ours.len == 0 || ours.cut)
            return true; /* it speaks no TLS 1.3, or a lot more than there is today */
    }
    return SSL_CTX_set_ciphersuites(ctx->ssl, suites) == 1 ||
           tls_err_set(err, ERR_TLS, "cipher suites %s", suites);
}

static bool set_alpn(struct tls_ctx *ctx, const char *name, struct err *err)
{
    if (name == NULL)
        return true;
    size_t len = strlen(name);
    if (len == 0 || len > UINT8_MAX)
        return err_set(err, ERR_CONFIG, "ALPN name \"%s\" must have 1 to 255 octets", name);
    ctx->alpn[0] = (uint8_t)len;
    memcpy(ctx->alpn + 1, name, len);
    ctx->alpn_len = (unsigned)len + 1;
    return true;
}

/* A client that offers names offers them because it will speak one of them: if ours is not among
 * them the two do not understand each other, and it is told so (RFC 7301, 3.2). One that offers
 * none, as most AMQP clients, is never asked. */
static int on_alpn_offered(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *offered, unsigned offered_len, void *arg)
{
    (void)ssl;
    const struct tls_ctx *ctx = arg;
    for (unsigned at = 0; at < offered_len; at += 1u + offered[at]) {
        if (offered_len - at >= ctx->alpn_len &&
            memcmp(offered + at, ctx->alpn, ctx->alpn_len) == 0) {
            *out = ctx->alpn + 1;
            *out_len = ctx->alpn[0];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* A daemon has nobody to ask, and OpenSSL's own way would be to wait at the terminal. */
static int on_passphrase_wanted(char *into, int room, int for_writing, void *arg)
{
    (void)into, (void)room, (void)for_writing;
    *(bool *)arg = true;
    return -1;
}

static bool load_key(struct tls_ctx *ctx, const char *file, struct err *err)
{
    bool is_encrypted = false;
    SSL_CTX_set_default_passwd_cb(ctx->ssl, on_passphrase_wanted);
    SSL_CTX_set_default_passwd_cb_userdata(ctx->ssl, &is_encrypted);
    int ok = SSL_CTX_use_PrivateKey_file(ctx->ssl, file, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx->ssl, NULL);
    SSL_CTX_set_default_passwd_cb(ctx->ssl, NULL);
    if (ok == 1)
        return true;
    if (is_encrypted) {
        ERR_clear_error();
        return err_set(err, ERR_TLS,
                       "key file %s: it is protected by a passphrase; remove it with "
                       "'openssl pkey -in FILE -out FILE'",
                       file);
    }
    return tls_err_set(err, ERR_TLS, "key file %s", file);
}

static bool load_cert(struct tls_ctx *ctx, const struct tls_options *o, struct err *err)
{
    if (o->own_key)
        return tls_use_own(ctx->ssl, err);
    if (o->cert_file == NULL)
        return o->key_file == NULL ||
               err_set(err, ERR_CONFIG, "key file %s is of no use without a certificate file",
                       o->key_file);
    if (SSL_CTX_use_certificate_chain_file(ctx->ssl, o->cert_file) != 1)
        return tls_err_set(err, ERR_TLS, "certificate file %s", o->cert_file);
    const char *key_file = o->key_file != NULL ? o->key_file : o->cert_file;
    if (!load_key(ctx, key_file, err))
        return false;
    if (SSL_CTX_check_private_key(ctx->ssl) != 1)
        return tls_err_set(err, ERR_TLS, "key file %s does not fit certificate file %s", key_file,
                           o->cert_file);
    return true;
}

static bool load_trust(struct tls_ctx *ctx, const struct tls_options *o, struct err *err)
{
    if (o->ca_file == NULL) {
        if (o->verify_peer && SSL_CTX_set_default_verify_paths(ctx->ssl) != 1)
            return tls_err_set(err, ERR_TLS, "cannot load the system's certificate authorities");
        return true;
    }
    if (SSL_CTX_load_verify_file(ctx->ssl, o->ca_file) != 1)
        return tls_err_set(err, ERR_TLS, "CA file %s", o->ca_file);
    if (!ctx->is_server)
        return true;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(o->ca_file);
    if (names == NULL)
        return tls_err_set(err, ERR_TLS, "CA file %s", o->ca_file);
    SSL_CTX_set_client_CA_list(ctx->ssl, names);
    return true;
}

static void set_verify(struct tls_ctx *ctx)
{
    int mode = SSL_VERIFY_NONE;
    bool must_show = ctx->is_server && !ctx->nobody_may_come;
    if (ctx->verify_peer)
        mode = SSL_VERIFY_PEER | (must_show ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    SSL_CTX_set_verify(ctx->ssl, mode, NULL);
}

/* Partial writes and moving buffers are how stream.c sends; buffers are released so that an idle
 * connection does not hold 34 kB. Renegotiation is only a way to make a server work. */
static void set_manners(struct tls_ctx *ctx)
{
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
}

/* Tickets let a client resume; the server's own cache, which grows with them, is not needed. */
static bool set_server_side(struct tls_ctx *ctx, struct err *err)
{
    SSL_CTX_set_session_cache_mode(ctx->ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    if (SSL_CTX_set_session_id_context(ctx->ssl, session_id_context,
                                       sizeof session_id_context - 1) != 1 ||
        SSL_CTX_set_num_tickets(ctx->ssl, 1) != 1 || SSL_CTX_set_dh_auto(ctx->ssl, 1) != 1)
        return tls_err_set(err, ERR_TLS, "cannot set up a TLS server");
    if (ctx->alpn_len != 0)
        SSL_CTX_set_alpn_select_cb(ctx->ssl, on_alpn_offered, ctx);
    return true;
}

static bool set_client_side(struct tls_ctx *ctx, struct err *err)
{
    SSL_CTX_set_session_cache_mode(ctx->ssl,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(ctx->ssl, tls_on_new_session);
    /* Zero means success here, unlike everywhere else. */
    if (ctx->alpn_len != 0 && SSL_CTX_set_alpn_protos(ctx->ssl, ctx->alpn, ctx->alpn_len) != 0)
        return tls_err_set(err, ERR_TLS, "cannot offer the ALPN name");
    return true;
}

static struct tls_ctx *ctx_new(const struct tls_options *o, bool is_server, struct err *err)
{
    CHECK(o != NULL && err != NULL);
    ERR_clear_error();
    struct tls_ctx *ctx = mem_zalloc(sizeof *ctx);
    atomic_init(&ctx->refs, 1);
    pthread_mutex_init(&ctx->lock, NULL);
    ctx->is_server = is_server;
    ctx->verify_peer = o->verify_peer;
    ctx->has_ca_file = o->ca_file != NULL;
    ctx->nobody_may_come = o->nobody_may_come;
    ctx->bio = tls_bio_method_new();
    ctx->ssl = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    if (ctx->ssl == NULL) {
        (void)tls_err_set(err, ERR_TLS, "cannot set up TLS");
        goto fail;
    }
    set_manners(ctx);
    set_verify(ctx);
    if (!set_min_version(ctx, o->min_version, err) || !set_suites(ctx, o->suites, err) ||
        !set_alpn(ctx, o->alpn, err) || !load_cert(ctx, o, err) || !load_trust(ctx, o, err))
        goto fail;
    if (is_server ? !set_server_side(ctx, err) : !set_client_side(ctx, err))
        goto fail;
    return ctx;

fail:
    tls_ctx_unref(&ctx);
    return NULL;
}

/* One context a certificate; the first is the server's. */
static struct tls_ctx *server_of(const struct tls_options *o, const struct tls_files *files,
                                 struct err *err)
{
    struct tls_options one = *o;
    one.cert_file = files->count != 0 ? files->paths[0] : NULL;
    struct tls_ctx *ctx = ctx_new(&one, true, err);
    if (ctx == NULL)
        return NULL;
    ctx->strict_sni = o->strict_sni;
    if (files->count > 1)
        ctx->others = mem_array(files->count - 1, sizeof(struct tls_ctx *));
    for (unsigned i = 1; i < files->count; i++) {
        one.cert_file = files->paths[i];
        one.key_file = NULL;
        struct tls_ctx *other = ctx_new(&one, true, err);
        if (other == NULL) {
            tls_ctx_unref(&ctx);
            return NULL;
        }
        ctx->others[ctx->other_count++] = other;
    }
    if (ctx->other_count != 0 || ctx->strict_sni)
        tls_choose_by_name(ctx);
    return ctx;
}

struct tls_ctx *tls_server_ctx_new(const struct tls_options *o, struct err *err)
{
    CHECK(o != NULL);
    struct tls_files files;
    struct tls_ctx *ctx = NULL;
    if (o->cert_file == NULL && !o->own_key) {
        (void)err_set(err, ERR_CONFIG, "a TLS server needs a certificate file");
        return NULL;
    }
    if (tls_files_find(&files, o, err))
        ctx = server_of(o, &files, err);
    tls_files_free(&files);
    return ctx;
}

struct tls_ctx *tls_client_ctx_new(const struct tls_options *o, struct err *err)
{
    return ctx_new(o, false, err);
}

/* ---- the one in force ---- */

void tls_slot_init(struct tls_slot *s)
{
    lock_init(&s->lock);
    s->ctx = NULL;
}

void tls_slot_fini(struct tls_slot *s)
{
    tls_ctx_unref(&s->ctx);
    lock_fini(&s->lock);
}

void tls_slot_put(struct tls_slot *s, struct tls_ctx **ctx)
{
    lock_take(&s->lock);
    struct tls_ctx *was = s->ctx;
    s->ctx = *ctx;
    lock_give(&s->lock);
    *ctx = NULL;
    tls_ctx_unref(&was);
}

struct tls_ctx *tls_slot_get(struct tls_slot *s)
{
    lock_take(&s->lock);
    struct tls_ctx *ctx = s->ctx != NULL ? tls_ctx_ref(s->ctx) : NULL;
    lock_give(&s->lock);
    return ctx;
}

/* ---- how long certificates hold ---- */

/* A time that cannot be read is long past, so that somebody looks. */
static int64_t seconds_of(const ASN1_TIME *at)
{
    struct tm tm;
    return ASN1_TIME_to_tm(at, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void tell_term(const X509 *cert, tls_term_fn fn, void *arg)
{
    fn(&(struct tls_term){ .from_s = seconds_of(X509_get0_notBefore(cert)),
                           .until_s = seconds_of(X509_get0_notAfter(cert)) },
       arg);
}

static void tell_terms(const STACK_OF(X509) * certs, tls_term_fn fn, void *arg)
{
    for (int i = 0; i < sk_X509_num(certs); i++)
        tell_term(sk_X509_value(certs, i), fn, arg);
}

void tls_ctx_terms(const struct tls_ctx *ctx, enum tls_whose whose, tls_term_fn fn, void *arg)
{
    CHECK(ctx != NULL && fn != NULL);
    if (whose == TLS_TRUSTED) {
        STACK_OF(X509) *certs =
            ctx->has_ca_file ? X509_STORE_get1_all_certs(SSL_CTX_get_cert_store(ctx->ssl)) : NULL;
        tell_terms(certs, fn, arg);
        sk_X509_pop_free(certs, X509_free);
        return;
    }
    STACK_OF(X509) *chain = NULL;
    if (SSL_CTX_get0_certificate(ctx->ssl) != NULL)
        tell_term(SSL_CTX_get0_certificate(ctx->ssl), fn, arg);
    if (SSL_CTX_get0_chain_certs(ctx->ssl, &chain) == 1)
        tell_terms(chain, fn, arg);
    for (unsigned i = 0; i < ctx->other_count; i++)
        tls_ctx_terms(ctx->others[i], TLS_OWN, fn, arg);
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
    CHECK(ctx != NULL);
    atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
    return ctx;
}

void tls_ctx_unref(struct tls_ctx **ctx)
{
    struct tls_ctx *c = *ctx;
    *ctx = NULL;
    if (c == NULL || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < c->known_count; i++) {
        mem_free(c->known[i].server_name);
        SSL_SESSION_free(c->known[i].session);
    }
    for (unsigned i = 0; i < c->other_count; i++)
        tls_ctx_unref(&c->others[i]);
    mem_free(c->others);
    SSL_CTX_free(c->ssl);
    BIO_meth_free(c->bio);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}
