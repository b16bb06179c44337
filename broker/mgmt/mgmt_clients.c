#include "base/mem.h"
#include "mgmt/mgmt_inner.h"

#define CLIENT_NAME_MAX (2u * SOCK_ADDR_TEXT_MAX + 16u)

/* "127.0.0.1:41800 -> 127.0.0.1:5672" */
static const char *name_of(const struct mgmt_connection *c, char room[CLIENT_NAME_MAX])
{
    char client[SOCK_ADDR_TEXT_MAX], local[SOCK_ADDR_TEXT_MAX];
    struct text t = text_over(room, CLIENT_NAME_MAX);
    text_put(&t, "%s -> %s", sock_addr_text(&c->client, client), sock_addr_text(&c->local, local));
    return room;
}

static json_t *vhost_name(const struct meta_version *v, uint64_t vhost_id)
{
    const struct meta_vhost *vh = meta_vhost_get(v, vhost_id);
    return vh != NULL ? mgmt_json_text(meta_vhost_name(vh)) : json_null();
}

static void put_peer(json_t *o, const struct mgmt_connection *c)
{
    char room[SOCK_ADDR_TEXT_MAX];
    mgmt_json_put_str(o, "peer_host", sock_addr_host(&c->client, room));
    mgmt_json_put_u64(o, "peer_port", sock_addr_port(&c->client));
}

/* ---- connections ---- */

static json_t *connection(const struct mgmt_http *m, const struct mgmt_connection *c)
{
    char name[CLIENT_NAME_MAX], room[SOCK_ADDR_TEXT_MAX];
    json_t *o = json_object();
    mgmt_json_put_str(o, "name", name_of(c, name));
    mgmt_json_put(o, "vhost", vhost_name(broker_meta(m->broker), c->vhost_id));
    mgmt_json_put_str(o, "user", c->user);
    mgmt_json_put_str(o, "user_who_performed_action", c->user);
    mgmt_json_put_str(o, "node", mgmt_conf(m)->node.name);
    mgmt_json_put_str(o, "state", c->blocked ? "blocked" : "running");
    mgmt_json_put_str(o, "type", "network");
    mgmt_json_put_str(o, "protocol", "AMQP 0-9-1");
    mgmt_json_put_str(o, "auth_mechanism", c->mechanism);
    mgmt_json_put_bool(o, "ssl", c->tls);
    put_peer(o, c);
    mgmt_json_put_str(o, "host", sock_addr_host(&c->local, room));
    mgmt_json_put_u64(o, "port", sock_addr_port(&c->local));
    mgmt_json_put_u64(o, "channels", c->channels);
    mgmt_json_put_u64(o, "channel_max", c->channel_max);
    mgmt_json_put_u64(o, "frame_max", c->frame_max);
    mgmt_json_put_u64(o, "timeout", c->heartbeat_s);
    mgmt_json_put_u64(o, "connected_at", c->connected_ms);
    mgmt_json_put_u64(o, "recv_oct", c->in_bytes);
    mgmt_json_put_u64(o, "send_oct", c->out_bytes);
    mgmt_json_put_u64(o, "send_pend", c->pending_bytes);
    return o;
}

static void reply_too_many(struct http_request *r)
{
    char room[96];
    struct text t = text_over(room, sizeof room);
    text_put(&t, "more than %u, which one answer has no room for", MGMT_CLIENTS_MAX);
    mgmt_refuse(r, 400, "bad_request", room);
}

/* The one of that name, out of all, which are taken. */
static void reply_named(struct mgmt_wait *w, json_t *all)
{
    size_t index;
    json_t *item;
    json_array_foreach(all, index, item)
    {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && slice_is(mgmt_name_slice(&w->name), name)) {
            mgmt_reply_object(w->r, &w->list, json_incref(item));
            json_decref(all);
            return;
        }
    }
    json_decref(all);
    mgmt_not_found(w->r);
}

static void reply_clients(struct mgmt_wait *w, struct mgmt_ask *a, json_t *all)
{
    if (mgmt_ask_is_cut(a)) {
        json_decref(all);
        reply_too_many(w->r);
    } else if (w->is_single) {
        reply_named(w, all);
    } else {
        mgmt_reply_list(w->r, &w->list, all);
    }
    mgmt_wait_free(&w);
}

static void on_connections(struct mgmt_ask *a, void *arg)
{
    struct mgmt_wait *w = arg;
    size_t count;
    const struct mgmt_connection *c = mgmt_ask_connection_list(a, &count);
    json_t *all = json_array();
    for (size_t i = 0; !mgmt_ask_is_cut(a) && i < count; i++)
        json_array_append_new(all, connection(w->m, &c[i]));
    reply_clients(w, a, all);
}

/* ---- channels ---- */

static json_t *channel(const struct mgmt_http *m, const struct mgmt_connection *c,
                       const struct mgmt_channel *ch)
{
    char of[CLIENT_NAME_MAX], name[CLIENT_NAME_MAX + 16];
    struct text t = text_over(name, sizeof name);
    text_put(&t, "%s (%u)", name_of(c, of), (unsigned)ch->number);
    json_t *details = json_object();
    mgmt_json_put_str(details, "name", of);
    put_peer(details, c);
    json_t *o = json_object();
    mgmt_json_put_str(o, "name", name);
    mgmt_json_put_u64(o, "number", ch->number);
    mgmt_json_put(o, "connection_details", details);
    mgmt_json_put(o, "vhost", vhost_name(broker_meta(m->broker), c->vhost_id));
    mgmt_json_put_str(o, "user", c->user);
    mgmt_json_put_str(o, "user_who_performed_action", c->user);
    mgmt_json_put_str(o, "node", mgmt_conf(m)->node.name);
    mgmt_json_put_str(o, "state", "running");
    mgmt_json_put_bool(o, "confirm", ch->confirms);
    mgmt_json_put_bool(o, "transactional", false);
    mgmt_json_put_u64(o, "consumer_count", ch->consumers);
    mgmt_json_put_u64(o, "prefetch_count", ch->prefetch);
    mgmt_json_put_u64(o, "global_prefetch_count", ch->channel_prefetch);
    mgmt_json_put_u64(o, "messages_unacknowledged", ch->unacked);
    mgmt_json_put_u64(o, "messages_unconfirmed", ch->unconfirmed);
    mgmt_json_put_u64(o, "messages_uncommitted", 0);
    mgmt_json_put_u64(o, "acks_uncommitted", 0);
    return o;
}

/* Channels come behind each other as their connections do. */
static void on_channels(struct mgmt_ask *a, void *arg)
{
    struct mgmt_wait *w = arg;
    size_t connections, channels, at = 0;
    const struct mgmt_connection *c = mgmt_ask_connection_list(a, &connections);
    const struct mgmt_channel *ch = mgmt_ask_channel_list(a, &channels);
    json_t *all = json_array();
    for (size_t i = 0; !mgmt_ask_is_cut(a) && i < channels; i++) {
        while (at < connections && c[at].id != ch[i].connection)
            at++;
        json_array_append_new(all, channel(w->m, &c[at], &ch[i]));
    }
    reply_clients(w, a, all);
}

/* ---- requests: all, or one by its name ---- */

static void serve(struct mgmt_http *m, struct http_request *r, bool channels, mgmt_ask_fn done)
{
    struct mgmt_list list;
    struct mgmt_name name = { .len = 0 };
    bool is_single = mgmt_path_len(r) > 2;
    if (is_single && (mgmt_path_len(r) > 3 || !mgmt_path_name(r, 2, &name))) {
        mgmt_not_found(r);
        return;
    }
    if (!mgmt_list_of(r, &list))
        return;
    struct mgmt_wait *w = mgmt_wait_new(m, r, &list);
    if (w == NULL)
        return;
    w->is_single = is_single;
    w->name = name;
    mgmt_ask_clients(m->broker, m->loop, channels, done, w);
}

void mgmt_serve_connections(struct mgmt_http *m, struct http_request *r)
{
    serve(m, r, false, on_connections);
}

void mgmt_serve_channels(struct mgmt_http *m, struct http_request *r)
{
    serve(m, r, true, on_channels);
}
