#include "link/link_node.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/shown.h"
#include "io/cookie.h"
#include "io/random.h"
#include "io/tls.h"

#include <string.h>

#define READ_BYTES ((size_t)100 * 1024) /* some records; short of what malloc maps */

/* Identities are few (a node changes its own when an operator has it join), and who reads one may
 * be in the middle of it: they are kept to the end. */
struct stated {
    struct link_identity id;
    struct stated *before;
};

struct link_node {
    struct cookie cookie;
    uint64_t boot;
    uint16_t least, most; /* versions; 0: LINK_VERSION_LEAST, _MOST */
    struct tls_ctx *server;
    struct tls_ctx *client;
    struct shown self; /* struct stated */
};

static struct stated *stated_new(const struct link_identity *id, struct stated *before)
{
    struct stated *s = mem_zalloc(sizeof *s);
    s->id = *id;
    s->before = before;
    return s;
}

struct link_node *link_node_new(struct slice cookie, const struct link_identity *self,
                                struct err *err)
{
    CHECK(cookie.len <= COOKIE_MAX);
    struct link_node *n = mem_zalloc(sizeof *n);
    const struct tls_options tls = {
        .own_key = true,
        .min_version = "1.3",
        .read_bytes = READ_BYTES,
        .suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
    };
    memcpy(n->cookie.bytes, cookie.ptr, cookie.len);
    n->cookie.len = cookie.len;
    n->boot = random_u64();
    shown_init(&n->self, stated_new(self, NULL));
    n->server = tls_server_ctx_new(&tls, err);
    struct tls_options bare = tls;
    bare.own_key = false;
    n->client = n->server != NULL ? tls_client_ctx_new(&bare, err) : NULL;
    if (n->client == NULL)
        link_node_free(&n);
    return n;
}

void link_node_free(struct link_node **node)
{
    struct link_node *n = *node;
    *node = NULL;
    if (n == NULL)
        return;
    tls_ctx_unref(&n->server);
    tls_ctx_unref(&n->client);
    cookie_wipe(&n->cookie);
    struct stated *s = (struct stated *)(uintptr_t)shown_get(&n->self);
    while (s != NULL) {
        struct stated *before = s->before;
        mem_free(s);
        s = before;
    }
    mem_free(n);
}

void link_node_set_self(struct link_node *n, const struct link_identity *self)
{
    struct stated *now = (struct stated *)(uintptr_t)shown_get(&n->self);
    CHECK(memchr(self->name, '\0', sizeof self->name) != NULL);
    shown_set(&n->self, stated_new(self, now));
}

void link_node_self(const struct link_node *n, struct link_identity *out)
{
    const struct stated *s = shown_get(&n->self);
    *out = s->id;
}

uint64_t link_node_boot(const struct link_node *n)
{
    return n->boot;
}

void link_node_set_versions(struct link_node *n, uint16_t least, uint16_t most)
{
    n->least = least;
    n->most = most;
}

void link_node_versions(const struct link_node *n, uint16_t *least, uint16_t *most)
{
    *least = n->least;
    *most = n->most;
}

struct slice link_node_cookie(const struct link_node *n)
{
    return cookie_slice(&n->cookie);
}

struct tls_ctx *link_node_server_tls(const struct link_node *n)
{
    return n->server;
}

struct tls_ctx *link_node_client_tls(const struct link_node *n)
{
    return n->client;
}
