#include "api.h"

#include "api_view.h"
#include "base/json_out.h"
#include "base/mem.h"
#include "base/units.h"
#include "census.h"

#include <string.h>

#define LIST_LEAST 500u  /* entries, if nothing else is asked for */
#define LIST_MOST  2000u /* a worker does nothing else while it tells of its part */
#define NAME_ROOM  256u  /* of a queue or vhost, and the end */

/* ---- answers --------------------------------------------------------------------------------- */

static void reply(struct http_request *r, int status, json_t *answer)
{
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    http_reply_header(r, "Cache-Control", "no-cache");
    http_reply(r, status, "application/json", slice_str(text));
    mem_free(text);
}

static void refuse(struct http_request *r, int status, const char *error, const char *reason)
{
    json_t *o = json_object();
    json_out_put_str(o, "error", error);
    json_out_put_str(o, "reason", reason);
    reply(r, status, o);
}

/* ---- what the workers have ------------------------------------------------------------------- */

struct listing {
    struct http_request *request;
    struct process *process;
    const char *name;
};

static void on_list(json_t *list, unsigned left_out, void *arg)
{
    struct listing *l = arg;
    json_t *o = json_object();
    l->process->is_listing = false;
    json_out_put(o, l->name, json_incref(list));
    json_out_put_u64(o, "left_out", left_out);
    reply(l->request, 200, o);
    mem_free(l);
}

/* How many are wanted; 0: that is no such number. */
static unsigned limit_of(const struct http_request *r)
{
    char room[24];
    struct text t = text_over(room, sizeof room);
    uint64_t limit = 0;
    if (http_request_raw_query(r).len == 0)
        return LIST_LEAST;
    if (!http_request_query(r, "limit", &t) || !units_u64(text_view(&t), &limit))
        return 0;
    return (unsigned)(limit < LIST_MOST ? limit : LIST_MOST);
}

static void serve_list(const struct view *v, struct http_request *r, const char *name,
                       enum census_form form)
{
    unsigned limit = limit_of(r);
    if (limit == 0) {
        refuse(r, 400, "bad_request", "?limit=N is how many entries are wanted, 1 to 2000");
        return;
    }
    if (v->process->is_listing) {
        http_reply_header(r, "Retry-After", "1");
        refuse(r, 503, "busy", "another list is being made");
        return;
    }
    v->process->is_listing = true;
    struct listing *l = mem_zalloc(sizeof *l);
    l->request = r;
    l->process = v->process;
    l->name = name;
    http_hold(r);
    census_start_json(v->loop, v->workers, v->worker_count, form, limit, on_list, l);
}

static void serve_sessions(const struct view *v, struct http_request *r)
{
    serve_list(v, r, "sessions", CENSUS_SESSIONS);
}

static void serve_legs(const struct view *v, struct http_request *r)
{
    serve_list(v, r, "legs", CENSUS_LEGS);
}

/* ---- what is known here ---------------------------------------------------------------------- */

static void serve_info(const struct view *v, struct http_request *r)
{
    reply(r, 200, api_view_info(v));
}

static void serve_stats(const struct view *v, struct http_request *r)
{
    reply(r, 200, api_view_stats(v));
}

static void serve_failovers(const struct view *v, struct http_request *r)
{
    reply(r, 200, api_view_failovers(v));
}

static void serve_gossip(const struct view *v, struct http_request *r)
{
    reply(r, 200, api_view_gossip(v));
}

/* Where all are, or one. */
static void serve_queues(const struct view *v, struct http_request *r)
{
    char vhost[NAME_ROOM];
    char queue[NAME_ROOM];
    struct text at = text_over(vhost, sizeof vhost);
    struct text name = text_over(queue, sizeof queue);
    bool has_name = http_request_query(r, "queue", &name);
    if (http_request_raw_query(r).len == 0)
        reply(r, 200, api_view_queues(v));
    else if (has_name && http_request_query(r, "vhost", &at))
        reply(r, 200, api_view_queue(v, text_view(&at), text_view(&name)));
    else
        refuse(r, 400, "bad_request", "one queue is asked for by ?vhost=%2F&queue=Q");
}

/* ---- paths ----------------------------------------------------------------------------------- */

static const struct path {
    const char *name;
    void (*serve)(const struct view *v, struct http_request *r);
    const char *help;
} paths[] = {
    { "info", serve_info, "the process, and its sums" },
    { "stats", serve_stats, "frontends, backends and servers, with the columns of HAProxy's CSV" },
    { "queues", serve_queues,
      "which server masters how many queues; ?vhost=V&queue=Q: where this one is" },
    { "failovers", serve_failovers, "the last nodes that went, and how long queues had no master" },
    { "gossip", serve_gossip, "who is in the brokers' cluster" },
    { "sessions", serve_sessions, "clients and their brokers; ?limit=N" },
    { "legs", serve_legs, "each channel and the brokers that carry it; ?limit=N" },
};

static void serve_root(struct http_request *r)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < ARRAY_COUNT(paths); i++) {
        char path[64];
        struct text t = text_over(path, sizeof path);
        text_put(&t, "/api/%s", paths[i].name);
        json_out_put_str(o, path, paths[i].help);
    }
    reply(r, 200, o);
}

/* "/api/NAME", "/api/NAME/". */
static bool is_path(const char *asked, const char *name)
{
    size_t len = strlen(name);
    return strncmp(asked, name, len) == 0 && (asked[len] == '\0' || strcmp(asked + len, "/") == 0);
}

void api_serve(const struct view *v, struct http_request *r)
{
    const char *asked = http_request_path(r) + strlen("/api");
    if (is_path(asked, "")) {
        serve_root(r);
        return;
    }
    for (unsigned i = 0; i < ARRAY_COUNT(paths); i++) {
        if (is_path(asked + 1, paths[i].name)) {
            paths[i].serve(v, r);
            return;
        }
    }
    refuse(r, 404, "not_found", "there is no such path: /api lists them");
}
