#include "snapshot.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "rabbit_conf.h"

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
        if (strcmp(b->servers[i].conf->name, name) == 0 &&
            shared_get(&b->servers[i].live->gone) == 0)
            return &b->servers[i];
    }
    return NULL;
}

static struct server_live *server_record(const struct server_conf *conf, const struct server *old,
                                         uint64_t now_ms)
{
    if (old != NULL && strcmp(old->conf->at.text, conf->at.text) == 0) {
        return server_live_ref(old->live); /* see snapshot_take_effect */
    }
    struct server_live *l = server_live_new(now_ms);
    health_init(&l->health, &conf->health);
    shared_set(&l->weight, conf->weight);
    shared_set(&l->admin, conf->disabled ? LIVE_ADMIN_MAINT : LIVE_ADMIN_READY);
    return l;
}

/* ---- making ---------------------------------------------------------------------------------- */

/* `live` is taken. */
static bool add_server(struct backend *b, const struct server_conf *conf, struct server_live *live,
                       struct err *err)
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
        if (s->tls == NULL) {
            server_live_unref(&live);
            return err_context(err, "%s: server %s", conf->where, conf->name);
        }
    }
    s->live = live;
    shared_set(&b->server_count, index + 1); /* whole, for whoever sees the number */
    return true;
}

const struct server *snapshot_add_found(struct snapshot *s, unsigned backend, const char *name,
                                        const char *place, struct server_live *live,
                                        uint64_t now_ms, struct err *err)
{
    struct backend *b = &s->backends[backend];
    struct conf_store *store = s->conf->store; /* workers only look at what is there already */
    if (backend_server_count(b) == backend_room(b)) {
        err_set(err, ERR_LIMIT, "backend %s has no room for more servers than %u", b->conf->name,
                backend_room(b));
        return NULL;
    }
    struct server_conf *conf = conf_store_alloc(store, sizeof *conf);
    *conf = b->conf->default_server;
    conf->name = conf_store_str(store, slice_str(name));
    conf->where = "discover";
    if (!conf_address_of(place, -1, store, &conf->at, err))
        return NULL;
    if (live == NULL) {
        live = server_record(conf, NULL, now_ms);
        shared_set(&live->up_since_ms, now_ms); /* a slow start is for those that appear, too */
    } else {
        live = server_live_ref(live);
        shared_set(&live->gone, 0);
    }
    return add_server(b, conf, live, err) ? &b->servers[backend_server_count(b) - 1] : NULL;
}

/* The same server is listed now. */
static bool is_listed(const struct backend *b, const struct server_conf *found)
{
    for (unsigned i = 0; i < b->conf->server_count; i++) {
        const char *name = b->conf->servers[i].name;
        size_t len = strlen(name);
        if (strncmp(found->name, name, len) == 0 &&
            (found->name[len] == '\0' || found->name[len] == '@'))
            return true;
    }
    return false;
}

/* What was found stays found. One that cannot be now may be found again. */
static void keep_found(struct snapshot *s, unsigned backend, const struct backend *old,
                       uint64_t now_ms)
{
    const struct backend *b = &s->backends[backend];
    for (unsigned i = 0; old != NULL && i < backend_server_count(old); i++) {
        const struct server *was = &old->servers[i];
        struct err err;
        if (!was->conf->found || shared_get(&was->live->gone) != 0 ||
            b->conf->discover != old->conf->discover || is_listed(b, was->conf))
            continue;
        const struct server *now = snapshot_add_found(s, backend, was->conf->name,
                                                      was->conf->at.text, was->live, now_ms, &err);
        if (now == NULL)
            log_warn("server", was->conf->name, "%s", err.text);
    }
}

static bool add_rabbit_tls(struct backend *b, struct err *err)
{
    const struct rabbit_conf *conf = b->conf->rabbit;
    if (conf == NULL || !rabbit_conf_has_tls(conf))
        return true;
    struct tls_options o = {
        .ca_file = conf->ca_file,
        .verify_peer = conf->verify == PROXY_VERIFY_REQUIRED,
    };
    b->rabbit_tls = tls_client_ctx_new(&o, err);
    return b->rabbit_tls != NULL || err_context(err, "%s: discover", conf->where);
}

static bool add_backend(struct snapshot *s, const struct backend_conf *conf,
                        const struct snapshot *before, uint64_t now_ms, struct err *err)
{
    struct backend *b = &s->backends[s->backend_count++];
    const struct backend *old = snapshot_backend(before, conf->name);
    b->conf = conf;
    b->live = old != NULL ? backend_live_ref(old->live) : backend_live_new(now_ms);
    b->servers = mem_array(backend_room(b) + 1u, sizeof *b->servers);
    for (unsigned i = 0; i < conf->server_count; i++) {
        const struct server_conf *one = &conf->servers[i];
        if (!add_server(b, one, server_record(one, backend_server(old, one->name), now_ms), err))
            return false;
    }
    keep_found(s, s->backend_count - 1, old, now_ms);
    return add_rabbit_tls(b, err);
}

static bool add_tls(struct frontend *f, unsigned bind, struct err *err)
{
    const struct bind_conf *conf = &f->conf->binds[bind];
    struct tls_options o = {
        .cert_file = conf->crt.items[0],
        .more_certs = conf->crt.items + 1,
        .more_cert_count = conf->crt.count - 1,
        .strict_sni = conf->strict_sni,
        .ca_file = conf->ca_file,
        .verify_peer = conf->verify != PROXY_VERIFY_NONE,
        .nobody_may_come = conf->verify == PROXY_VERIFY_OPTIONAL,
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
    tls_ctx_unref(&b->rabbit_tls);
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

/* Where nothing is checked, what others say of its node is all there is. */
static bool is_said_to_be_dead(const struct server *s)
{
    enum live_hearsay hearsay = (enum live_hearsay)shared_get(&s->live->hearsay);
    return !s->conf->check && (hearsay == LIVE_HEARSAY_DEAD || hearsay == LIVE_HEARSAY_LEFT);
}

static bool is_alive(const struct server *s)
{
    const struct server_live *l = s->live;
    return shared_get(&l->up) != 0 && shared_get(&l->admin) == LIVE_ADMIN_READY &&
           shared_get(&l->gone) == 0 && shared_get(&l->draining) == 0 && !is_said_to_be_dead(s);
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

static bool is_full(const struct server *s)
{
    return s->conf->maxconn != 0 && shared_get(&s->live->traffic.scur) >= s->conf->maxconn;
}

bool server_has_room(const struct server *s)
{
    return server_is_usable(s) && !is_full(s);
}

static struct balance_server view(const struct server *s, bool skip, uint64_t now_ms)
{
    const struct server_live *l = s->live;
    uint64_t since = shared_get(&l->up_since_ms);
    uint64_t up_for_ms = since == 0 ? UINT64_MAX : now_ms > since ? now_ms - since : 0;
    uint64_t upstreams = shared_get(&l->traffic.scur);
    uint64_t legs = shared_get(&l->legs);
    return (struct balance_server){
        .weight =
            balance_weight((uint32_t)shared_get(&l->weight), up_for_ms, s->conf->slowstart_ms),
        .load = (uint32_t)(upstreams > legs ? upstreams : legs),
        .load_max = is_full(s) ? 1 : 0, /* legs are the load, but maxconn bounds connections */
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

/* ---- what the configuration says otherwise ----------------------------------------------------
 */

/* Nobody would find out that it is up. */
static void trust(struct server_live *l, const struct health_conf *conf, uint64_t now_ms)
{
    if (shared_get(&l->up) == 0) {
        l->down_ms += now_ms - l->changed_ms;
        l->changed_ms = now_ms;
        shared_set(&l->up_since_ms, now_ms);
        shared_set(&l->up, 1);
    }
    health_init(&l->health, conf);
}

static void change(const struct server_conf *was, const struct server *now, uint64_t now_ms)
{
    struct server_live *l = now->live;
    health_adapt(&l->health, &was->health, &now->conf->health);
    if (was->weight != now->conf->weight)
        shared_set(&l->weight, now->conf->weight);
    if (was->disabled != now->conf->disabled)
        shared_set(&l->admin, now->conf->disabled ? LIVE_ADMIN_MAINT : LIVE_ADMIN_READY);
    if (was->check && !now->conf->check)
        trust(l, &now->conf->health, now_ms);
}

void snapshot_take_effect(const struct snapshot *s, const struct snapshot *before, uint64_t now_ms)
{
    for (unsigned i = 0; i < s->backend_count; i++) {
        const struct backend *b = &s->backends[i];
        const struct backend *old = snapshot_backend(before, b->conf->name);
        for (unsigned k = 0; k < backend_server_count(b); k++) {
            const struct server *now = &b->servers[k];
            const struct server *was = backend_server(old, now->conf->name);
            if (was != NULL && was->live == now->live)
                change(was->conf, now, now_ms);
        }
    }
}
