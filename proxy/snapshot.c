#include "snapshot.h"

#include "base/check.h"
#include "base/mem.h"

#include <string.h>

/* ---- taking over what stays ------------------------------------------------------------------ */

static const struct frontend *find_frontend(const struct snapshot *s, const char *name)
{
    for (unsigned i = 0; s != NULL && i < s->frontend_count; i++) {
        if (strcmp(s->frontends[i].conf->name, name) == 0)
            return &s->frontends[i];
    }
    return NULL;
}

const struct backend *snapshot_backend(const struct snapshot *s, const char *name)
{
    for (unsigned i = 0; s != NULL && i < s->backend_count; i++) {
        if (strcmp(s->backends[i].conf->name, name) == 0)
            return &s->backends[i];
    }
    return NULL;
}

const struct server *backend_server(const struct backend *b, const char *name)
{
    for (unsigned i = 0; b != NULL && i < backend_server_count(b); i++) {
        if (strcmp(b->servers[i].conf->name, name) == 0)
            return &b->servers[i];
    }
    return NULL;
}

static struct server_live *server_record(const struct server_conf *conf, const struct server *old,
                                         uint64_t now_ms)
{
    if (old != NULL && strcmp(old->conf->at.text, conf->at.text) == 0) {
        struct server_live *l = server_live_ref(old->live);
        health_adapt(&l->health, &old->conf->health, &conf->health);
        if (old->conf->weight != conf->weight)
            shared_set(&l->weight, conf->weight);
        return l;
    }
    struct server_live *l = server_live_new(now_ms);
    health_init(&l->health, &conf->health);
    shared_set(&l->weight, conf->weight);
    shared_set(&l->admin, conf->disabled ? LIVE_ADMIN_MAINT : LIVE_ADMIN_READY);
    return l;
}

/* ---- making ---------------------------------------------------------------------------------- */

static bool add_server(struct backend *b, const struct server_conf *conf, const struct backend *old,
                       uint64_t now_ms, struct err *err)
{
    unsigned index = backend_server_count(b);
    struct server *s = &b->servers[index];
    s->conf = conf;
    s->backend = b;
    s->index = index;
    if (conf->ssl) {
        struct tls_options o = { .cert_file = conf->crt, .ca_file = conf->ca_file };
        o.verify_peer = conf->verify == PROXY_VERIFY_REQUIRED;
        s->tls = tls_client_ctx_new(&o, err);
        if (s->tls == NULL)
            return err_context(err, "%s: server %s", conf->where, conf->name);
    }
    s->live = server_record(conf, backend_server(old, conf->name), now_ms);
    shared_set(&b->server_count, index + 1); /* whole, for whoever sees the number */
    return true;
}

static bool add_backend(struct snapshot *s, const struct backend_conf *conf,
                        const struct snapshot *before, uint64_t now_ms, struct err *err)
{
    struct backend *b = &s->backends[s->backend_count++];
    const struct backend *old = snapshot_backend(before, conf->name);
    b->conf = conf;
    b->live = old != NULL ? backend_live_ref(old->live) : backend_live_new(now_ms);
    b->servers = mem_array(conf->server_count, sizeof *b->servers);
    for (unsigned i = 0; i < conf->server_count; i++) {
        if (!add_server(b, &conf->servers[i], old, now_ms, err))
            return false;
    }
    return true;
}

static bool add_tls(struct frontend *f, unsigned bind, struct err *err)
{
    const struct bind_conf *conf = &f->conf->binds[bind];
    struct tls_options o = {
        .cert_file = conf->crt,
        .ca_file = conf->ca_file,
        .verify_peer = conf->verify == PROXY_VERIFY_REQUIRED,
        .min_version = conf->min_version,
        .alpn = conf->alpn,
    };
    f->tls[bind] = tls_server_ctx_new(&o, err);
    return f->tls[bind] != NULL || err_context(err, "%s: bind", conf->where);
}

static bool add_frontend(struct snapshot *s, const struct frontend_conf *conf,
                         const struct snapshot *before, struct err *err)
{
    struct frontend *f = &s->frontends[s->frontend_count++];
    const struct frontend *old = find_frontend(before, conf->name);
    f->conf = conf;
    f->live = old != NULL ? frontend_live_ref(old->live) : frontend_live_new();
    f->backend = conf->backend >= 0 ? &s->backends[conf->backend] : NULL;
    for (unsigned i = 0; i < conf->bind_count; i++) {
        if (conf->binds[i].ssl && !add_tls(f, i, err))
            return false;
    }
    return true;
}

static bool fill(struct snapshot *s, const struct snapshot *before, uint64_t now_ms,
                 struct err *err)
{
    const struct proxy_conf *conf = s->conf;
    s->backends = mem_array(conf->backend_count + 1, sizeof *s->backends);
    s->frontends = mem_array(conf->frontend_count, sizeof *s->frontends);
    for (unsigned i = 0; i < conf->backend_count; i++) {
        if (!add_backend(s, conf->backends[i], before, now_ms, err))
            return false;
    }
    for (unsigned i = 0; i < conf->frontend_count; i++) {
        if (!add_frontend(s, conf->frontends[i], before, err))
            return false;
    }
    return true;
}

struct snapshot *snapshot_new(struct proxy_conf **conf, const struct snapshot *before,
                              uint64_t now_ms, struct err *err)
{
    struct snapshot *s = mem_zalloc(sizeof *s);
    shared_set(&s->refs, 1);
    s->conf = *conf;
    *conf = NULL;
    if (!fill(s, before, now_ms, err))
        snapshot_unref(&s);
    return s;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
    (void)shared_add(&s->refs, 1);
    return s;
}

static void free_backend(struct backend *b)
{
    for (unsigned i = 0; i < backend_server_count(b); i++) {
        tls_ctx_unref(&b->servers[i].tls);
        server_live_unref(&b->servers[i].live);
    }
    backend_live_unref(&b->live);
    mem_free(b->servers);
}

static void free_frontend(struct frontend *f)
{
    for (unsigned i = 0; i < ARRAY_COUNT(f->tls); i++)
        tls_ctx_unref(&f->tls[i]);
    frontend_live_unref(&f->live);
}

void snapshot_unref(struct snapshot **snapshot)
{
    struct snapshot *s = *snapshot;
    *snapshot = NULL;
    if (s == NULL || shared_sub(&s->refs, 1) != 0)
        return;
    for (unsigned i = 0; i < s->frontend_count; i++)
        free_frontend(&s->frontends[i]);
    for (unsigned i = 0; i < s->backend_count; i++)
        free_backend(&s->backends[i]);
    mem_free(s->frontends);
    mem_free(s->backends);
    proxy_conf_free(&s->conf);
    mem_free(s);
}

/* ---- choosing -------------------------------------------------------------------------------- */

static bool is_alive(const struct server *s)
{
    return shared_get(&s->live->up) != 0 && shared_get(&s->live->admin) == LIVE_ADMIN_READY;
}

bool server_is_usable(const struct server *s)
{
    return is_alive(s) && shared_get(&s->live->address) != 0;
}

bool backend_is_alive(const struct backend *b)
{
    for (unsigned i = 0; i < backend_server_count(b); i++) {
        if (is_alive(&b->servers[i]))
            return true;
    }
    return false;
}

static struct balance_server view(const struct server *s, bool skip, uint64_t now_ms)
{
    const struct server_live *l = s->live;
    uint64_t since = shared_get(&l->up_since_ms);
    uint64_t up_for_ms = since == 0 ? UINT64_MAX : now_ms > since ? now_ms - since : 0;
    uint64_t upstreams = shared_get(&l->traffic.scur);
    uint64_t legs = shared_get(&l->legs);
    bool full = s->conf->maxconn != 0 && upstreams >= s->conf->maxconn;
    return (struct balance_server){
        .weight =
            balance_weight((uint32_t)shared_get(&l->weight), up_for_ms, s->conf->slowstart_ms),
        .load = (uint32_t)(upstreams > legs ? upstreams : legs),
        .load_max = full ? 1 : 0, /* legs are the load, but maxconn bounds connections */
        .usable = !skip && server_is_usable(s),
        .backup = s->conf->backup,
    };
}

const struct server *backend_pick(const struct backend *b, uint64_t skip, uint64_t now_ms,
                                  struct rng *rng)
{
    struct balance_server views[BALANCE_SERVERS_MAX];
    unsigned count = backend_server_count(b);
    CHECK(count <= ARRAY_COUNT(views));
    for (unsigned i = 0; i < count; i++)
        views[i] = view(&b->servers[i], (skip >> i & 1) != 0, now_ms);

    uint64_t ticket = shared_add(&b->live->ticket, 1) - 1;
    int i = balance_pick(b->conf->balance, views, count, ticket, rng);
    if (i < 0)
        return NULL;
    (void)shared_add(&b->live->lbtot, 1);
    (void)shared_add(&b->servers[i].live->lbtot, 1);
    return &b->servers[i];
}

unsigned backend_usable_count(const struct backend *b)
{
    unsigned count = 0;
    for (unsigned i = 0; i < backend_server_count(b); i++)
        count += server_is_usable(&b->servers[i]) && shared_get(&b->servers[i].live->weight) != 0;
    return count;
}
