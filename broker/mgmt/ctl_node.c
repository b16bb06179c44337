/* The node as a whole: stop_app and its like, what can be set while it runs, whom it sends away. */
#include "base/log.h"
#include "base/mem.h"
#include "client/connection.h"
#include "io/host.h"
#include "io/mailbox.h"
#include "live.h"
#include "mgmt/ctl_change.h"
#include "mgmt/ctl_lister.h"
#include "mgmt/ctl_peers.h"
#include "mgmt/mgmt_json.h"
#include "service.h"
#include "shard.h"

#include <string.h>

/* ---- orders ---- */

static void on_ordered(struct service_ask *a)
{
    struct http_request *r = a->arg;
    if (a->ok)
        ctl_done(r);
    else
        ctl_refuse(r, "refused", a->err.text);
    mem_free(a);
}

static void order(struct ctl *c, struct http_request *r, enum service_order what)
{
    struct service_ask *a = mem_zalloc(sizeof *a);
    a->order = what;
    a->reply_to = c->loop;
    a->done = on_ordered;
    a->arg = r;
    service_send(broker_service(c->broker), &a);
}

#define ORDER(name, what)                                                                          \
    void ctl_serve_##name(struct ctl *c, struct http_request *r, json_t *args)                     \
    {                                                                                              \
        (void)args;                                                                                \
        order(c, r, (what));                                                                       \
    }

ORDER(stop_app, SERVICE_STOP_APP)
ORDER(start_app, SERVICE_START_APP)
ORDER(drain, SERVICE_DRAIN)
ORDER(revive, SERVICE_REVIVE)
ORDER(suspend_listeners, SERVICE_SUSPEND)
ORDER(resume_listeners, SERVICE_RESUME)

static void on_stopping(struct service_ask *a)
{
    mem_free(a);
}

/* The answer first: later there is nobody who could give it. */
void ctl_serve_stop(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)args;
    struct service_ask *a = mem_zalloc(sizeof *a);
    a->order = SERVICE_STOP;
    a->reply_to = c->loop;
    a->done = on_stopping;
    ctl_done(r);
    service_send(broker_service(c->broker), &a);
}

/* ---- settings, until the next start ---- */

void ctl_serve_set_log_level(struct ctl *c, struct http_request *r, json_t *args)
{
    const char *name = json_string_value(json_object_get(args, "level"));
    enum log_level level;
    if (name == NULL || !log_level_of(name, &level)) {
        ctl_refuse(r, "bad_request", "level");
        return;
    }
    log_set_level(level);
    log_info("ctl", ctl_node_name(c), "log level set to %s", name);
    ctl_done(r);
}

void ctl_serve_rotate_logs(struct ctl *c, struct http_request *r, json_t *args)
{
    (void)c;
    (void)args;
    struct err err;
    if (log_reopen(&err))
        ctl_done(r);
    else
        ctl_refuse(r, "failed", err.text);
}

/* Octets, or a share of what there is. */
static uint64_t octets_of(const json_t *args)
{
    const json_t *share = json_object_get(args, "fraction");
    if (json_is_number(share))
        return (uint64_t)(json_number_value(share) * (double)host_memory_bytes(""));
    json_int_t octets = json_integer_value(json_object_get(args, "octets"));
    return octets > 0 ? (uint64_t)octets : 0;
}

struct limit_set {
    struct mail mail;
    struct http_request *request;
};

static void on_limit_set(struct mail *mail)
{
    struct limit_set *l = CONTAINER_OF(mail, struct limit_set, mail);
    ctl_done(l->request);
    mem_free(l);
}

void ctl_serve_set_memory_limit(struct ctl *c, struct http_request *r, json_t *args)
{
    uint64_t octets = octets_of(args);
    log_info("ctl", ctl_node_name(c), "memory high watermark set to %llu octets",
             (unsigned long long)octets);
    struct limit_set *l = mem_zalloc(sizeof *l);
    *l = (struct limit_set){ { NULL, on_limit_set }, r };
    broker_set_memory_limit(c->broker, octets, c->loop, &l->mail);
}

void ctl_serve_set_disk_limit(struct ctl *c, struct http_request *r, json_t *args)
{
    uint64_t octets = octets_of(args);
    broker_set_disk_limit(c->broker, octets);
    log_info("ctl", ctl_node_name(c), "disk free limit set to %llu octets",
             (unsigned long long)octets);
    ctl_done(r);
}

/* ---- clients that are sent away ---- */

/* Which ones; asked of every shard, one after the other, which count those they found. */
struct closing {
    struct mail mail;
    struct ctl *ctl;
    struct http_request *request;
    uint32_t shard;    /* the next */
    uint64_t id;       /* this one, or 0: */
    uint64_t vhost_id; /* of this vhost, or 0: of all */
    char *user;        /* of this user, or NULL: of all */
    char *why;
    uint64_t limit; /* at most so many; 0: all */
    uint64_t closed;
};

static void on_closed(struct mail *mail)
{
    struct closing *k = CONTAINER_OF(mail, struct closing, mail);
    json_t *o = json_object();
    json_out_put_u64(o, "closed", k->closed);
    ctl_reply(k->request, o);
    mem_free(k->user);
    mem_free(k->why);
    mem_free(k);
}

static bool is_meant(const struct closing *k, const struct connection *c)
{
    if (!connection_is_open(c))
        return false;
    if (k->id != 0)
        return c->id == k->id;
    return (k->vhost_id == 0 || c->vhost_id == k->vhost_id) &&
           (k->user == NULL || strcmp(c->user, k->user) == 0);
}

/* On a shard. */
static void on_close(struct mail *mail)
{
    struct closing *k = CONTAINER_OF(mail, struct closing, mail);
    struct broker *b = k->ctl->broker;
    struct shard *s = broker_shard(b, k->shard++);
    uint64_t *ids = mem_array(s->connections.count + 1, sizeof *ids);
    size_t count = 0, at = 0;
    for (struct connection *c; (c = idmap_next(&s->connections, &at)) != NULL;) {
        if (is_meant(k, c) && (k->limit == 0 || k->closed + count < k->limit))
            ids[count++] = c->id;
    }
    for (size_t i = 0; i < count; i++) {
        struct connection *c = connection_find(s, ids[i]);
        if (c != NULL)
            connection_force_out(c, k->why);
    }
    mem_free(ids);
    k->closed += count;
    bool last = k->shard == broker_shard_count(b);
    k->mail.fn = last ? on_closed : on_close;
    mailbox_post(last ? k->ctl->loop : broker_shard(b, k->shard)->loop, &k->mail);
}

static char *copy_of(struct slice s)
{
    char *out = mem_alloc(s.len + 1);
    if (s.len != 0)
        memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    return out;
}

/* The other nodes have closed theirs; then this one does, as many as may be. */
static void on_others_closed(json_t *answers, void *arg)
{
    struct closing *k = arg;
    const char *node;
    json_t *one;
    json_object_foreach(answers, node, one) k->closed +=
        (uint64_t)json_integer_value(json_object_get(one, "closed"));
    if (k->limit != 0 && k->closed >= k->limit)
        on_closed(&k->mail);
    else
        mailbox_post(broker_shard(k->ctl->broker, 0)->loop, &k->mail);
}

/* By the name that lists show, or by its number, between nodes; 0: there is none. */
static uint64_t connection_of(const struct ctl *c, const json_t *args)
{
    if (ctl_has(args, "pid"))
        return ctl_connection_of_pid(c, ctl_text(args, "pid"));
    return (uint64_t)json_integer_value(json_object_get(args, "id"));
}

/* {"pid"} or {"id"} or {"vhost"} or {"user"} or none, with {"reason", "limit"}. */
void ctl_serve_close_connections(struct ctl *c, struct http_request *r, json_t *args)
{
    const struct meta_vhost *vh = NULL;
    uint64_t id = connection_of(c, args);
    if (id != 0 && node_of_id(id) != broker_node(c->broker) && !ctl_is_local(r)) {
        ctl_forward(c, r, node_of_id(id), "close_connections", args);
        return;
    }
    bool nobody = id == 0 && (ctl_has(args, "pid") || ctl_has(args, "id"));
    if (ctl_has(args, "vhost")) {
        vh = meta_vhost_find(broker_meta(c->broker), ctl_text(args, "vhost"));
        nobody = nobody || vh == NULL;
    }
    if (nobody) { /* as RabbitMQ: whoever has gone is closed */
        ctl_reply(r, json_pack("{s:i}", "closed", 0));
        return;
    }
    struct closing *k = mem_zalloc(sizeof *k);
    *k = (struct closing){ .mail = { NULL, on_close }, .ctl = c, .request = r, .id = id };
    k->vhost_id = vh != NULL ? vh->vhost_id : 0;
    k->user = ctl_has(args, "user") ? copy_of(ctl_text(args, "user")) : NULL;
    k->why = copy_of(ctl_text(args, "reason"));
    k->limit = (uint64_t)json_integer_value(json_object_get(args, "limit"));
    if (id != 0 || ctl_is_local(r))
        mailbox_post(broker_shard(c->broker, 0)->loop, &k->mail);
    else
        ctl_round(c, "close_connections", args, on_others_closed, k);
}
