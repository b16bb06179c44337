#include "base/mem.h"
#include "io/tls.h"
#include "io/tls_about.h"
#include "io/tls_internal.h"
#include "io_kit.h"
#include "tls_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char folder[KIT_PATH_MAX];

static void set_up(void)
{
    kit_folder_make(folder);
    kit_pki_make(folder);
}

static void tear_down(void)
{
    kit_folder_remove(folder);
}

TestSuite(tls, .init = set_up, .fini = tear_down, .timeout = 300);

static struct tls_ctx *server_with(const char *cert, const char *key, struct err *err)
{
    char cert_path[KIT_PATH_MAX], key_path[KIT_PATH_MAX];
    struct tls_options o = { .cert_file = kit_path(cert_path, folder, cert),
                             .key_file = key != NULL ? kit_path(key_path, folder, key) : NULL };
    return tls_server_ctx_new(&o, err);
}

/* ---- contexts ------------------------------------------------------------------------------- */

Test(tls, names_the_certificate_file_that_is_missing)
{
    struct err err;
    cr_assert(server_with("nowhere.pem", NULL, &err) == NULL);
    expect_error(&err, "nowhere.pem");
    expect_error(&err, "No such file or directory");
}

Test(tls, names_a_file_that_holds_no_certificate)
{
    char path[KIT_PATH_MAX];
    kit_file_write(kit_path(path, folder, "junk.pem"), "junk", 4, 0600);
    struct err err;
    cr_assert(server_with("junk.pem", NULL, &err) == NULL);
    expect_error(&err, "junk.pem: it holds nothing of that kind");
}

Test(tls, names_a_key_that_does_not_fit)
{
    struct err err;
    cr_assert(server_with("server.pem", "client.key", &err) == NULL);
    expect_error(&err, "client.key");
    expect_error(&err, "mismatch");
}

Test(tls, names_a_certificate_file_without_its_key)
{
    struct err err;
    cr_assert(server_with("server.pem", NULL, &err) == NULL);
    expect_error(&err, "key file");
    expect_error(&err, "server.pem");
}

Test(tls, asks_nobody_for_a_passphrase)
{
    char path[KIT_PATH_MAX];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(kit_path(path, folder, "locked.key"), "w");
    cr_assert(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), (const uint8_t *)"secret", 6, NULL,
                                   NULL) == 1);
    fclose(f);
    EVP_PKEY_free(key);
    struct err err;
    cr_assert(server_with("server.pem", "locked.key", &err) == NULL);
    expect_error(&err, "locked.key: it is protected by a passphrase");
}

Test(tls, takes_certificate_and_key_from_one_file)
{
    char from[KIT_PATH_MAX], to[KIT_PATH_MAX], bytes[8192];
    size_t len = 0;
    const char *parts[] = { "server.pem", "server.key" };
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(kit_path(from, folder, parts[i]), "r");
        len += fread(bytes + len, 1, sizeof bytes - len, f);
        fclose(f);
    }
    kit_file_write(kit_path(to, folder, "both.pem"), bytes, len, 0600);
    struct err err;
    struct tls_ctx *ctx = server_with("both.pem", NULL, &err);
    cr_assert(ctx != NULL, "%s", err.text);
    tls_ctx_unref(&ctx);
}

Test(tls, refuses_options_that_mean_nothing)
{
    struct err err;
    cr_assert(tls_client_ctx_new(&(struct tls_options){ .min_version = "1.1" }, &err) == NULL);
    expect_error(&err, "\"1.1\"");
    cr_assert(tls_client_ctx_new(&(struct tls_options){ .alpn = "" }, &err) == NULL);
    expect_error(&err, "ALPN");
    cr_assert(tls_client_ctx_new(&(struct tls_options){ .key_file = "k" }, &err) == NULL);
    expect_error(&err, "without a certificate");
    cr_assert(tls_server_ctx_new(&(struct tls_options){ .alpn = "amqp" }, &err) == NULL);
    expect_error(&err, "needs a certificate");
    cr_assert(tls_client_ctx_new(&(struct tls_options){ .ca_file = "/nowhere/ca" }, &err) == NULL);
    expect_error(&err, "/nowhere/ca");
}

/* ---- verification --------------------------------------------------------------------------- */

Test(tls, accepts_only_the_name_in_the_certificate)
{
    struct tls_ctx *server = kit_tls_server(folder, false);
    struct tls_ctx *client = kit_tls_client(folder);
    struct err why;
    cr_expect(shakes(client, server, "localhost", &why), "%s", why.text);
    cr_expect(shakes(client, server, "127.0.0.1", &why), "%s", why.text);
    cr_expect(not(shakes(client, server, "elsewhere.example", &why)));
    expect_error(&why, "certificate is refused");
    expect_error(&why, "ostname mismatch");
    cr_expect(not(shakes(client, server, "127.0.0.2", &why)));
    expect_error(&why, "IP address mismatch");
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, refuses_an_unknown_issuer_and_says_so_to_both)
{
    char ca[KIT_PATH_MAX];
    struct err err;
    struct tls_ctx *server = kit_tls_server(folder, false);
    struct tls_ctx *client =
        tls_client_ctx_new(&(struct tls_options){ .ca_file = kit_path(ca, folder, "other-ca.pem"),
                                                  .verify_peer = true },
                           &err);
    struct pair p;
    pair_open(&p, client, server, "localhost");
    pair_shake(&p);
    cr_expect(eq(int, p.client.result, TLS_FAILED));
    expect_error(&p.client.err, "self-signed certificate in certificate chain");
    cr_expect(eq(int, p.server.result, TLS_FAILED));
    expect_error(&p.server.err, "unknown ca");
    pair_close(&p);
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, refuses_an_expired_certificate)
{
    kit_cert_make(folder, "old",
                  &(struct kit_cert_plan){
                      .name = "old", .san = "DNS:localhost", .issuer = "ca", .is_expired = true });
    struct err err;
    struct tls_ctx *server = server_with("old.pem", "old.key", &err);
    struct tls_ctx *client = kit_tls_client(folder);
    cr_expect(not(shakes(client, server, "localhost", &err)));
    expect_error(&err, "certificate has expired");
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, verifies_nothing_when_it_is_not_asked_to)
{
    struct err err;
    struct tls_ctx *server = kit_tls_server(folder, false);
    struct tls_ctx *client = tls_client_ctx_new(&(struct tls_options){ 0 }, &err);
    cr_expect(shakes(client, server, "elsewhere.example", &err), "%s", err.text);
    cr_expect(shakes(client, server, NULL, &err), "%s", err.text);
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

static struct tls_ctx *client_with_cert(const char *base)
{
    char cert[KIT_PATH_MAX], key[KIT_PATH_MAX], ca[KIT_PATH_MAX], name[64];
    snprintf(name, sizeof name, "%s.pem", base);
    kit_path(cert, folder, name);
    snprintf(name, sizeof name, "%s.key", base);
    kit_path(key, folder, name);
    struct err err;
    struct tls_ctx *ctx =
        tls_client_ctx_new(&(struct tls_options){ .cert_file = cert,
                                                  .key_file = key,
                                                  .ca_file = kit_path(ca, folder, "ca.pem"),
                                                  .verify_peer = true },
                           &err);
    cr_assert(ctx != NULL, "%s", err.text);
    return ctx;
}

Test(tls, knows_the_client_by_its_certificate)
{
    struct tls_ctx *server = kit_tls_server(folder, true);
    struct tls_ctx *client = client_with_cert("client");
    struct pair p;
    pair_open(&p, client, server, "localhost");
    pair_shake(&p);
    cr_assert(eq(int, p.server.result, TLS_OK));
    cr_assert(eq(str, (char *)tls_conn_subject(p.server.conn), "CN=client one"));
    cr_assert(eq(str, (char *)tls_conn_subject(p.client.conn), "CN=server"));
    cr_assert(eq(str, (char *)tls_conn_common_name(p.server.conn), "client one"));
    cr_assert(tls_conn_dns_name(p.server.conn) == NULL);
    cr_assert(eq(str, (char *)tls_conn_dns_name(p.client.conn), "localhost"));
    pair_close(&p);
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, wants_a_client_certificate_of_its_own_authority)
{
    struct tls_ctx *server = kit_tls_server(folder, true);
    const struct {
        struct tls_ctx *client;
        const char *why;
    } cases[] = { { kit_tls_client(folder), "peer did not return a certificate" },
                  { client_with_cert("stranger"), "unable to get local issuer" } };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct pair p;
        struct tls_ctx *client = cases[i].client;
        pair_open(&p, client, server, "localhost");
        pair_shake(&p);
        cr_expect(eq(int, p.server.result, TLS_FAILED));
        expect_error(&p.server.err, cases[i].why);
        pair_close(&p);
        tls_ctx_unref(&client);
    }
    tls_ctx_unref(&server);
}

Test(tls, refuses_a_name_that_cannot_be_one)
{
    char longest[300];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    struct tls_ctx *server = kit_tls_server(folder, false);
    struct tls_ctx *client = kit_tls_client(folder);
    struct err why;
    cr_expect(not(shakes(client, server, longest, &why)));
    expect_error(&why, "is not usable");
    cr_expect(not(shakes(client, server, "", &why)));
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

/* ---- versions and protocol names ------------------------------------------------------------ */

static struct tls_ctx *client_of(const char *min_version, const char *alpn)
{
    struct err err;
    struct tls_ctx *ctx =
        tls_client_ctx_new(&(struct tls_options){ .min_version = min_version, .alpn = alpn }, &err);
    cr_assert(ctx != NULL, "%s", err.text);
    return ctx;
}

static struct tls_ctx *server_of(const char *min_version, const char *alpn)
{
    char cert[KIT_PATH_MAX], key[KIT_PATH_MAX];
    struct err err;
    struct tls_ctx *ctx =
        tls_server_ctx_new(&(struct tls_options){ .cert_file = kit_path(cert, folder, "server.pem"),
                                                  .key_file = kit_path(key, folder, "server.key"),
                                                  .min_version = min_version,
                                                  .alpn = alpn },
                           &err);
    cr_assert(ctx != NULL, "%s", err.text);
    return ctx;
}

Test(tls, speaks_no_version_below_the_lowest)
{
    struct tls_ctx *server = server_of("1.3", NULL);
    struct tls_ctx *client = client_of(NULL, NULL);
    struct err why;
    cr_expect(shakes(client, server, NULL, &why), "%s", why.text);
    SSL_CTX_set_max_proto_version(client->ssl, TLS1_2_VERSION);
    cr_expect(not(shakes(client, server, NULL, &why)));
    expect_error(&why, "protocol version");
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, agrees_on_the_protocol_name_or_fails)
{
    static const struct {
        const char *client, *server;
        bool works;
    } cases[] = {
        { "amqp", "amqp", true },      { NULL, "amqp", true },   { "amqp", NULL, true },
        { "http/1.1", "amqp", false }, { "amq", "amqp", false }, { "amqps", "amqp", false },
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct tls_ctx *server = server_of(NULL, cases[i].server);
        struct tls_ctx *client = client_of(NULL, cases[i].client);
        struct err why;
        cr_expect(eq(int, shakes(client, server, NULL, &why), cases[i].works), "case %zu: %s", i,
                  why.text);
        tls_ctx_unref(&client);
        tls_ctx_unref(&server);
    }
}

Test(tls, says_that_a_plain_client_is_plain)
{
    struct tls_ctx *server = kit_tls_server(folder, false);
    static const char *const words[] = { "AMQP\0\0\x09\x01", "GET / HTTP/1.1\r\n\r\n" };
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        int ends[2];
        kit_socket_pair(ends, false);
        struct tls_conn *conn = tls_conn_new(server, ends[1], true, NULL);
        kit_send(ends[0], words[i], 8);
        struct err err;
        cr_expect(eq(int, tls_conn_handshake(conn, &err), TLS_FAILED));
        expect_error(&err, "does not speak TLS");
        tls_conn_free(&conn);
        close(ends[0]);
        close(ends[1]);
    }
    tls_ctx_unref(&server);
}

/* ---- octets --------------------------------------------------------------------------------- */

/* Whose suites are not named prefers the one that costs least; what the peer lacks is passed over.
 */
Test(tls, prefers_the_cheapest_suite)
{
    static const char *const offers[] = { NULL, "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
                                          "TLS_AES_256_GCM_SHA384" };
    struct err err;
    for (size_t i = 0; i < ARRAY_COUNT(offers); i++) {
        struct tls_options o = { .own_key = true };
        struct tls_ctx *server = tls_server_ctx_new(&o, &err);
        o = (struct tls_options){ .suites = offers[i] };
        struct tls_ctx *client = tls_client_ctx_new(&o, &err);
        cr_assert(server != NULL && client != NULL, "%s", err.text);
        struct pair p;
        pair_open(&p, client, server, NULL);
        pair_shake(&p);
        cr_assert(p.client.result == TLS_OK && p.server.result == TLS_OK);
        cr_expect(eq(str, (char *)tls_conn_cipher(p.server.conn),
                     i < 2 ? "TLS_AES_128_GCM_SHA256" : "TLS_AES_256_GCM_SHA384"));
        pair_close(&p);
        tls_ctx_unref(&client);
        tls_ctx_unref(&server);
    }
}

Test(tls, a_context_with_a_key_of_its_own_needs_no_files)
{
    struct tls_options o = { .own_key = true,
                             .min_version = "1.3",
                             .suites = "TLS_AES_128_GCM_SHA256" };
    struct err err;
    struct tls_ctx *server = tls_server_ctx_new(&o, &err);
    o.own_key = false;
    struct tls_ctx *client = tls_client_ctx_new(&o, &err);
    cr_assert(server != NULL && client != NULL, "%s", err.text);
    struct pair p;
    pair_open(&p, client, server, NULL);
    pair_shake(&p);
    cr_assert(p.client.result == TLS_OK && p.server.result == TLS_OK);
    cr_expect(eq(str, (char *)tls_conn_subject(p.client.conn), "CN=warren"));
    uint8_t near[32], far[32];
    tls_conn_export(p.client.conn, "EXPORTER-test", near, sizeof near);
    tls_conn_export(p.server.conn, "EXPORTER-test", far, sizeof far);
    cr_expect(memcmp(near, far, sizeof near) == 0);
    pair_close(&p);
    o.suites = "NO_SUCH_SUITE";
    cr_expect(tls_client_ctx_new(&o, &err) == NULL);
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, tells_an_orderly_end_from_a_torn_one)
{
    struct pair p;
    uint8_t octet;
    size_t n;
    pair_ready(&p, folder, false);
    tls_conn_free(&p.client.conn);
    cr_expect(eq(int, tls_conn_read(p.server.conn, &octet, 1, &n, &p.server.err), TLS_CLOSED));
    pair_close(&p);

    pair_ready(&p, folder, false);
    shutdown(p.client.fd, SHUT_RDWR);
    cr_expect(eq(int, tls_conn_read(p.server.conn, &octet, 1, &n, &p.server.err), TLS_FAILED));
    expect_error(&p.server.err, "without ending TLS");
    pair_close(&p);
}

Test(tls, never_raises_sigpipe)
{
    struct pair p;
    uint8_t octets[100] = { 0 };
    size_t n;
    pair_ready(&p, folder, false);
    shutdown(p.server.fd, SHUT_RDWR);
    /* The default action of SIGPIPE would end this process. */
    cr_expect(eq(int,
                 tls_conn_write(p.client.conn, slice_of(octets, sizeof octets), &n, &p.client.err),
                 TLS_FAILED));
    expect_error(&p.client.err, "Broken pipe");
    pair_close(&p);
}

Test(tls, refuses_octets_that_are_no_records)
{
    struct pair p;
    uint8_t octet;
    size_t n;
    pair_ready(&p, folder, false);
    kit_send(p.client.fd, "no record at all", 16);
    cr_expect(eq(int, tls_conn_read(p.server.conn, &octet, 1, &n, &p.server.err), TLS_FAILED));
    expect_error(&p.server.err, "TLS read");
    pair_close(&p);
}

Test(tls, resumes_a_session_with_the_same_name_only)
{
    struct tls_ctx *server = kit_tls_server(folder, false);
    struct tls_ctx *client = kit_tls_client(folder);
    static const char *const names[] = { "localhost", "localhost", "127.0.0.1", "localhost" };
    static const bool resumed[] = { false, true, false, true };
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct pair p;
        uint8_t octet;
        size_t n;
        pair_open(&p, client, server, names[i]);
        pair_shake(&p);
        /* The ticket of TLS 1.3 comes behind the handshake. */
        cr_assert(
            eq(int, tls_conn_read(p.client.conn, &octet, 1, &n, &p.client.err), TLS_WANT_READ));
        SSL_SESSION *next = tls_known_get(client, names[i]);
        cr_expect(next != NULL);
        SSL_SESSION_free(next);
        cr_expect(eq(int, tls_conn_was_resumed(p.client.conn), resumed[i]), "turn %zu", i);
        cr_expect(eq(str, (char *)tls_conn_subject(p.client.conn), "CN=server"));
        pair_close(&p);
    }
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

Test(tls, remembers_a_bounded_number_of_servers)
{
    struct tls_ctx *client = kit_tls_client(folder);
    char name[32];
    for (unsigned i = 0; i < 3 * TLS_SESSIONS_MAX; i++) {
        snprintf(name, sizeof name, "server-%u", i);
        tls_known_put(client, name, SSL_SESSION_new());
    }
    cr_expect(eq(uint, client->known_count, TLS_SESSIONS_MAX));
    tls_ctx_unref(&client);
}

/* ---- how long certificates hold ------------------------------------------------------------- */

struct terms {
    unsigned count;
    struct tls_term last;
};

static void on_term(const struct tls_term *term, void *arg)
{
    struct terms *t = arg;
    t->count++;
    t->last = *term;
}

Test(tls, tells_when_its_certificates_end)
{
    int64_t now = (int64_t)time(NULL);
    struct tls_ctx *ctx = kit_tls_server(folder, false);
    struct terms own = { 0 }, trusted = { 0 };
    tls_ctx_terms(ctx, TLS_OWN, on_term, &own);
    tls_ctx_terms(ctx, TLS_TRUSTED, on_term, &trusted);
    cr_expect(eq(uint, own.count, 1));
    cr_expect(eq(uint, trusted.count, 1));
    /* made moments ago, two hours back and a day ahead */
    cr_expect(own.last.from_s <= now - 7200 && own.last.from_s > now - 7260);
    cr_expect(own.last.until_s <= now + 86400 && own.last.until_s > now + 86340);
    cr_expect(trusted.last.until_s <= now + 86400 && trusted.last.until_s > now + 86340);
    tls_ctx_unref(&ctx);
}

Test(tls, has_no_terms_without_certificates)
{
    struct err err;
    struct tls_ctx *ctx = tls_client_ctx_new(&(struct tls_options){ .verify_peer = true }, &err);
    struct terms own = { 0 }, trusted = { 0 };
    tls_ctx_terms(ctx, TLS_OWN, on_term, &own);
    tls_ctx_terms(ctx, TLS_TRUSTED, on_term, &trusted);
    cr_expect(eq(uint, own.count, 0));
    cr_expect(eq(uint, trusted.count, 0));
    tls_ctx_unref(&ctx);
}

/* ---- what was agreed on --------------------------------------------------------------------- */

Test(tls, says_what_was_agreed_on_and_who_is_there)
{
    struct tls_ctx *server = kit_tls_server(folder, true);
    char cert[KIT_PATH_MAX], key[KIT_PATH_MAX], ca[KIT_PATH_MAX];
    struct err err;
    struct tls_ctx *known =
        tls_client_ctx_new(&(struct tls_options){ .cert_file = kit_path(cert, folder, "client.pem"),
                                                  .key_file = kit_path(key, folder, "client.key"),
                                                  .ca_file = kit_path(ca, folder, "ca.pem"),
                                                  .verify_peer = true },
                           &err);
    struct pair p;
    pair_open(&p, known, server, "localhost");
    pair_shake(&p);
    struct tls_about *a = tls_about_new(p.server.conn);
    cr_expect(eq(str, a->protocol, "tlsv1.3"));
    cr_expect(eq(str, a->key_exchange, "any"));
    cr_expect(eq(str, a->cipher, "aes_128_gcm"));
    cr_expect(eq(str, a->hash, "aead"));
    cr_expect(eq(str, a->subject, "CN=client one"));
    cr_expect(eq(str, a->issuer, "CN=Warren test CA"));
    cr_expect(eq(sz, strlen(a->validity), strlen("2026-11-28T12:00:00Z - 2027-11-28T12:00:00Z")));
    tls_about_free(&a);
    tls_about_free(&a); /* nothing is left to free */
    pair_close(&p);
    tls_ctx_unref(&known);
    tls_ctx_unref(&server);
}

Test(tls, says_that_nobody_has_shown_a_certificate)
{
    struct tls_ctx *server = kit_tls_server(folder, false), *client = kit_tls_client(folder);
    struct pair p;
    pair_open(&p, client, server, "localhost");
    pair_shake(&p);
    struct tls_about *a = tls_about_new(p.server.conn);
    cr_expect(eq(str, a->protocol, "tlsv1.3"));
    cr_expect(a->subject == NULL && a->issuer == NULL && a->validity == NULL);
    tls_about_free(&a);
    pair_close(&p);
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}
