#include "client/guest.h"

#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/connection.h"
#include "client/preamble.h"
#include "io/nets.h"
#include "io/proxy_accept.h"
#include "io/tls.h"
#include "live.h"
#include "shard.h"

#define HEADER_MS 10000u

struct guest {
    LIST_ENTRY(guest) entry;
    struct shard *shard;
    struct tls_ctx *tls; /* a reference */
    struct proxy_accept *accept;
    struct live *live; /* a reference */
    struct sock_addr client;
    struct preamble_name name;
};

static void forget(struct guest *g)
{
    LIST_REMOVE(g, entry);
    tls_ctx_unref(&g->tls);
    live_unref(&g->live);
    mem_free(g->name.name);
    mem_free(g);
}

static bool judge(struct guest *g, int fd, const struct proxy_header *h, struct err *refusal)
{
    struct sock_addr door;
    sock_local(fd, &door);
    struct preamble_rules rules = preamble_rules_of(g->shard->broker, g->live->conf, &door);
    return preamble_judge(&rules, h, &g->client, &g->name, refusal);
}

static void on_header(int fd, const struct proxy_header *h, const struct err *why, void *arg)
{
    struct guest *g = arg;
    struct err refusal = { 0 };
    char from[SOCK_ADDR_TEXT_MAX];
    sock_addr_text(&g->client, from);
    bool good = why == NULL && (h == NULL || judge(g, fd, h, &refusal));
    if (good) {
        connection_new(g->shard, fd, &g->client, g->tls, &g->name);
    } else {
        log_warn("connection", "-", "refused client=%s: %s", from,
                 why != NULL ? why->text : refusal.text);
        if (fd >= 0)
            sock_close(fd);
    }
    forget(g);
}

void guest_new(struct guest_list *list, struct shard *s, int fd, const struct sock_addr *peer,
               struct tls_ctx *tls)
{
    struct guest *g = mem_zalloc(sizeof *g);
    g->shard = s;
    g->tls = tls_ctx_ref(tls);
    g->live = live_ref(broker_live(s->broker));
    g->client = *peer;
    LIST_INSERT_HEAD(list, g, entry);
    bool must = nets_have(&g->live->conf->listen.proxy_protocol, peer);
    g->accept = proxy_accept_start(s->loop, fd, !must, HEADER_MS, on_header, g);
}

void guest_send_away(struct guest_list *list)
{
    while (!LIST_EMPTY(list)) {
        struct guest *g = LIST_FIRST(list);
        proxy_accept_cancel(&g->accept);
        forget(g);
    }
}
