#include "base/check.h"
#include "base/mem.h"
#include "base/text.h"
#include "io/tls.h"
#include "io/tls_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/socket.h>

#define SERVER_NAME_MAX 255u /* a host name in DNS, and what SNI carries (RFC 6066, 3) */
#define RECORD_MAX      ((size_t)16384 + 256 + 5) /* RFC 8446, 5.2 */
#define SUBJECT_MAX     2048                      /* of a certificate that a peer made */

struct tls_conn {
    SSL *ssl;
    struct tls_ctx *ctx;
    char *server_name;
    char *subject;
    char *common_name;
    char *dns_name;
    size_t retry_len; /* a write that the socket did not take whole must be repeated as it was */
    int fd;
    uint8_t *room; /* where records are gathered, lent; NULL: they are sent at once */
    size_t room_bytes;
    size_t gathered;
    uint8_t *unsent; /* ours: what the socket did not take of those; NULL: nothing */
    size_t unsent_at;
    size_t unsent_len;
    const uint8_t *ahead; /* read from the socket, and not cut into records yet */
    size_t ahead_len;
    uint8_t *ahead_room; /* where such is read to, lent; NULL: records are read one by one */
    size_t ahead_bytes;
    bool ahead_is_all; /* the socket had no more than that */
    uint8_t *left;     /* ours: what was ahead when its room was given back; NULL: nothing */
    bool is_open;      /* the handshake is over */
    bool is_broken;    /* nothing may be sent any more, not even a farewell */
    bool name_is_bad;  /* the server name can neither be sent nor verified */
};

/* ---- the socket below, without SIGPIPE ------------------------------------------------------ */

static ssize_t send_octets(int fd, const void *from, size_t len)
{
    ssize_t n;
    do
        n = send(fd, from, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n;
}

static bool gather(struct tls_conn *c, const char *from, size_t len)
{
    if (c->room == NULL || c->room_bytes - c->gathered < len)
        return false;
    memcpy(c->room + c->gathered, from, len);
    c->gathered += len;
    return true;
}

/* Nothing overtakes what is kept. */
static int bio_write(BIO *bio, const char *from, size_t len, size_t *done)
{
    struct tls_conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (c->unsent_len != 0 || (c->gathered != 0 && c->room_bytes - c->gathered < len)) {
        BIO_set_retry_write(bio);
        return 0;
    }
    if (gather(c, from, len)) {
        *done = len;
        return 1;
    }
    ssize_t n = send_octets(c->fd, from, len);
    if (n < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            BIO_set_retry_write(bio);
        return 0;
    }
    *done = (size_t)n;
    return 1;
}

static ssize_t receive_octets(int fd, void *into, size_t room)
{
    ssize_t n;
    do
        n = recv(fd, into, room, 0);
    while (n < 0 && errno == EINTR);
    return n;
}

/* A socket that gave less than it was asked for has no more: it need not be asked to say so, and
 * what comes later it announces. */
static ssize_t read_ahead(struct tls_conn *c)
{
    if (c->ahead_is_all) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t n = receive_octets(c->fd, c->ahead_room, c->ahead_bytes);
    if (n > 0) {
        c->ahead = c->ahead_room;
        c->ahead_len = (size_t)n;
        c->ahead_is_all = c->ahead_len < c->ahead_bytes;
    }
    return n;
}

static ssize_t read_octets(struct tls_conn *c, void *into, size_t room)
{
    if (c->ahead_len == 0 && c->ahead_room == NULL)
        return receive_octets(c->fd, into, room);
    ssize_t n = c->ahead_len == 0 ? read_ahead(c) : 1;
    if (n <= 0)
        return n;
    size_t len = room < c->ahead_len ? room : c->ahead_len;
    memcpy(into, c->ahead, len);
    c->ahead += len;
    c->ahead_len -= len;
    return (ssize_t)len;
}

static int bio_read(BIO *bio, char *into, size_t room, size_t *done)
{
    struct tls_conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t n = read_octets(c, into, room);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    if (n == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    if (n <= 0)
        return 0;
    *done = (size_t)n;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
    (void)number, (void)arg;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH; /* nothing is held back here */
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *tls_bio_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
    CHECK(m != NULL && BIO_meth_set_write_ex(m, bio_write) == 1 &&
          BIO_meth_set_read_ex(m, bio_read) == 1 && BIO_meth_set_ctrl(m, bio_ctrl) == 1 &&
          BIO_meth_set_create(m, bio_create) == 1);
    return m;
}

/* ---- a session: from the socket to its end -------------------------------------------------- */

static bool is_ip(const char *name)
{
    uint8_t octets[16];
    return inet_pton(AF_INET, name, octets) == 1 || inet_pton(AF_INET6, name, octets) == 1;
}

/* The name goes out as SNI, unless it is an address (RFC 6066, 3), and the certificate must be for
 * it. Verification itself is the context's affair. */
static bool name_server(struct tls_conn *c, char *name)
{
    if (name[0] == '\0' || strlen(name) > SERVER_NAME_MAX)
        return false;
    X509_VERIFY_PARAM *param = SSL_get0_param(c->ssl);
    if (is_ip(name))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(param, name, 0) == 1 &&
           SSL_set_tlsext_host_name(c->ssl, name) == 1;
}

static void resume_session(struct tls_conn *c)
{
    SSL_SESSION *session = tls_known_get(c->ctx, c->server_name);
    if (session == NULL)
        return;
    /* A session that does not fit any more only costs a whole handshake. */
    (void)SSL_set_session(c->ssl, session);
    SSL_SESSION_free(session);
}

static void be_client(struct tls_conn *c, const char *server_name)
{
    SSL_set_connect_state(c->ssl);
    if (server_name == NULL)
        return;
    c->server_name = mem_strdup(server_name);
    c->name_is_bad = !name_server(c, c->server_name);
    if (!c->name_is_bad)
        resume_session(c);
}

struct tls_conn *tls_conn_new(struct tls_ctx *ctx, int fd, bool server, const char *server_name)
{
    CHECK(ctx != NULL && fd >= 0 && server == ctx->is_server);
    ERR_clear_error();
    struct tls_conn *c = mem_zalloc(sizeof *c);
    c->ctx = tls_ctx_ref(ctx);
    c->fd = fd;
    c->ssl = SSL_new(ctx->ssl);
    BIO *bio = BIO_new(ctx->bio);
    CHECK(c->ssl != NULL && bio != NULL); /* they only fail when memory is at its end */
    BIO_set_data(bio, c);
    SSL_set_bio(c->ssl, bio, bio);
    SSL_set_app_data(c->ssl, c);
    if (server)
        SSL_set_accept_state(c->ssl);
    else
        be_client(c, server_name);
    return c;
}

void tls_conn_farewell(struct tls_conn *c)
{
    bool has_said_it = (SSL_get_shutdown(c->ssl) & SSL_SENT_SHUTDOWN) != 0;
    if (!c->is_open || c->is_broken || has_said_it || c->unsent_len != 0)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(c->ssl);
    ERR_clear_error();
}

void tls_conn_free(struct tls_conn **c)
{
    struct tls_conn *conn = *c;
    *c = NULL;
    if (conn == NULL)
        return;
    tls_conn_farewell(conn);
    SSL_free(conn->ssl);
    mem_free(conn->unsent);
    mem_free(conn->left);
    tls_ctx_unref(&conn->ctx);
    mem_free(conn->server_name);
    mem_free(conn->subject);
    mem_free(conn->common_name);
    mem_free(conn->dns_name);
    mem_free(conn);
}

int tls_on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_conn *c = SSL_get_app_data(ssl);
    if (c->server_name == NULL)
        return 0; /* OpenSSL keeps its reference */
    /* What a session was verified for is its name: it is only resumed under the same one. */
    tls_known_put(c->ctx, c->server_name, session);
    return 1;
}

/* ---- about the peer ------------------------------------------------------------------------- */

char *tls_name_text(const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    CHECK(bio != NULL);
    char *out = NULL;
    /* Escapes control octets, so that it may be logged. */
    if (X509_NAME_print_ex(bio, name, 0,
                           XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_UTF8_CONVERT) >= 0) {
        char *text = NULL;
        long len = BIO_get_mem_data(bio, &text);
        if (len > 0 && len <= SUBJECT_MAX) {
            out = mem_zalloc((size_t)len + 1);
            memcpy(out, text, (size_t)len);
        }
    }
    BIO_free(bio);
    ERR_clear_error();
    return out;
}

/* All of them between commas, as RabbitMQ has it; NULL when there is none, or one that is no name:
 * a NUL in it would end it before its end. */
static char *common_name_of(X509 *cert)
{
    struct text t;
    text_init(&t, SUBJECT_MAX);
    const X509_NAME *name = X509_get_subject_name(cert);
    bool good = true;
    for (int at = -1; (at = X509_NAME_get_index_by_NID(name, NID_commonName, at)) >= 0;) {
        unsigned char *utf8 = NULL;
        int len =
            ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
        good = good && len > 0 && memchr(utf8, '\0', (size_t)len) == NULL;
        if (good) {
            text_str(&t, t.len != 0 ? "," : "");
            text_slice(&t, slice_of(utf8, (size_t)len));
        }
        OPENSSL_free(utf8);
    }
    ERR_clear_error();
    char *copy = good && t.len != 0 && !t.cut ? mem_strdup(t.ptr) : NULL;
    text_fini(&t);
    return copy;
}

/* The first DNS name among the alternative ones; NULL when there is none, or one with a NUL in it.
 */
static char *dns_name_of(X509 *cert)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    char *copy = NULL;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS)
            continue;
        const unsigned char *text = ASN1_STRING_get0_data(name->d.dNSName);
        int len = ASN1_STRING_length(name->d.dNSName);
        if (len > 0 && len <= SUBJECT_MAX && memchr(text, '\0', (size_t)len) == NULL)
            copy = mem_zalloc((size_t)len + 1);
        if (copy != NULL)
            memcpy(copy, text, (size_t)len);
        break;
    }
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return copy;
}

/* ---- results -------------------------------------------------------------------------------- */

static enum tls_result broken(struct tls_conn *c, struct err *err, const char *doing)
{
    c->is_broken = true;
    unsigned long last = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(c->ssl);
    bool is_verdict =
        ERR_GET_LIB(last) == ERR_LIB_SSL && ERR_GET_REASON(last) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    if (is_verdict && verdict != X509_V_OK) {
        ERR_clear_error();
        (void)err_set(err, ERR_TLS, "%s: the peer's certificate is refused: %s", doing,
                      X509_verify_cert_error_string(verdict));
    } else if (ERR_GET_LIB(last) == ERR_LIB_SSL &&
               ERR_GET_REASON(last) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        (void)err_set(err, ERR_TLS, "%s: the peer closed the connection without ending TLS", doing);
    } else {
        (void)tls_err_set(err, ERR_TLS, "%s", doing);
    }
    return TLS_FAILED;
}

static enum tls_result broken_socket(struct tls_conn *c, int error, struct err *err,
                                     const char *doing)
{
    c->is_broken = true;
    ERR_clear_error();
    (void)err_set(err, ERR_IO, "%s: %s", doing,
                  error != 0 ? strerror(error) : "the peer closed the connection");
    return TLS_FAILED;
}

/* What a call that did not succeed means. `error` is errno right after it. */
static enum tls_result verdict(struct tls_conn *c, int result, int error, struct err *err,
                               const char *doing)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    case SSL_ERROR_SYSCALL:
        return broken_socket(c, error, err, doing);
    default:
        return broken(c, err, doing);
    }
}

enum tls_result tls_conn_handshake(struct tls_conn *c, struct err *err)
{
    CHECK(c != NULL && !c->is_open);
    if (c->name_is_bad) {
        ERR_clear_error();
        (void)err_set(err, ERR_TLS, "TLS handshake: the server name \"%.*s\" is not usable",
                      (int)SERVER_NAME_MAX, c->server_name);
        return TLS_FAILED;
    }
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(c->ssl);
    if (result != 1)
        return verdict(c, result, errno, err, "TLS handshake");
    c->is_open = true;
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    c->subject = cert != NULL ? tls_name_text(X509_get_subject_name(cert)) : NULL;
    c->common_name = cert != NULL ? common_name_of(cert) : NULL;
    c->dns_name = cert != NULL ? dns_name_of(cert) : NULL;
    return TLS_OK;
}

void tls_conn_ahead(struct tls_conn *c, uint8_t *room, size_t octets)
{
    CHECK(c->ahead_room == NULL && octets >= TLS_AHEAD_LEAST);
    c->ahead_room = room;
    c->ahead_bytes = octets;
    c->ahead_is_all = false;
}

/* What is left points into the room, or is left from an earlier one. */
void tls_conn_ahead_end(struct tls_conn *c)
{
    CHECK(c->ahead_room != NULL);
    c->ahead_room = NULL;
    uint8_t *old = c->left;
    c->left = c->ahead_len != 0 ? mem_dup(c->ahead, c->ahead_len) : NULL;
    c->ahead = c->left;
    mem_free(old);
}

enum tls_result tls_conn_read(struct tls_conn *c, void *into, size_t room, size_t *done,
                              struct err *err)
{
    CHECK(c != NULL && c->is_open && room != 0);
    *done = 0;
    ERR_clear_error();
    errno = 0;
    int result = SSL_read_ex(c->ssl, into, room, done);
    return result == 1 ? TLS_OK : verdict(c, result, errno, err, "TLS read");
}

/* ---- records that are gathered ---- */

/* Send what there is from there on; how much the socket took, SIZE_MAX: it failed. */
static size_t send_as_much(struct tls_conn *c, const uint8_t *from, size_t len, struct err *err)
{
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send_octets(c->fd, from + sent, len - sent);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (n < 0) {
            (void)broken_socket(c, errno, err, "TLS write");
            return SIZE_MAX;
        }
        sent += (size_t)n;
    }
    return sent;
}

static enum tls_result send_gathered(struct tls_conn *c, struct err *err)
{
    size_t len = c->gathered;
    c->gathered = 0;
    size_t sent = send_as_much(c, c->room, len, err);
    if (sent == SIZE_MAX)
        return TLS_FAILED;
    if (sent == len)
        return TLS_OK;
    c->unsent_at = 0;
    c->unsent_len = len - sent;
    c->unsent = mem_dup(c->room + sent, c->unsent_len);
    return TLS_WANT_WRITE;
}

void tls_conn_gather(struct tls_conn *c, uint8_t *room, size_t octets)
{
    CHECK(c->room == NULL && octets >= TLS_GATHER_LEAST);
    c->room = room;
    c->room_bytes = octets;
    c->gathered = 0;
}

enum tls_result tls_conn_gather_end(struct tls_conn *c, struct err *err)
{
    enum tls_result r = c->unsent_len != 0 ? TLS_WANT_WRITE : TLS_OK;
    CHECK(c->room != NULL);
    if (c->gathered != 0 && !c->is_broken)
        r = send_gathered(c, err);
    c->room = NULL;
    c->gathered = 0;
    return r;
}

size_t tls_conn_unsent(const struct tls_conn *c)
{
    return c->unsent_len;
}

enum tls_result tls_conn_send_unsent(struct tls_conn *c, struct err *err)
{
    size_t sent = send_as_much(c, c->unsent + c->unsent_at, c->unsent_len, err);
    if (sent == SIZE_MAX)
        return TLS_FAILED;
    c->unsent_at += sent;
    c->unsent_len -= sent;
    if (c->unsent_len != 0)
        return TLS_WANT_WRITE;
    mem_free(c->unsent);
    c->unsent = NULL;
    return TLS_OK;
}

enum tls_result tls_conn_write(struct tls_conn *c, struct slice from, size_t *done, struct err *err)
{
    CHECK(c != NULL && c->is_open && from.len != 0);
    CHECK(from.len >= c->retry_len);
    *done = 0;
    if (c->unsent_len != 0) {
        enum tls_result r = tls_conn_send_unsent(c, err);
        if (r != TLS_OK)
            return r;
    }
    if (c->room != NULL && c->room_bytes - c->gathered < RECORD_MAX) {
        enum tls_result r = send_gathered(c, err);
        if (r != TLS_OK)
            return r;
    }
    /* A record that is half sent is finished with the octets it began with, no more and no less;
     * what the caller gathered behind them meanwhile goes into the next. */
    size_t len = c->retry_len != 0 ? c->retry_len : from.len;
    ERR_clear_error();
    errno = 0;
    int result = SSL_write_ex(c->ssl, from.ptr, len, done);
    if (result == 1) {
        c->retry_len = 0;
        return TLS_OK;
    }
    enum tls_result r = verdict(c, result, errno, err, "TLS write");
    c->retry_len = r == TLS_WANT_WRITE || r == TLS_WANT_READ ? len : 0;
    return r;
}

SSL *tls_conn_ssl(const struct tls_conn *c)
{
    return c->ssl;
}

const char *tls_conn_subject(const struct tls_conn *c)
{
    CHECK(c != NULL);
    return c->subject;
}

const char *tls_conn_common_name(const struct tls_conn *c)
{
    CHECK(c != NULL);
    return c->common_name;
}

const char *tls_conn_dns_name(const struct tls_conn *c)
{
    CHECK(c != NULL);
    return c->dns_name;
}

void tls_conn_export(const struct tls_conn *c, const char *label, void *out, size_t octets)
{
    CHECK(c != NULL && c->is_open);
    CHECK(SSL_export_keying_material(c->ssl, out, octets, label, strlen(label), NULL, 0, 0) == 1);
}

bool tls_conn_was_resumed(const struct tls_conn *c)
{
    CHECK(c != NULL);
    return c->is_open && SSL_session_reused(c->ssl) == 1;
}

const char *tls_conn_version(const struct tls_conn *c)
{
    CHECK(c != NULL);
    return SSL_get_version(c->ssl);
}

const char *tls_conn_cipher(const struct tls_conn *c)
{
    CHECK(c != NULL);
    return SSL_get_cipher_name(c->ssl);
}
