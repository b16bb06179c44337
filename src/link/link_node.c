#include "link/link_node.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/shown.h"
#include "io/cookie.h"
#include "io/random.h"
#include "io/tls.h"

#include <string.h>

/* Identities are few (a node changes its own when an operator has it join), and who reads one may
 * be in the middle of it: they are kept to the end. */
struct stated {
    struct link_identity id;
    struct stated *before;
};

struct link_node {
    struct cookie cookie;
    uint64_t boot;
    uint16_t least, most;   /* versions; 0: LINK_VERSION_LEAST, _MOST */
    struct tls_ctx *server; /* the ephemeral certificate's */
    struct tls_ctx *client;
    struct tls_slot node_server; /* empty: the same */
    struct tls_slot node_client;
    struct shown self; /* struct stated */
};

static struct stated *stated_new(const struct link_identity *id, struct stated *before)
{
    struct stated *s = mem_zalloc(sizeof *s);
    s->id = *id;
    s->before = before;
    return s;
}

static struct tls_options manners(void)
{
    return (struct tls_options){
        .min_version = "1.3",
        .suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
    };
}

struct link_node *link_node_new(struct slice cookie, const struct link_identity *self,
                                struct err *err)
{
    CHECK(cookie.len <= COOKIE_MAX);
    struct link_node *n = mem_zalloc(sizeof *n);
    memcpy(n->cookie.bytes, cookie.ptr, cookie.len);
    n->cookie.len = cookie.len;
    n->boot = random_u64();
    shown_init(&n->self, stated_new(self, NULL));
    tls_slot_init(&n->node_server);
    tls_slot_init(&n->node_client);
    struct tls_options bare = manners(), own = bare;
    own.own_key = true;
    n->server = tls_server_ctx_new(&own, err);
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
    tls_slot_fini(&n->node_server);
    tls_slot_fini(&n->node_client);
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

bool link_node_set_certificate(struct link_node *n, const struct link_certificate *c,
                               struct err *err)
{
    struct tls_ctx *server = NULL, *client = NULL;
    if (c != NULL) {
        struct tls_options o = manners();
        o.cert_file = c->cert_file;
        o.key_file = c->key_file;
        o.ca_file = c->ca_file;
        o.verify_peer = c->demanded; /* a server that is not to show one has the ephemeral one */
        client = tls_client_ctx_new(&o, err);
        o.verify_peer = true;
        o.nobody_may_come = !c->demanded;
        server = client != NULL ? tls_server_ctx_new(&o, err) : NULL;
        if (server == NULL) {
            tls_ctx_unref(&client);
            return false;
        }
    }
    tls_slot_put(&n->node_server, &server);
    tls_slot_put(&n->node_client, &client);
    return true;
}

static struct tls_ctx *in_force(struct tls_slot *s, bool of_nodes, struct tls_ctx *ephemeral)
{
    struct tls_ctx *ctx = of_nodes ? tls_slot_get(s) : NULL;
    return ctx != NULL ? ctx : tls_ctx_ref(ephemeral);
}

struct tls_ctx *link_node_server_tls(struct link_node *n, bool of_nodes)
{
    return in_force(&n->node_server, of_nodes, n->server);
}

struct tls_ctx *link_node_client_tls(struct link_node *n, bool of_nodes)
{
    return in_force(&n->node_client, of_nodes, n->client);
}
