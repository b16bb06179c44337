#include "mgmt/mgmt_http.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "client/auth.h"
#include "io/clock.h"
#include "io/mailbox.h"
#include "listen.h"
#include "live.h"
#include "mgmt/mgmt_inner.h"

#include <stdlib.h>
#include <string.h>

#define REQUEST_TIMEOUT_MS 30000u
#define BODY_MAX_BYTES     ((size_t)16 * 1024)
#define PASSWORD_MAX       1024u
#define JSON_TYPE          "application/json"

static void serve_whoami(struct mgmt_http *m, struct http_request *r);
static void serve_page(struct mgmt_http *m, struct http_request *r);
static void serve_nothing(struct mgmt_http *m, struct http_request *r);

/* Everything that is served, for the routes and for the page. */
static const struct api_route {
    const char *path;
    mgmt_fn fn;
    bool is_open; /* no login, as with RabbitMQ's prometheus plugin */
    const char *help;
} routes[] = {
    { "/", serve_page, true, "this page" },
    { "/metrics", mgmt_serve_metrics, true, "figures for Prometheus" },
    { "/api/overview", mgmt_serve_overview, false, "the node in short" },
    { "/api/whoami", serve_whoami, false, "who you are" },
    { "/api/nodes/...", mgmt_serve_nodes, false, "nodes: memory, limits, alarms" },
    { "/api/vhosts/...", mgmt_serve_vhosts, false, "virtual hosts" },
    { "/api/queues/...", mgmt_serve_queues, false, "queues and how full they are" },
    { "/api/exchanges/...", mgmt_serve_exchanges, false, "exchanges" },
    { "/api/bindings/...", mgmt_serve_bindings, false, "bindings" },
    { "/api/connections/...", mgmt_serve_connections, false, "clients" },
    { "/api/channels/...", mgmt_serve_channels, false, "their channels" },
    { "/api/healthchecks/node/...", mgmt_serve_node_check, false, "is the node well?" },
    { "/api/health/checks/alarms", mgmt_serve_alarms, false, "is no alarm in effect?" },
    { "/api/health/checks/local-alarms", mgmt_serve_local_alarms, false, "none on this node?" },
    { "/api/aliveness-test/...", mgmt_serve_aliveness, false,
      "does a message go through a queue of this vhost?" },
    { "/api/...", serve_nothing, false, NULL },
};

/* One route of one management. */
struct http_bind {
    struct mgmt_http *m;
    const struct api_route *route;
};

const struct broker_conf *mgmt_conf(const struct mgmt_http *m)
{
    return broker_live(m->broker)->conf;
}

/* ---- answers ---- */

void mgmt_reply(struct http_request *r, int status, json_t *value)
{
    CHECK(value != NULL);
    char *text = json_dumps(value, JSON_COMPACT);
    CHECK(text != NULL);
    json_decref(value);
    http_reply_header(r, "Cache-Control", "no-cache");
    http_reply(r, status, JSON_TYPE, slice_str(text));
    mem_free(text); /* see json_set_alloc_funcs below */
}

void mgmt_refuse(struct http_request *r, int status, const char *error, const char *reason)
{
    json_t *o = json_object();
    mgmt_json_put_str(o, "error", error);
    mgmt_json_put_str(o, "reason", reason);
    mgmt_reply(r, status, o);
}

void mgmt_not_found(struct http_request *r)
{
    mgmt_refuse(r, 404, "Object Not Found", "Not Found");
}

static void serve_nothing(struct mgmt_http *m, struct http_request *r)
{
    (void)m;
    mgmt_not_found(r);
}

static void serve_whoami(struct mgmt_http *m, struct http_request *r)
{
    (void)m;
    char user[META_NAME_MAX + 1], password[PASSWORD_MAX];
    struct text u = text_over(user, sizeof user), p = text_over(password, sizeof password);
    bool ok = http_request_basic_auth(r, &u, &p);
    CHECK(ok); /* it let the user in */
    json_t *o = json_object();
    mgmt_json_put(o, "name", mgmt_json_text(text_view(&u)));
    mgmt_json_put(o, "tags", json_pack("[s]", "administrator"));
    mgmt_reply(r, 200, o);
}

static void serve_page(struct mgmt_http *m, struct http_request *r)
{
    struct text t;
    text_init(&t, (size_t)16 * 1024);
    text_put(&t, "Warren %s, node %s\n\n", WARREN_VERSION, mgmt_conf(m)->node.name);
    text_str(&t, "The management HTTP API, with RabbitMQ's paths and fields. This version reads "
                 "only.\nBelow /api a user and password are asked for (basic authentication).\n\n");
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (routes[i].help != NULL)
            text_put(&t, "  %-34s %s\n", routes[i].path, routes[i].help);
    }
    http_reply(r, 200, "text/plain; charset=utf-8", text_view(&t));
    text_fini(&t);
}

/* ---- who may ---- */

static void log_refusal(const struct http_request *r, enum auth_verdict verdict)
{
    char where[SOCK_ADDR_TEXT_MAX];
    log_warn("mgmt", sock_addr_text(http_request_peer(r), where), "login refused%s",
             auth_verdict_text(verdict));
}

/* As RabbitMQ: without credentials an empty 401, with wrong ones a reason. */
static void turn_away(struct mgmt_http *m, struct http_request *r, enum auth_verdict verdict)
{
    m->logins_refused++;
    log_refusal(r, verdict);
    if (verdict == AUTH_BUSY) {
        mgmt_refuse(r, 503, "service_unavailable", "Too many logins at a time");
        return;
    }
    http_reply_header(r, "WWW-Authenticate", "Basic realm=\"RabbitMQ Management\"");
    mgmt_refuse(r, 401, "not_authorized",
                verdict == AUTH_LOOPBACK_ONLY ? "User can only log in via localhost"
                                              : "Login failed");
}

static void judged(const struct http_bind *b, struct http_request *r, enum auth_verdict verdict)
{
    if (verdict == AUTH_OK) {
        b->m->logins++;
        b->route->fn(b->m, r);
    } else {
        turn_away(b->m, r, verdict);
    }
}

/* A request whose password is being looked at. */
struct mgmt_login {
    struct auth_wait wait;
    const struct http_bind *bind;
    struct http_request *request;
};

static void on_verdict(void *arg, enum auth_verdict verdict)
{
    struct mgmt_login *l = arg;
    judged(l->bind, l->request, verdict);
    mem_free(l);
}

static void log_in(const struct http_bind *b, struct http_request *r, const struct auth_ask *ask)
{
    struct mgmt_login *l = mem_zalloc(sizeof *l);
    *l = (struct mgmt_login){ { .fn = on_verdict, .arg = l }, b, r };
    enum auth_verdict verdict = auth_login(b->m->auth, ask, &l->wait);
    if (verdict == AUTH_PENDING) {
        http_hold(r);
        return;
    }
    judged(b, r, verdict);
    mem_free(l);
}

static void on_request(struct http_request *r, void *arg)
{
    const struct http_bind *b = arg;
    char user[META_NAME_MAX + 1], password[PASSWORD_MAX];
    struct text u = text_over(user, sizeof user), p = text_over(password, sizeof password);
    if (b->route->is_open) {
        b->route->fn(b->m, r);
    } else if (http_request_basic_auth(r, &u, &p)) {
        log_in(b, r,
               &(struct auth_ask){ mgmt_conf(b->m), text_view(&u), text_view(&p),
                                   http_request_peer(r) });
        explicit_bzero(password, sizeof password);
    } else {
        http_reply_header(r, "WWW-Authenticate", "Basic realm=\"RabbitMQ Management\"");
        http_reply(r, 401, JSON_TYPE, slice_str(""));
    }
}

/* ---- what is asked ---- */

bool mgmt_path_name(const struct http_request *r, unsigned n, struct mgmt_name *out)
{
    struct text t = text_over(out->text, sizeof out->text);
    bool ok = http_request_segment(r, n, &t);
    out->len = t.len;
    return ok;
}

unsigned mgmt_path_len(const struct http_request *r)
{
    unsigned n = 0;
    const char *at = http_request_path(r);
    while (*at == '/') {
        size_t len = strcspn(at + 1, "/");
        n += len != 0 || at[1] == '/';
        at += 1 + len;
    }
    return n;
}

bool mgmt_list_of(struct http_request *r, struct mgmt_list *out)
{
    static const char *const names[] = { "page", "page_size",    "name",   "use_regex",
                                         "sort", "sort_reverse", "columns" };
    char room[ARRAY_COUNT(names)][MGMT_COLUMNS_MAX + 1];
    const char *given[ARRAY_COUNT(names)];
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct text t = text_over(room[i], sizeof room[i]);
        given[i] = http_request_query(r, names[i], &t) ? room[i] : NULL;
    }
    struct mgmt_complaint why;
    struct mgmt_list_texts texts = { given[0], given[1], given[2], given[3],
                                     given[4], given[5], given[6] };
    if (mgmt_list_read(out, &texts, &why))
        return true;
    mgmt_refuse(r, 400, why.error, why.reason);
    return false;
}

void mgmt_reply_list(struct http_request *r, const struct mgmt_list *l, json_t *all)
{
    struct mgmt_complaint why;
    json_t *shown = mgmt_list_show(l, &all, &why);
    if (shown != NULL)
        mgmt_reply(r, 200, shown);
    else
        mgmt_refuse(r, 400, why.error, why.reason);
}

void mgmt_reply_object(struct http_request *r, const struct mgmt_list *l, json_t *object)
{
    mgmt_list_columns(l, object);
    mgmt_reply(r, 200, object);
}

struct mgmt_wait *mgmt_wait_new(struct mgmt_http *m, struct http_request *r,
                                const struct mgmt_list *l)
{
    if (m->held == MGMT_HELD_MAX) {
        mgmt_refuse(r, 503, "service_unavailable", "too many requests wait for an answer");
        return NULL;
    }
    m->held++;
    http_hold(r);
    struct mgmt_wait *w = mem_zalloc(sizeof *w);
    w->m = m;
    w->r = r;
    if (l != NULL)
        w->list = *l;
    return w;
}

void mgmt_wait_free(struct mgmt_wait **w)
{
    CHECK((*w)->m->held > 0);
    (*w)->m->held--;
    mem_free(*w);
    *w = NULL;
}

/* ---- the metadata ---- */

static int compare_vhosts(const void *left, const void *right)
{
    const struct meta_vhost *const *a = left;
    const struct meta_vhost *const *b = right;
    return slice_cmp(meta_vhost_name(*a), meta_vhost_name(*b));
}

bool mgmt_vhosts_at(struct mgmt_http *m, struct http_request *r, unsigned n,
                    const struct meta_vhost ***list, size_t *count)
{
    const struct meta_version *v = broker_meta(m->broker);
    struct mgmt_name name;
    const struct meta_vhost **out = mem_array(v->vhosts.count + 1, sizeof *out);
    const struct meta_vhost *vh;
    *list = out;
    *count = 0;
    if (mgmt_path_len(r) > n) {
        vh = mgmt_path_name(r, n, &name) ? meta_vhost_find(v, mgmt_name_slice(&name)) : NULL;
        if (vh != NULL) {
            out[(*count)++] = vh;
            return true;
        }
        mem_free(out);
        mgmt_not_found(r);
        return false;
    }
    struct pmap_iter it;
    pmap_iter(&it, &v->vhosts);
    while ((vh = pmap_next(&it)) != NULL)
        out[(*count)++] = vh;
    qsort(out, *count, sizeof *out, compare_vhosts);
    return true;
}

void mgmt_ask_all_queues(struct mgmt_http *m, uint64_t vhost_id, mgmt_ask_fn done, void *arg)
{
    const struct meta_version *v = broker_meta(m->broker);
    const struct meta_vhost *vh = vhost_id != 0 ? meta_vhost_get(v, vhost_id) : NULL;
    const struct pmap *map = vh != NULL ? &vh->queues : &v->queues;
    struct mgmt_queue *queues = mem_array(map->count + 1, sizeof *queues);
    size_t count = 0;
    struct pmap_iter it;
    pmap_iter(&it, map);
    const struct meta_queue *q;
    while ((q = pmap_next(&it)) != NULL)
        queues[count++] = (struct mgmt_queue){ .qid = q->qid, .shard = q->shard };
    mgmt_ask_queues(m->broker, m->loop, &queues, count, done, arg);
}

struct mgmt_totals mgmt_totals_of(const struct mgmt_ask *a)
{
    struct mgmt_totals t = { 0 };
    size_t count;
    const struct mgmt_queue *q = mgmt_ask_queue_list(a, &count);
    for (size_t i = 0; i < count; i++, q++) {
        t.queues += q->found;
        t.consumers += q->consumers;
        t.ready += q->ready;
        t.unacked += q->unacked;
        t.ready_bytes += q->ready_bytes;
        t.unacked_bytes += q->unacked_bytes;
    }
    return t;
}

void mgmt_counts_read(const struct broker *b, struct mgmt_counts *out)
{
    *out = (struct mgmt_counts){ 0 };
    for (uint32_t i = 0; i < broker_shard_count(b); i++) {
        const struct shard *s = broker_shard(b, i);
#define X(name, help) out->name += shard_counter(s, name);
        SHARD_COUNTERS(X)
#undef X
    }
}

static void on_sample(void *arg)
{
    struct mgmt_http *m = arg;
    m->samples[0] = m->samples[1];
    m->samples[1].at_us = loop_now_us(m->loop);
    mgmt_counts_read(m->broker, &m->samples[1].counts);
    loop_timer_start(&m->sampler, MGMT_SAMPLE_MS);
}

/* ---- life ---- */

static void add_routes(struct mgmt_http *m, struct http_server *s)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++)
        http_route(s, routes[i].path, HTTP_ALLOW(HTTP_GET), on_request, &m->binds[i]);
}

static bool add_server(struct mgmt_http *m, const struct conf_address *a, struct err *err)
{
    struct sock_addr at;
    if (!listen_address(a, "management", &at, err))
        return false;
    struct http_server *s = http_server_new(m->loop, &at,
                                            &(struct http_options){
                                                .body_max_bytes = BODY_MAX_BYTES,
                                                .timeout_ms = REQUEST_TIMEOUT_MS,
                                                .server_name = "Warren",
                                            },
                                            err);
    if (s == NULL)
        return err_context(err, "[listen] management");
    add_routes(m, s);
    m->servers[m->server_count++] = s;
    char where[SOCK_ADDR_TEXT_MAX];
    log_info("listen", sock_addr_text(http_server_addr(s), where), "accepting HTTP, management");
    return true;
}

struct mgmt_http *mgmt_http_new(struct broker *b, struct epoch *epoch, struct err *err)
{
    struct mgmt_http *m = mem_zalloc(sizeof *m);
    m->broker = b;
    m->started_ms = clock_wall_ms();
    json_set_alloc_funcs(mem_alloc, mem_free); /* jansson's own may fail */
    m->loop = loop_new("mgmt", err);
    if (m->loop == NULL)
        goto fail;
    loop_join_epoch(m->loop, epoch);
    m->auth = broker_auth_new(b, m->loop);
    loop_timer_init(&m->sampler, m->loop, on_sample, m);
    m->binds = mem_array(ARRAY_COUNT(routes), sizeof *m->binds);
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++)
        m->binds[i] = (struct http_bind){ m, &routes[i] };
    const struct conf_addresses *at = &mgmt_conf(m)->listen.management;
    m->servers = mem_array(at->count + 1, sizeof(struct http_server *));
    for (size_t i = 0; i < at->count; i++) {
        if (!add_server(m, &at->items[i], err))
            goto fail;
    }
    return m;

fail:
    mgmt_http_free(&m);
    return NULL;
}

static void free_servers(struct mgmt_http *m)
{
    while (m->server_count != 0)
        http_server_free(&m->servers[--m->server_count]);
}

void mgmt_http_free(struct mgmt_http **mgmt)
{
    struct mgmt_http *m = *mgmt;
    if (m == NULL)
        return;
    *mgmt = NULL;
    CHECK(!m->running && m->held == 0);
    auth_free(&m->auth);
    free_servers(m);
    if (m->loop != NULL) {
        loop_timer_fini(&m->sampler);
        loop_free(&m->loop);
    }
    mem_free(m->servers);
    mem_free(m->binds);
    mem_free(m);
}

struct mgmt_notice {
    struct mail mail;
    struct mgmt_http *m;
};

static void on_begin(struct mail *mail)
{
    struct mgmt_notice *n = CONTAINER_OF(mail, struct mgmt_notice, mail);
    on_sample(n->m);
    mem_free(n);
}

static void on_close(struct mail *mail)
{
    struct mgmt_notice *n = CONTAINER_OF(mail, struct mgmt_notice, mail);
    free_servers(n->m);
    loop_timer_stop(&n->m->sampler);
    mem_free(n);
}

static void tell(struct mgmt_http *m, mail_fn fn)
{
    struct mgmt_notice *n = mem_zalloc(sizeof *n);
    *n = (struct mgmt_notice){ { NULL, fn }, m };
    mailbox_post(m->loop, &n->mail);
}

bool mgmt_http_start(struct mgmt_http *m, struct err *err)
{
    m->running = loop_start(m->loop, err);
    if (m->running)
        tell(m, on_begin);
    return m->running;
}

void mgmt_http_close(struct mgmt_http *m)
{
    if (m->running)
        tell(m, on_close);
}

void mgmt_http_stop(struct mgmt_http *m)
{
    if (!m->running)
        return;
    loop_stop(m->loop);
    loop_join(m->loop);
    m->running = false;
}

struct loop *mgmt_http_loop(const struct mgmt_http *m)
{
    return m->loop;
}
