#include "pages.h"

#include "api.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/units.h"
#include "bind_addr.h"
#include "census.h"
#include "io/http.h"
#include "io/nets.h"
#include "observer.h"
#include "queues_page.h"
#include "stat_masters.h"
#include "stat_metrics.h"
#include "stat_table.h"
#include "stats_page.h"

#include <string.h>

#define PAGE_MAX           ((size_t)32 * 1024 * 1024)
#define SESSIONS_MAX       200u /* on the page */
#define REQUEST_TIMEOUT_MS 10000u
#define QUEUES_PATH_MAX    ((size_t)4096)
#define NAME_ROOM          256u /* of a queue or vhost, and the end */

/* One address with pages. It outlives a reload that keeps the address. */
struct page_server {
    const struct view *view;
    struct snapshot *snapshot; /* a reference; of the frontend */
    const struct frontend *frontend;
    const char *at; /* as the configuration writes it */
    struct http_server *http;
};

struct pages {
    struct page_server *servers[PROXY_CONF_PROXIES_MAX * 2];
    bool is_new[PROXY_CONF_PROXIES_MAX * 2];
    struct snapshot *snapshot; /* a reference */
    unsigned count;
};

/* ---- who may look ---------------------------------------------------------------------------- */

static bool is_same(struct slice a, struct slice b)
{
    unsigned differs = a.len != b.len; /* takes as long whatever the password begins with */
    for (size_t i = 0; i < a.len; i++)
        differs |= (unsigned)(a.ptr[i] ^ (b.len != 0 ? b.ptr[i % b.len] : 0));
    return differs == 0;
}

static bool is_allowed(const struct page_server *s, const struct http_request *r)
{
    const struct frontend_conf *f = s->frontend->conf;
    const struct sock_addr *peer = http_request_peer(r);
    if (f->stats_allow.count != 0)
        return sock_addr_is_unix(peer) || nets_have(&f->stats_allow, peer);
    return f->stats_auth != NULL || sock_addr_is_loopback(peer);
}

static bool knows_password(const struct page_server *s, const struct http_request *r)
{
    const char *wanted = s->frontend->conf->stats_auth;
    char user[256];
    char password[256];
    char both[sizeof user + sizeof password];
    struct text u = text_over(user, sizeof user);
    struct text p = text_over(password, sizeof password);
    struct text t = text_over(both, sizeof both);
    if (wanted == NULL)
        return true;
    if (!http_request_basic_auth(r, &u, &p) || u.cut || p.cut)
        return false;
    text_put(&t, "%s:%s", user, password);
    return is_same(slice_str(wanted), text_view(&t));
}

static void reply_text(struct http_request *r, int status, const char *text)
{
    http_reply(r, status, "text/plain; charset=utf-8", slice_str(text));
}

/* Answers those who may not look. */
static bool admit(const struct page_server *s, struct http_request *r, bool ask_password)
{
    if (!is_allowed(s, r)) {
        reply_text(r, 403, "not from this address: see stats-allow\n");
        return false;
    }
    if (ask_password && !knows_password(s, r)) {
        http_reply_header(r, "WWW-Authenticate", "Basic realm=\"warren-proxy\"");
        reply_text(r, 401, "a user and a password are needed: see stats-auth\n");
        return false;
    }
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void reply_table(const struct page_server *s, struct http_request *r, bool as_csv)
{
    static const struct stat_filter all = { -1, -1, -1 };
    const struct view *v = s->view;
    struct text out;
    unsigned count;
    text_init(&out, PAGE_MAX);
    struct stat_row *rows = stat_rows(v->snapshot, loop_now_ms(v->loop), &count);
    if (as_csv)
        stat_csv(rows, count, &all, &out);
    else
        stat_metrics(rows, count, v, &out);
    http_reply_header(r, "Cache-Control", "no-cache");
    http_reply(r, 200, as_csv ? "text/plain" : "text/plain; version=0.0.4; charset=utf-8",
               text_view(&out));
    mem_free(rows);
    text_fini(&out);
}

static void on_csv(struct http_request *r, void *arg)
{
    if (admit(arg, r, true))
        reply_table(arg, r, true);
}

static void on_metrics(struct http_request *r, void *arg)
{
    if (admit(arg, r, true))
        reply_table(arg, r, false);
}

/* The page waits for the list of sessions, which the workers write. */
struct page_request {
    struct http_request *request;
    const struct view *view;
    uint64_t refresh_s;
    char uri[];
};

static void on_sessions(const struct text *list, unsigned left_out, void *arg)
{
    struct page_request *p = arg;
    const struct view *v = p->view;
    struct text out;
    unsigned count;
    text_init(&out, PAGE_MAX);
    struct stat_row *rows = stat_rows(v->snapshot, loop_now_ms(v->loop), &count);
    stats_page(rows, count, v, list, left_out, p->refresh_s, p->uri, &out);
    http_reply_header(p->request, "Cache-Control", "no-cache");
    http_reply(p->request, 200, "text/html; charset=utf-8", text_view(&out));
    mem_free(rows);
    text_fini(&out);
    mem_free(p);
}

static void start_page(const struct page_server *s, struct http_request *r, uint64_t refresh_s)
{
    const char *uri = s->frontend->conf->stats_uri;
    struct page_request *p = mem_zalloc(sizeof *p + strlen(uri) + 1);
    memcpy(p->uri, uri, strlen(uri) + 1);
    p->request = r;
    p->view = s->view;
    p->refresh_s = refresh_s;
    http_hold(r);
    census_start(s->view->loop, s->view->workers, s->view->worker_count, CENSUS_ROWS, SESSIONS_MAX,
                 on_sessions, p);
}

static void on_page(struct http_request *r, void *arg)
{
    const struct page_server *s = arg;
    if (admit(s, r, true))
        start_page(s, r, s->frontend->conf->stats_refresh_ms / 1000);
}

static void on_still_page(struct http_request *r, void *arg)
{
    if (admit(arg, r, true))
        start_page(arg, r, 0);
}

/* ---- the list of queues, as a broker tells it ------------------------------------------------ */

/* It waits for the broker; the frontend may be another one by then. */
struct queues_request {
    struct http_request *request;
    struct queues_query query;
    char name[QUEUES_PAGE_NAME_MAX + 1];
    char uri[];
};

static void refuse_queues(struct http_request *r, const char *why)
{
    char room[512];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "no list of queues: %s\n", why);
    reply_text(r, 503, room);
}

static void reply_queues(const struct queues_request *q, struct slice answer)
{
    struct text out;
    struct err err;
    text_init(&out, PAGE_MAX);
    if (queues_page(&q->query, q->uri, answer, &out, &err)) {
        http_reply_header(q->request, "Cache-Control", "no-cache");
        http_reply(q->request, 200, "text/html; charset=utf-8", text_view(&out));
    } else {
        refuse_queues(q->request, err.text);
    }
    text_fini(&out);
}

static void on_queues_answer(const struct http_answer *answer, const struct err *why, void *arg)
{
    struct queues_request *q = arg;
    if (answer == NULL)
        refuse_queues(q->request, why->text);
    else if (answer->status == 400) /* the one thing that a query of ours can have wrong */
        reply_text(q->request, 404, "there is no such page of the list\n");
    else if (answer->status != 200)
        refuse_queues(q->request, "the broker does not tell");
    else
        reply_queues(q, text_view(&answer->body));
    mem_free(q);
}

static struct queues_request *new_queues_request(const struct page_server *s,
                                                 struct http_request *r)
{
    const char *uri = s->frontend->conf->stats_uri;
    struct queues_request *q = mem_zalloc(sizeof *q + strlen(uri) + 1);
    char page[24];
    struct text p = text_over(page, sizeof page);
    struct text name = text_over(q->name, sizeof q->name);
    q->request = r;
    memcpy(q->uri, uri, strlen(uri) + 1);
    if (!http_request_query(r, "page", &p) || !units_u64(text_view(&p), &q->query.page) ||
        q->query.page == 0)
        q->query.page = 1;
    if (http_request_query(r, "name", &name))
        q->query.name = text_view(&name);
    return q;
}

static void on_queues(struct http_request *r, void *arg)
{
    const struct page_server *s = arg;
    struct text path;
    struct err err;
    if (!admit(s, r, true))
        return;
    struct queues_request *q = new_queues_request(s, r);
    text_init(&path, QUEUES_PATH_MAX);
    queues_page_path(&q->query, &path);
    http_hold(r);
    if (!observer_inquire(s->view->observer, text_view(&path), on_queues_answer, q, &err)) {
        refuse_queues(r, err.text);
        mem_free(q);
    }
    text_fini(&path);
}

static void on_health(struct http_request *r, void *arg)
{
    const struct page_server *s = arg;
    if (!admit(s, r, false))
        return;
    bool serves = view_can_serve(s->view);
    reply_text(r, serves ? 200 : 503, serves ? "OK\n" : "no server is available\n");
}

/* With a queue: is its master there? Else as /health. */
static void on_ready(struct http_request *r, void *arg)
{
    const struct page_server *s = arg;
    char vhost[NAME_ROOM], queue[NAME_ROOM], answer[512];
    struct text v = text_over(vhost, sizeof vhost);
    struct text q = text_over(queue, sizeof queue);
    struct text out = text_over(answer, sizeof answer);
    if (http_request_raw_query(r).len == 0) {
        on_health(r, arg);
        return;
    }
    if (!admit(s, r, false))
        return;
    if (!http_request_query(r, "vhost", &v) || !http_request_query(r, "queue", &q)) {
        reply_text(r, 400, "a vhost and a queue are needed: /ready?vhost=%2F&queue=Q\n");
        return;
    }
    int status = stat_masters_ready(s->view, text_view(&v), text_view(&q), &out);
    reply_text(r, status, answer);
}

static void on_api(struct http_request *r, void *arg)
{
    const struct page_server *s = arg;
    if (admit(s, r, true))
        api_serve(s->view, r);
}

static void on_root(struct http_request *r, void *arg)
{
    const struct page_server *s = arg;
    if (!admit(s, r, false))
        return;
    http_reply_header(r, "Location", s->frontend->conf->stats_uri);
    reply_text(r, 302, "the page is elsewhere\n");
}

/* ---- one address ----------------------------------------------------------------------------- */

static void route(struct page_server *s, const char *suffix, http_handler handler)
{
    char path[512];
    struct text t = text_over(path, sizeof path);
    text_put(&t, "%s%s", s->frontend->conf->stats_uri, suffix);
    http_route(s->http, path, HTTP_ALLOW(HTTP_GET), handler, s);
}

static void add_routes(struct page_server *s)
{
    http_route(s->http, "/", HTTP_ALLOW(HTTP_GET), on_root, s);
    http_route(s->http, "/metrics", HTTP_ALLOW(HTTP_GET), on_metrics, s);
    http_route(s->http, "/health", HTTP_ALLOW(HTTP_GET), on_health, s);
    http_route(s->http, "/ready", HTTP_ALLOW(HTTP_GET), on_ready, s);
    http_route(s->http, "/api/...", HTTP_ALLOW(HTTP_GET), on_api, s);
    route(s, "", on_page);
    route(s, ";norefresh", on_still_page);
    route(s, ";queues", on_queues);
    route(s, ";csv", on_csv);
    route(s, ";csv;norefresh", on_csv);
}

static bool listen_at(struct page_server *s, const struct bind_conf *b, struct err *err)
{
    struct http_options options = {
        .body_max_bytes = 0,
        .timeout_ms = REQUEST_TIMEOUT_MS,
        .server_name = "warren-proxy",
        .inherited = s->view->process->inherited,
    };
    struct sock_addr at;
    if (!bind_addr(b, &at, err))
        return err_context(err, "%s", b->where);
    s->http = http_server_new(s->view->loop, &at, &options, err);
    if (s->http == NULL)
        return err_context(err, "%s", b->where);
    add_routes(s);
    return true;
}

static void free_server(struct page_server *s)
{
    http_server_free(&s->http);
    snapshot_unref(&s->snapshot);
    mem_free(s);
}

static struct page_server *find(const struct pages *p, const char *at)
{
    for (unsigned i = 0; p != NULL && i < p->count; i++) {
        if (strcmp(p->servers[i]->at, at) == 0)
            return p->servers[i];
    }
    return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static bool add(struct pages *p, const struct view *v, const struct frontend *f, unsigned bind,
                struct pages *before, struct err *err)
{
    const struct bind_conf *b = &f->conf->binds[bind];
    if (p->count == ARRAY_COUNT(p->servers))
        return err_set(err, ERR_CONFIG, "%s: more than %zu addresses with pages", b->where,
                       ARRAY_COUNT(p->servers));
    struct page_server *s = find(before, b->at.text);
    /* The routes know their frontend's stats-uri: with another one they are made anew. */
    if (s != NULL && strcmp(s->frontend->conf->stats_uri, f->conf->stats_uri) == 0) {
        p->servers[p->count++] = s;
        return true;
    }
    if (s != NULL)
        return err_set(err, ERR_CONFIG, "%s: stats-uri changes with the next start only", b->where);
    s = mem_zalloc(sizeof *s);
    s->view = v;
    s->snapshot = snapshot_ref(p->snapshot);
    s->frontend = f;
    s->at = b->at.text;
    if (!listen_at(s, b, err)) {
        free_server(s);
        return false;
    }
    p->is_new[p->count] = true;
    p->servers[p->count++] = s;
    return true;
}

struct pages *pages_open(const struct view *v, struct snapshot *snapshot, struct pages *before,
                         struct err *err)
{
    struct pages *p = mem_zalloc(sizeof *p);
    p->snapshot = snapshot_ref(snapshot);
    for (unsigned i = 0; i < snapshot->frontend_count; i++) {
        const struct frontend *f = &snapshot->frontends[i];
        for (unsigned b = 0; b < f->conf->bind_count && f->conf->mode == PROXY_MODE_HTTP; b++) {
            if (!add(p, v, f, b, before, err)) {
                pages_cancel(&p);
                return NULL;
            }
        }
    }
    return p;
}

void pages_cancel(struct pages **pages)
{
    struct pages *p = *pages;
    *pages = NULL;
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->count; i++) {
        if (p->is_new[i])
            free_server(p->servers[i]);
    }
    snapshot_unref(&p->snapshot);
    mem_free(p);
}

static const struct frontend *frontend_at(const struct snapshot *s, const char *at)
{
    for (unsigned i = 0; i < s->frontend_count; i++) {
        for (unsigned b = 0; b < s->frontends[i].conf->bind_count; b++) {
            if (strcmp(s->frontends[i].conf->binds[b].at.text, at) == 0)
                return &s->frontends[i];
        }
    }
    UNREACHABLE("an address of no frontend");
}

/* What was taken over belongs to the new snapshot's frontend from now on. */
static void adopt(struct page_server *s, struct snapshot *snapshot)
{
    struct snapshot *old = s->snapshot;
    const struct frontend *f = frontend_at(snapshot, s->at);
    s->frontend = f;
    for (unsigned b = 0; b < f->conf->bind_count; b++) {
        if (strcmp(f->conf->binds[b].at.text, s->at) == 0)
            s->at = f->conf->binds[b].at.text;
    }
    s->snapshot = snapshot_ref(snapshot);
    snapshot_unref(&old);
}

void pages_commit(struct pages *fresh, struct pages **before)
{
    struct pages *old = *before;
    *before = NULL;
    for (unsigned i = 0; old != NULL && i < old->count; i++) {
        if (find(fresh, old->servers[i]->at) != old->servers[i])
            free_server(old->servers[i]);
    }
    for (unsigned i = 0; i < fresh->count; i++) {
        if (!fresh->is_new[i])
            adopt(fresh->servers[i], fresh->snapshot);
        fresh->is_new[i] = false;
    }
    if (old == NULL)
        return;
    snapshot_unref(&old->snapshot);
    mem_free(old);
}

void pages_hand_over(const struct pages *p, struct handover_out *out)
{
    for (unsigned i = 0; p != NULL && i < p->count; i++)
        handover_add(out, http_server_listener(p->servers[i]->http));
}

void pages_own_paths(struct pages *p)
{
    for (unsigned i = 0; p != NULL && i < p->count; i++)
        listener_own_path(http_server_listener(p->servers[i]->http));
}

void pages_free(struct pages **pages)
{
    struct pages *p = *pages;
    *pages = NULL;
    if (p == NULL)
        return;
    for (unsigned i = 0; i < p->count; i++)
        free_server(p->servers[i]);
    snapshot_unref(&p->snapshot);
    mem_free(p);
}
