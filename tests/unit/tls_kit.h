/*
 * tls_kit: two ends of a TLS session over a socket pair, stepped on one thread.
 */
#ifndef WARREN_TESTS_TLS_KIT_H
#define WARREN_TESTS_TLS_KIT_H

#include "io/tls.h"
#include "io_kit.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- two ends ------------------------------------------------------------------------------- */

struct end {
    int fd;
    struct tls_conn *conn;
    enum tls_result result;
    struct err err;
};

struct pair {
    struct end client, server;
};

static inline void pair_open(struct pair *p, struct tls_ctx *client, struct tls_ctx *server,
                             const char *name)
{
    int ends[2];
    kit_socket_pair(ends, false);
    *p = (struct pair){ .client = { .fd = ends[0] }, .server = { .fd = ends[1] } };
    p->client.conn = tls_conn_new(client, ends[0], false, name);
    p->server.conn = tls_conn_new(server, ends[1], true, NULL);
    p->client.result = p->server.result = TLS_WANT_READ;
}

static inline bool is_over(enum tls_result r)
{
    return r == TLS_OK || r == TLS_CLOSED || r == TLS_FAILED;
}

/* Both step by step on one thread; a socket pair needs no waiting. One that fails closes. */
static inline void pair_shake(struct pair *p)
{
    for (int i = 0; i < 20; i++) {
        struct end *e = i % 2 == 0 ? &p->client : &p->server;
        if (is_over(e->result))
            continue;
        e->result = tls_conn_handshake(e->conn, &e->err);
        if (e->result == TLS_FAILED)
            shutdown(e->fd, SHUT_WR);
    }
    cr_assert(is_over(p->client.result) && is_over(p->server.result));
}

/* Both with the certificates in the folder, and their handshake done. Small: the server's socket
 * takes little at a time. */
static inline void pair_ready(struct pair *p, const char *folder, bool is_small)
{
    struct tls_ctx *server = kit_tls_server(folder, false);
    struct tls_ctx *client = kit_tls_client(folder);
    pair_open(p, client, server, "localhost");
    pair_shake(p);
    cr_assert(p->client.result == TLS_OK && p->server.result == TLS_OK);
    int least = 1;
    if (is_small)
        cr_assert(setsockopt(p->server.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
    /* The connections keep what they need. */
    tls_ctx_unref(&client);
    tls_ctx_unref(&server);
}

static inline void pair_close(struct pair *p)
{
    tls_conn_free(&p->client.conn);
    tls_conn_free(&p->server.conn);
    close(p->client.fd);
    close(p->server.fd);
}

static inline bool shakes(struct tls_ctx *client, struct tls_ctx *server, const char *name,
                          struct err *why)
{
    struct pair p;
    pair_open(&p, client, server, name);
    pair_shake(&p);
    *why = p.client.err;
    bool ok = p.client.result == TLS_OK && p.server.result == TLS_OK;
    pair_close(&p);
    return ok;
}

static inline void expect_error(const struct err *err, const char *part)
{
    cr_expect(strstr(err->text, part) != NULL, "\"%s\" should contain \"%s\"", err->text, part);
}

#endif
