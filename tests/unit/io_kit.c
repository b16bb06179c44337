#include "io_kit.h"

#include "base/check.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- folders and files ---------------------------------------------------------------------- */

const char *kit_folder_make(char room[KIT_PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    snprintf(room, KIT_PATH_MAX, "%s/warren-unit-XXXXXX", base != NULL ? base : "/tmp");
    CHECK(mkdtemp(room) != NULL);
    return room;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void kit_folder_remove(const char *folder)
{
    CHECK(strstr(folder, "warren-unit-") != NULL);
    CHECK(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

const char *kit_path(char room[KIT_PATH_MAX], const char *folder, const char *name)
{
    CHECK(snprintf(room, KIT_PATH_MAX, "%s/%s", folder, name) < KIT_PATH_MAX);
    return room;
}

void kit_file_write(const char *path, const void *bytes, size_t len, unsigned mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && fchmod(fd, mode) == 0);
    close(fd);
}

/* ---- sockets -------------------------------------------------------------------------------- */

static void set_non_blocking(int fd)
{
    CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
}

void kit_socket_pair(int ends[2], bool is_small)
{
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    int least = 1;
    for (int i = 0; i < 2 && is_small; i++)
        CHECK(setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0 &&
              setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &least, sizeof least) == 0);
}

void kit_tcp_pair(int ends[2])
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr = { .s_addr = htonl(INADDR_LOOPBACK) } };
    socklen_t len = sizeof at;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(listening >= 0 && bind(listening, (struct sockaddr *)&at, sizeof at) == 0 &&
          listen(listening, 1) == 0 && getsockname(listening, (struct sockaddr *)&at, &len) == 0);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(ends[0] >= 0 && connect(ends[0], (struct sockaddr *)&at, sizeof at) == 0);
    ends[1] = accept(listening, NULL, NULL);
    CHECK(ends[1] >= 0);
    close(listening);
    set_non_blocking(ends[0]);
    set_non_blocking(ends[1]);
}

static void wait_for(int fd, short what)
{
    struct pollfd p = { .fd = fd, .events = what };
    while (poll(&p, 1, -1) < 0)
        CHECK(errno == EINTR);
}

void kit_send(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len != 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0) {
            cr_assert(errno == EAGAIN || errno == EINTR, "send: %s", strerror(errno));
            wait_for(fd, POLLOUT);
            continue;
        }
        at += n;
        len -= (size_t)n;
    }
}

size_t kit_recv(int fd, void *into, size_t len)
{
    size_t got = 0;
    while (got < len) {
        ssize_t n = recv(fd, (uint8_t *)into + got, len - got, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break;
        if (n < 0) {
            cr_assert(errno == EAGAIN || errno == EINTR, "recv: %s", strerror(errno));
            wait_for(fd, POLLIN);
            continue;
        }
        got += (size_t)n;
    }
    return got;
}

/* ---- loops ---------------------------------------------------------------------------------- */

struct loop *kit_loop_new(void)
{
    struct err err;
    struct loop *loop = loop_new("test", &err);
    cr_assert(loop != NULL, "%s", err.text);
    return loop;
}

struct wish {
    struct loop *loop;
    struct loop_timer timer;
    struct loop_task task;
    kit_cond cond;
    void *arg;
    unsigned turns_left;
};

static void on_ask(void *arg)
{
    struct wish *w = arg;
    if (w->cond(w->arg))
        loop_stop(w->loop);
    else
        loop_timer_start(&w->timer, 1);
}

void kit_until(struct loop *loop, kit_cond cond, void *arg)
{
    struct wish w = { .loop = loop, .cond = cond, .arg = arg };
    if (cond(arg))
        return;
    loop_timer_init(&w.timer, loop, on_ask, &w);
    loop_timer_start(&w.timer, 1);
    loop_run(loop);
    loop_timer_fini(&w.timer);
}

static bool flag_is_set(void *arg)
{
    return *(const bool *)arg;
}

void kit_until_set(struct loop *loop, const bool *flag)
{
    kit_until(loop, flag_is_set, (void *)flag);
}

struct count_wish {
    const size_t *count;
    size_t least;
};

static bool count_is_reached(void *arg)
{
    const struct count_wish *c = arg;
    return *c->count >= c->least;
}

void kit_until_count(struct loop *loop, const size_t *count, size_t least)
{
    kit_until(loop, count_is_reached, &(struct count_wish){ count, least });
}

static void on_turn(void *arg)
{
    struct wish *w = arg;
    if (w->turns_left-- == 0)
        loop_stop(w->loop);
    else
        loop_again(w->loop, &w->task);
}

void kit_turns(struct loop *loop, unsigned turns)
{
    struct wish w = { .loop = loop, .turns_left = turns };
    loop_task_init(&w.task, on_turn, &w);
    loop_again(loop, &w.task);
    loop_run(loop);
}

/* ---- certificates --------------------------------------------------------------------------- */

static EVP_PKEY *key_write(const char *folder, const char *base)
{
    char name[64], path[KIT_PATH_MAX];
    snprintf(name, sizeof name, "%s.key", base);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(kit_path(path, folder, name), "w");
    CHECK(key != NULL && f != NULL && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(f);
    return key;
}

static void cert_write(X509 *cert, const char *folder, const char *base)
{
    char name[64], path[KIT_PATH_MAX];
    snprintf(name, sizeof name, "%s.pem", base);
    FILE *f = fopen(kit_path(path, folder, name), "w");
    CHECK(f != NULL && PEM_write_X509(f, cert) == 1);
    fclose(f);
}

static X509 *issuer_read(const char *folder, const char *base, EVP_PKEY **key)
{
    char name[64], path[KIT_PATH_MAX];
    snprintf(name, sizeof name, "%s.pem", base);
    FILE *f = fopen(kit_path(path, folder, name), "r");
    X509 *cert = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    CHECK(cert != NULL);
    fclose(f);
    snprintf(name, sizeof name, "%s.key", base);
    f = fopen(kit_path(path, folder, name), "r");
    *key = f != NULL ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
    CHECK(*key != NULL);
    fclose(f);
    return cert;
}

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(NULL, &ctx, nid, value);
    CHECK(e != NULL && X509_add_ext(cert, e, -1) == 1);
    X509_EXTENSION_free(e);
}

void kit_cert_make(const char *folder, const char *base, const struct kit_cert_plan *plan)
{
    static long serial = 1;
    EVP_PKEY *key = key_write(folder, base);
    EVP_PKEY *issuer_key = key;
    X509 *cert = X509_new();
    X509 *issuer = cert;
    if (plan->issuer != NULL)
        issuer = issuer_read(folder, plan->issuer, &issuer_key);
    CHECK(X509_set_version(cert, 2) == 1 &&
          ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++) == 1 &&
          X509_gmtime_adj(X509_getm_notBefore(cert), -7200) != NULL &&
          X509_gmtime_adj(X509_getm_notAfter(cert), plan->is_expired ? -3600 : 86400) != NULL &&
          X509_set_pubkey(cert, key) == 1);
    X509_NAME *name = X509_get_subject_name(cert);
    CHECK(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)plan->name, -1, -1,
                                     0) == 1 &&
          X509_set_issuer_name(cert, X509_get_subject_name(issuer)) == 1);
    if (plan->is_ca)
        extend(cert, issuer, NID_basic_constraints, "critical,CA:TRUE");
    if (plan->san != NULL)
        extend(cert, issuer, NID_subject_alt_name, plan->san);
    CHECK(X509_sign(cert, issuer_key, EVP_sha256()) > 0);
    cert_write(cert, folder, base);
    if (issuer != cert) {
        X509_free(issuer);
        EVP_PKEY_free(issuer_key);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

void kit_pki_make(const char *folder)
{
    kit_cert_make(folder, "ca", &(struct kit_cert_plan){ .name = "Warren test CA", .is_ca = true });
    kit_cert_make(folder, "other-ca",
                  &(struct kit_cert_plan){ .name = "Another CA", .is_ca = true });
    kit_cert_make(folder, "server",
                  &(struct kit_cert_plan){
                      .name = "server", .san = "DNS:localhost,IP:127.0.0.1", .issuer = "ca" });
    kit_cert_make(folder, "client",
                  &(struct kit_cert_plan){ .name = "client one", .issuer = "ca" });
    kit_cert_make(folder, "stranger",
                  &(struct kit_cert_plan){ .name = "stranger", .issuer = "other-ca" });
}

struct tls_ctx *kit_tls_server(const char *folder, bool verify_client)
{
    char cert[KIT_PATH_MAX], key[KIT_PATH_MAX], ca[KIT_PATH_MAX];
    struct tls_options o = { .cert_file = kit_path(cert, folder, "server.pem"),
                             .key_file = kit_path(key, folder, "server.key"),
                             .ca_file = kit_path(ca, folder, "ca.pem"),
                             .verify_peer = verify_client };
    struct err err;
    struct tls_ctx *ctx = tls_server_ctx_new(&o, &err);
    cr_assert(ctx != NULL, "%s", err.text);
    return ctx;
}

struct tls_ctx *kit_tls_client(const char *folder)
{
    char ca[KIT_PATH_MAX];
    struct tls_options o = { .ca_file = kit_path(ca, folder, "ca.pem"), .verify_peer = true };
    struct err err;
    struct tls_ctx *ctx = tls_client_ctx_new(&o, &err);
    cr_assert(ctx != NULL, "%s", err.text);
    return ctx;
}
