#include "proxy_conf.h"

#include "base/check.h"
#include "io/sock.h"
#include "proxy_conf_table.h"
#include "proxy_words.h"

#include <string.h>

/* Turns the sections, as they were read, into proxies. */
struct finish {
    struct root *root;
    struct proxy_conf *conf;
    struct err *err;
};

static void warn(struct finish *f, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void warn(struct finish *f, const char *fmt, ...)
{
    struct text t;
    va_list args;
    text_init(&t, ERR_TEXT_MAX);
    va_start(args, fmt);
    text_vput(&t, fmt, args);
    va_end(args);
    conf_list_add(&f->conf->warnings, conf_store_str(f->conf->store, text_view(&t)),
                  f->conf->store);
    text_fini(&t);
}

static bool refuse(struct finish *f, const struct part *p, const char *what)
{
    static const char *const kinds[] = {
        [PART_FRONTEND] = "frontend",
        [PART_BACKEND] = "backend",
        [PART_LISTEN] = "listen",
    };
    return err_set(f->err, ERR_CONFIG, "%s: [%s %s] %s", p->where, kinds[p->kind], p->name, what);
}

static bool has_pages(const struct part *p)
{
    return p->mode == PROXY_MODE_HTTP;
}

static bool looks_inside(const struct quota_bounds *b)
{
    return b->channels != 0 || b->messages.count != 0 || b->bytes.count != 0;
}

static bool needs_amqp(const struct quota_limits *l)
{
    return looks_inside(&l->refuse) || looks_inside(&l->alarm);
}

static bool judge(struct finish *f, const struct part *p)
{
    bool front = (p->kind & PART_FRONTEND) != 0;
    bool serves = (p->kind & PART_BACKEND) != 0 && !has_pages(p);
    if (p->kind == PART_BACKEND && has_pages(p))
        return refuse(f, p,
                      "is mode http, which is for the proxy's own pages; forward HTTP with "
                      "mode = tcp");
    if (front && p->front.bind_count == 0)
        return refuse(f, p, "has no bind");
    if (serves && p->back.server_count == 0 && p->discover == PROXY_DISCOVER_NONE)
        return refuse(f, p, "has no server");
    if (p->discover == PROXY_DISCOVER_GOSSIP && p->mode != PROXY_MODE_AMQP)
        return refuse(f, p, "has discover = gossip, which finds servers of mode = amqp");
    if (p->discover == PROXY_DISCOVER_GOSSIP && f->conf->global.gossip.kind == CONF_ADDRESS_NONE)
        return refuse(f, p, "has discover = gossip, which needs [global] gossip, such as :25672");
    if (p->discover == PROXY_DISCOVER_RABBIT && p->mode != PROXY_MODE_AMQP)
        return refuse(f, p, "has discover = rabbitmq, which finds servers of mode = amqp");
    if (has_pages(p) && (p->back.server_count != 0 || p->default_backend != NULL))
        return refuse(f, p,
                      "is mode http, which is for the proxy's own pages: no server here; "
                      "forward HTTP with mode = tcp");
    for (unsigned i = 0; i < p->front.bind_count; i++) {
        if (has_pages(p) && (p->front.binds[i].ssl || p->front.binds[i].accept_proxy))
            return refuse(f, p, "is mode http, whose bind takes an address alone");
    }
    if (p->kind == PART_FRONTEND && !has_pages(p) && p->default_backend == NULL)
        return refuse(f, p, "has no default_backend");
    if (front && p->mode != PROXY_MODE_AMQP &&
        (p->front.has_limit[QUOTA_USER] || p->front.has_limit[QUOTA_VHOST] ||
         (has_pages(p) && p->front.has_limit[QUOTA_SOURCE])))
        return refuse(f, p, "has a limit that needs mode = amqp; mode tcp knows sources alone");
    if (front && p->mode == PROXY_MODE_TCP && needs_amqp(&p->front.limits[QUOTA_SOURCE]))
        return refuse(
            f, p,
            "has a limit of channels, messages or bytes, which needs mode = amqp; mode tcp "
            "knows connections and their rate alone");
    if (!has_pages(p) && (p->front.stats_auth != NULL || p->front.stats_allow.count != 0))
        return refuse(f, p, "has stats-auth or stats-allow, which need mode = http");
    return true;
}

static bool judge_name(struct finish *f, unsigned index)
{
    const struct part *p = f->root->parts[index];
    for (unsigned i = 0; i < index; i++) {
        const struct part *other = f->root->parts[i];
        if ((other->kind & p->kind) != 0 && strcmp(other->name, p->name) == 0)
            return err_set(f->err, ERR_CONFIG, "%s: the name %s is taken, by %s", p->where, p->name,
                           other->where);
    }
    return true;
}

/* What a server's own line says is refused (proxy_words.c); a default may be for the others. */
static void warn_of_plain(struct finish *f, const struct backend_conf *b)
{
    const struct server_conf *d = &b->default_server;
    bool has_words = d->ca_file != NULL || d->crt != NULL || d->sni != NULL;
    if (has_words && !d->ssl && b->discover != PROXY_DISCOVER_NONE)
        warn(f,
             "%s: %s: servers that are found speak plain text: default-server has words of TLS, "
             "and no 'ssl'",
             d->where, b->name);
    for (unsigned i = 0; i < b->server_count; i++) {
        const struct server_conf *s = &b->servers[i];
        if (!s->ssl && (s->ca_file != NULL || s->crt != NULL || s->sni != NULL))
            warn(f,
                 "%s: %s speaks plain text: default-server has words of TLS, and there is no "
                 "'ssl'",
                 s->where, s->name);
    }
}

static void add_backend(struct finish *f, struct part *p)
{
    struct backend_conf *b = &p->back;
    b->name = p->name;
    b->mode = p->mode;
    b->timeout = p->timeout;
    b->discover = p->discover;
    b->rabbit = p->rabbit;
    proxy_words_found(&p->default_server, &b->default_server);
    b->by_master = p->by_master && p->mode == PROXY_MODE_AMQP;
    if (b->timeout.check == 0)
        b->timeout.check = b->timeout.connect;
    /* The check inherited from [defaults] is about servers that speak AMQP through us. */
    bool inherited = p->mode == PROXY_MODE_AMQP && f->root->defaults.check != CHECK_TCP;
    b->amqp_check = p->check == CHECK_INHERITED ? inherited : p->check == CHECK_AMQP;
    const struct own_splice *all = &f->root->defaults.splice;
    b->splice_request = p->splice.request || all->request;
    b->splice_response = p->splice.response || all->response;
    f->conf->backends[f->conf->backend_count++] = b;
    warn_of_plain(f, b);

    if (p->by_master && p->discover != PROXY_DISCOVER_RABBIT &&
        f->conf->global.gossip.kind == CONF_ADDRESS_NONE)
        warn(f,
             "%s: %s: balance = queue-master is taken as roundrobin: masters are known by gossip, "
             "and [global] gossip names no port, or by discover = rabbitmq",
             p->where, p->name);
}

static int find_backend(const struct proxy_conf *conf, const char *name)
{
    for (unsigned i = 0; i < conf->backend_count; i++) {
        if (strcmp(conf->backends[i]->name, name) == 0)
            return (int)i;
    }
    return -1;
}

static bool is_this_machine(const struct conf_address *a)
{
    struct sock_addr at;
    return a->kind == CONF_ADDRESS_UNIX || strcmp(a->host, "localhost") == 0 ||
           (sock_addr_ip(a->host, a->port, &at) && sock_addr_is_loopback(&at));
}

/* A broker on this machine that is not told who comes takes everybody for a neighbour. */
static void warn_of_neighbours(struct finish *f, const struct frontend_conf *front,
                               const struct backend_conf *b)
{
    const struct global_conf *g = &f->conf->global;
    bool all_are_told =
        b->mode == PROXY_MODE_AMQP && g->cookie_file != NULL && g->gossip.kind != CONF_ADDRESS_NONE;
    bool is_open = false;
    for (unsigned i = 0; i < front->bind_count; i++)
        is_open = is_open || !is_this_machine(&front->binds[i].at);
    for (unsigned i = 0; i < b->server_count && is_open && !all_are_told; i++) {
        const struct server_conf *s = &b->servers[i];
        if (is_this_machine(&s->at) && !s->send_proxy && !s->send_proxy_v1)
            warn(f,
                 "%s: %s is on this machine and is not told who comes through %s: a broker takes "
                 "them all for local, and lets its user guest in; 'send-proxy-v2' tells it, or, in "
                 "mode = amqp, [global] cookie-file and gossip",
                 s->where, s->name, front->name);
    }
}

static bool add_frontend(struct finish *f, struct part *p)
{
    struct frontend_conf *front = &p->front;
    front->name = p->name;
    front->mode = p->mode;
    front->timeout = p->timeout;
    front->maxconn = p->maxconn;
    front->backend = -1;
    f->conf->frontends[f->conf->frontend_count++] = front;
    if (has_pages(p))
        return true;

    const char *target = p->kind == PART_LISTEN ? p->name : p->default_backend;
    front->backend = find_backend(f->conf, target);
    if (front->backend < 0)
        return err_set(f->err, ERR_CONFIG, "%s: there is no [backend %s]", p->where, target);
    if (f->conf->backends[front->backend]->mode != p->mode)
        return err_set(f->err, ERR_CONFIG, "%s: %s is mode %s, but its backend %s is mode %s",
                       p->where, p->name, proxy_mode_word(p->mode), target,
                       proxy_mode_word(f->conf->backends[front->backend]->mode));
    warn_of_neighbours(f, front, f->conf->backends[front->backend]);
    return true;
}

/* What gossip needs: a secret to be believed by, and somebody to ask. */
static bool judge_gossip(struct finish *f)
{
    const struct global_conf *g = &f->conf->global;
    const char *what = NULL;
    if (g->gossip.kind == CONF_ADDRESS_NONE && g->gossip_seeds.count != 0)
        what = "gossip-seed needs gossip, such as gossip = :25672";
    else if (g->gossip.kind == CONF_ADDRESS_UNIX)
        what = "gossip is a port, such as :25672";
    else if (g->gossip.kind != CONF_ADDRESS_NONE && g->cookie_file == NULL)
        what = "gossip needs the cluster's secret, such as cookie-file = /etc/warren/cookie";
    else if (g->gossip.kind != CONF_ADDRESS_NONE && g->gossip_seeds.count == 0)
        what = "gossip needs somebody to ask, such as gossip-seed = rabbit1:25672";
    for (size_t i = 0; i < g->gossip_seeds.count && what == NULL; i++)
        if (g->gossip_seeds.items[i].kind != CONF_ADDRESS_TCP ||
            g->gossip_seeds.items[i].port == 0 || g->gossip_seeds.items[i].host[0] == '\0')
            what = "gossip-seed names brokers, such as rabbit1:25672";
    return what == NULL || err_set(f->err, ERR_CONFIG, "%s: [global] %s", f->conf->path, what);
}

static bool finish(struct finish *f)
{
    struct root *r = f->root;
    f->conf->global = r->global;
    f->conf->global.timeout_drain_ms = r->defaults.drain_ms;
    f->conf->warnings = r->warnings;
    if (!judge_gossip(f))
        return false;
    for (unsigned i = 0; i < r->part_count; i++) {
        if (!judge_name(f, i) || !judge(f, r->parts[i]))
            return false;
    }
    /* Not more of each than there is room for: a listen counts as one of both. */

    unsigned fronts = 0;
    unsigned backs = 0;
    for (unsigned i = 0; i < r->part_count; i++) {
        fronts += (r->parts[i]->kind & PART_FRONTEND) != 0;
        backs += (r->parts[i]->kind & PART_BACKEND) != 0;
    }
    if (fronts > PROXY_CONF_PROXIES_MAX || backs > PROXY_CONF_PROXIES_MAX)
        return err_set(f->err, ERR_CONFIG, "%s: more than %u frontends or backends", f->conf->path,
                       PROXY_CONF_PROXIES_MAX);

    for (unsigned i = 0; i < r->part_count; i++) {
        if ((r->parts[i]->kind & PART_BACKEND) != 0 && !has_pages(r->parts[i]))
            add_backend(f, r->parts[i]);
    }
    for (unsigned i = 0; i < r->part_count; i++) {
        if ((r->parts[i]->kind & PART_FRONTEND) != 0 && !add_frontend(f, r->parts[i]))
            return false;
    }
    if (f->conf->frontend_count == 0)
        return err_set(f->err, ERR_CONFIG, "%s: there is no [frontend] and no [listen]",
                       f->conf->path);
    return true;
}

typedef bool (*load_fn)(const char *name, struct slice text, struct root *root,
                        struct conf_store *store, struct err *err);

static bool load_file(const char *name, struct slice text, struct root *root,
                      struct conf_store *store, struct err *err)
{
    (void)text;
    return conf_load(proxy_conf_schema(), name, NULL, 0, root, store, err);
}

static bool load_text(const char *name, struct slice text, struct root *root,
                      struct conf_store *store, struct err *err)
{
    return conf_load_text(proxy_conf_schema(), name, text, NULL, 0, root, store, err);
}

static struct proxy_conf *load(const char *name, struct slice text, load_fn fn, struct err *err)
{
    struct conf_store *store = conf_store_new();
    struct proxy_conf *conf = conf_store_alloc(store, sizeof *conf);
    struct root *root = conf_store_alloc(store, sizeof *root);
    conf->store = store;
    conf->path = conf_store_str(store, slice_str(name));

    struct finish f = { .root = root, .conf = conf, .err = err };
    if (fn(name, text, root, store, err) && finish(&f))
        return conf;
    conf_store_free(&store);
    return NULL;
}

struct proxy_conf *proxy_conf_load(const char *path, struct err *err)
{
    return load(path, slice_of(NULL, 0), load_file, err);
}

struct proxy_conf *proxy_conf_load_text(const char *name, struct slice text, struct err *err)
{
    return load(name, text, load_text, err);
}

void proxy_conf_free(struct proxy_conf **conf)
{
    if (*conf == NULL)
        return;
    struct conf_store *store = (*conf)->store;
    *conf = NULL;
    conf_store_free(&store);
}

void proxy_conf_describe(struct text *out)
{
    conf_describe(proxy_conf_schema(), out);
}

const char *proxy_mode_word(enum proxy_mode mode)
{
    static const char *const words[] = {
        [PROXY_MODE_AMQP] = "amqp",
        [PROXY_MODE_TCP] = "tcp",
        [PROXY_MODE_HTTP] = "http",
    };
    CHECK((unsigned)mode < ARRAY_COUNT(words));
    return words[mode];
}
