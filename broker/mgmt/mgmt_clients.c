#include "base/mem.h"
#include "client/connection.h"
#include "io/mailbox.h"
#include "io/tls_about.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_peers.h"

#include <stdlib.h>

#define CLIENT_NAME_MAX (2u * SOCK_ADDR_TEXT_MAX + 32u)

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
    return vh != NULL ? json_out_text(meta_vhost_name(vh)) : json_null();
}

/* Where it is connected. */
static void put_node(json_t *o, const struct mgmt_http *m, const struct mgmt_connection *c)
{
    json_out_put(o, "node", json_out_text(mgmt_node_name(m, node_of_id(c->id))));
}

static void put_peer(json_t *o, const struct mgmt_connection *c)
{
    char room[SOCK_ADDR_TEXT_MAX];
    json_out_put_str(o, "peer_host", sock_addr_host(&c->client, room));
    json_out_put_u64(o, "peer_port", sock_addr_port(&c->client));
}

/* ---- connections ---- */

static void put_word(json_t *o, const char *name, const char *value)
{
    bool any = value != NULL && value[0] != '\0';
    json_out_put(o, name, any ? json_out_text(slice_str(value)) : json_null());
}

/* `t` is NULL for one that speaks no TLS: RabbitMQ has the names all the same. */
static void put_tls(json_t *o, const struct tls_about *t)
{
    static const struct tls_about none = { 0 };
    json_out_put_bool(o, "ssl", t != NULL);
    if (t == NULL)
        t = &none;
    put_word(o, "ssl_protocol", t->protocol);
    put_word(o, "ssl_key_exchange", t->key_exchange);
    put_word(o, "ssl_cipher", t->cipher);
    put_word(o, "ssl_hash", t->hash);
    put_word(o, "peer_cert_subject", t->subject);
    put_word(o, "peer_cert_issuer", t->issuer);
    put_word(o, "peer_cert_validity", t->validity);
}

static json_t *connection(const struct mgmt_http *m, const struct mgmt_connection *c)
{
    char name[CLIENT_NAME_MAX], room[SOCK_ADDR_TEXT_MAX];
    json_t *o = json_object();
    json_out_put_str(o, "name", name_of(c, name));
    json_out_put(o, "vhost", vhost_name(broker_meta(m->broker), c->vhost_id));
    json_out_put_str(o, "user", c->user);
    json_out_put_str(o, "user_who_performed_action", c->user);
    put_node(o, m, c);
    json_out_put_str(o, "state", c->blocked ? "blocked" : "running");
    json_out_put_str(o, "type", "network");
    json_out_put_str(o, "protocol", "AMQP 0-9-1");
    json_out_put_str(o, "auth_mechanism", c->mechanism);
    put_tls(o, c->tls);
    put_peer(o, c);
    json_out_put_str(o, "host", sock_addr_host(&c->local, room));
    json_out_put_u64(o, "port", sock_addr_port(&c->local));
    json_out_put_u64(o, "channels", c->channels);
    json_out_put_u64(o, "channel_max", c->channel_max);
    json_out_put_u64(o, "frame_max", c->frame_max);
    json_out_put_u64(o, "timeout", c->heartbeat_s);
    json_out_put_u64(o, "connected_at", c->connected_ms);
    const uint64_t octets[] = { c->in_bytes, c->out_bytes };
    double rates[ARRAY_COUNT(octets)];
    mgmt_rates_look(m->client_rates, c->id, loop_now_us(m->loop), octets, 2, rates);
    mgmt_json_put_rated(o, "recv_oct", c->in_bytes, rates[0]);
    mgmt_json_put_rated(o, "send_oct", c->out_bytes, rates[1]);
    json_out_put(o, "client_properties",
                 mgmt_json_table(slice_of(c->client_properties, c->client_properties_bytes)));
    json_out_put_u64(o, "send_pend", c->pending_bytes);
    json_out_put_u64(o, "recv_cnt", c->in_count);
    json_out_put_u64(o, "send_cnt", c->out_count);
    return o;
}

/* ---- channels ---- */

#define CHANNEL_NAME_MAX (CLIENT_NAME_MAX + 16u)

/* "127.0.0.1:41800 -> 127.0.0.1:5672 (1)" */
static const char *channel_name(const struct mgmt_connection *c, uint16_t number,
                                char room[CHANNEL_NAME_MAX])
{
    char of[CLIENT_NAME_MAX];
    struct text t = text_over(room, CHANNEL_NAME_MAX);
    text_put(&t, "%s (%u)", name_of(c, of), (unsigned)number);
    return room;
}

static json_t *channel_details(const struct mgmt_http *m, const struct mgmt_connection *c,
                               uint16_t number)
{
    char of[CLIENT_NAME_MAX], name[CHANNEL_NAME_MAX];
    json_t *o = json_object();
    json_out_put_str(o, "name", channel_name(c, number, name));
    json_out_put_u64(o, "number", number);
    json_out_put_str(o, "connection_name", name_of(c, of));
    put_node(o, m, c);
    json_out_put_str(o, "user", c->user);
    put_peer(o, c);
    return o;
}

/* What RabbitMQ calls it, and what it is made of. */
#define CHANNEL_STATS(X)                                                                           \
    X("publish", n->published)                                                                     \
    X("confirm", n->confirmed)                                                                     \
    X("return_unroutable", n->returned)                                                            \
    X("drop_unroutable", n->unroutable - n->returned)                                              \
    X("deliver", n->delivered_manual)                                                              \
    X("deliver_no_ack", n->delivered_auto)                                                         \
    X("get", n->got_manual)                                                                        \
    X("get_no_ack", n->got_auto)                                                                   \
    X("get_empty", n->got_empty)                                                                   \
    X("deliver_get", n->delivered_manual + n->delivered_auto + n->got_manual + n->got_auto)        \
    X("ack", n->acked)                                                                             \
    X("redeliver", n->redelivered)

/* No other channel, and no connection, has this number while it lives. */
static uint64_t rate_id(const struct mgmt_channel *ch)
{
    return ch->connection ^ (uint64_t)ch->number << 32;
}

static void put_channel_stats(json_t *o, const struct mgmt_http *m, const struct mgmt_channel *ch)
{
    const struct channel_counts *n = &ch->counts;
#define X(text, sum) text,
    static const char *const names[] = { CHANNEL_STATS(X) };
#undef X
#define X(text, sum) sum,
    const uint64_t figures[] = { CHANNEL_STATS(X) };
#undef X
    double rates[ARRAY_COUNT(figures)];
    mgmt_rates_look(m->client_rates, rate_id(ch), loop_now_us(m->loop), figures,
                    ARRAY_COUNT(figures), rates);
    uint64_t any = 0;
    json_t *stats = json_object();
    for (size_t i = 0; i < ARRAY_COUNT(figures); i++) {
        any |= figures[i];
        mgmt_json_put_rated(stats, names[i], figures[i], rates[i]);
    }
    if (any != 0)
        json_out_put(o, "message_stats", stats);
    else
        json_decref(stats);
}

static json_t *channel(const struct mgmt_http *m, const struct mgmt_connection *c,
                       const struct mgmt_channel *ch)
{
    char of[CLIENT_NAME_MAX], name[CHANNEL_NAME_MAX];
    json_t *details = json_object();
    json_out_put_str(details, "name", name_of(c, of));
    put_peer(details, c);
    json_t *o = json_object();
    json_out_put_str(o, "name", channel_name(c, ch->number, name));
    json_out_put_u64(o, "number", ch->number);
    json_out_put(o, "connection_details", details);
    json_out_put(o, "vhost", vhost_name(broker_meta(m->broker), c->vhost_id));
    json_out_put_str(o, "user", c->user);
    json_out_put_str(o, "user_who_performed_action", c->user);
    put_node(o, m, c);
    json_out_put_str(o, "state", "running");
    json_out_put_bool(o, "confirm", ch->confirms);
    json_out_put_bool(o, "transactional", ch->transactional);
    put_channel_stats(o, m, ch);
    json_out_put_u64(o, "consumer_count", ch->consumers);
    json_out_put_u64(o, "prefetch_count", ch->prefetch);
    json_out_put_u64(o, "global_prefetch_count", ch->channel_prefetch);
    json_out_put_u64(o, "messages_unacknowledged", ch->unacked);
    json_out_put_u64(o, "messages_unconfirmed", ch->unconfirmed);
    json_out_put_u64(o, "messages_uncommitted", ch->uncommitted);
    json_out_put_u64(o, "acks_uncommitted", ch->uncommitted_acks);
    return o;
}

/* ---- consumers ---- */

static json_t *consumer(const struct mgmt_http *m, const struct mgmt_connection *c,
                        const struct mgmt_consumer *k)
{
    const struct meta_version *v = broker_meta(m->broker);
    const struct meta_queue *q = meta_queue_get(v, k->qid);
    if (q == NULL)
        return NULL; /* it is being cancelled */
    json_t *queue = json_object();
    json_out_put(queue, "name", json_out_text(meta_queue_name(q)));
    json_out_put(queue, "vhost", vhost_name(v, q->vhost_id));
    json_t *o = json_object();
    json_out_put(o, "arguments", mgmt_json_table(slice_of(k->arguments, k->arguments_bytes)));
    json_out_put_bool(o, "ack_required", !k->no_ack);
    json_out_put_bool(o, "active", k->activity != MGMT_WAITING);
    json_out_put_str(o, "activity_status", mgmt_activity_name(k->activity));
    json_out_put(o, "channel_details", channel_details(m, c, k->channel));
    json_out_put(o, "consumer_tag", json_out_text(slice_of(k->tag, k->tag_bytes)));
    json_out_put_bool(o, "exclusive", k->exclusive);
    json_out_put_u64(o, "prefetch_count", k->prefetch);
    json_out_put(o, "queue", queue);
    return o;
}

/* ---- lists: rows are what was found, in the order of connections ---- */

struct client_source {
    struct mgmt_source base;
    struct mgmt_http *m;
    struct mgmt_ask *ask;
    enum mgmt_clients what;
    struct row {
        uint32_t connection;
        uint32_t index;
    } * rows;
};

static json_t *render(struct mgmt_source *source, uint32_t row, uint32_t nth)
{
    (void)nth;
    const struct client_source *s = CONTAINER_OF(source, struct client_source, base);
    const struct row *r = &s->rows[row];
    size_t count;
    const struct mgmt_connection *c = mgmt_ask_connection_list(s->ask, &count) + r->connection;
    switch (s->what) {
    case MGMT_CONNECTIONS:
        return connection(s->m, c);
    case MGMT_CHANNELS:
        return channel(s->m, c, mgmt_ask_channel_list(s->ask, &count) + r->index);
    case MGMT_CONSUMERS:
        return consumer(s->m, c, mgmt_ask_consumer_list(s->ask, &count) + r->index);
    }
    return NULL;
}

static void free_source(struct mgmt_source *source)
{
    struct client_source *s = CONTAINER_OF(source, struct client_source, base);
    mgmt_ask_free(&s->ask);
    mem_free(s->rows);
    mem_free(s);
}

/* ---- which ones a request is about ---- */

/* What is looked for among all; empty slices: anything. */
struct wish {
    enum mgmt_clients what;
    uint64_t vhost_id;
    struct slice user;
    struct slice connection; /* by name */
    struct slice channel;    /* by name */
    bool is_single;
};

static bool may_see(const struct mgmt_call *c, const struct mgmt_connection *k)
{
    if (mgmt_has_tag(c, MGMT_MONITORING))
        return true;
    return slice_is(slice_of(c->user.name, c->user.name_len), k->user);
}

/* Others' connections are closed by administrators alone. */
static bool may_close(const struct mgmt_call *c, struct slice user)
{
    return mgmt_has_tag(c, MGMT_ADMINISTRATOR) ||
           slice_eq(slice_of(c->user.name, c->user.name_len), user);
}

static bool is_wanted(const struct mgmt_call *c, const struct wish *w,
                      const struct mgmt_connection *k)
{
    char name[CLIENT_NAME_MAX];
    return may_see(c, k) && (w->vhost_id == 0 || w->vhost_id == k->vhost_id) &&
           (w->user.len == 0 || slice_is(w->user, k->user)) &&
           (w->connection.len == 0 || slice_is(w->connection, name_of(k, name)));
}

static bool is_wanted_channel(const struct wish *w, const struct mgmt_connection *k,
                              uint16_t number)
{
    char name[CHANNEL_NAME_MAX];
    return w->channel.len == 0 || slice_is(w->channel, channel_name(k, number, name));
}

/* The connection that a thing of the same answer belongs to; things come in the order of theirs. */
static uint32_t connection_at(const struct mgmt_connection *k, size_t count, uint32_t at,
                              uint64_t id)
{
    while (at < count && k[at].id != id)
        at++;
    return at;
}

static void choose(struct client_source *s, const struct mgmt_call *c, const struct wish *w)
{
    size_t connections, channels, consumers;
    const struct mgmt_connection *k = mgmt_ask_connection_list(s->ask, &connections);
    const struct mgmt_channel *ch = mgmt_ask_channel_list(s->ask, &channels);
    const struct mgmt_consumer *cs = mgmt_ask_consumer_list(s->ask, &consumers);
    s->rows = mem_array(connections + channels + consumers + 1, sizeof *s->rows);
    size_t count = w->what == MGMT_CONNECTIONS ? connections
                   : w->what == MGMT_CHANNELS  ? channels
                                               : consumers;
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        at = w->what == MGMT_CONNECTIONS
                 ? i
                 : connection_at(k, connections, at,
                                 w->what == MGMT_CHANNELS ? ch[i].connection : cs[i].connection);
        if (is_wanted(c, w, &k[at]) &&
            (w->what != MGMT_CHANNELS || is_wanted_channel(w, &k[at], ch[i].number)))
            s->rows[s->base.count++] = (struct row){ at, i };
    }
}

json_t *mgmt_consumers_of(const struct mgmt_http *m, const struct mgmt_ask *clients, uint64_t qid)
{
    size_t connections, consumers;
    const struct mgmt_connection *k = mgmt_ask_connection_list(clients, &connections);
    const struct mgmt_consumer *cs = mgmt_ask_consumer_list(clients, &consumers);
    json_t *all = json_array();
    uint32_t at = 0;
    for (size_t i = 0; i < consumers; i++) {
        at = connection_at(k, connections, at, cs[i].connection);
        json_t *one = cs[i].qid == qid ? consumer(m, &k[at], &cs[i]) : NULL;
        if (one != NULL)
            json_array_append_new(all, one);
    }
    return all;
}

json_t *mgmt_connection_named(const struct mgmt_ask *clients, uint64_t id)
{
    size_t count;
    char name[CLIENT_NAME_MAX];
    const struct mgmt_connection *k = mgmt_ask_connection_list(clients, &count);
    uint32_t at = connection_at(k, count, 0, id);
    if (at == count)
        return NULL;
    json_t *o = json_object();
    json_out_put_str(o, "name", name_of(&k[at], name));
    put_peer(o, &k[at]);
    return o;
}

struct search {
    struct mgmt_call *call;
    struct wish wish;
    void (*found)(struct mgmt_call *c, struct client_source *s); /* takes it; NULL: show it */
};

static void show(struct mgmt_call *c, struct client_source *s, const struct wish *w)
{
    if (!w->is_single) {
        mgmt_listing_start(c, &s->base);
        return;
    }
    json_t *o = s->base.count != 0 ? render(&s->base, 0, 0) : NULL;
    free_source(&s->base);
    if (o != NULL)
        mgmt_reply_object(c, o);
    else
        mgmt_not_found(c);
}

static void on_found(struct mgmt_ask *a, void *arg)
{
    struct search *q = arg;
    struct client_source *s = mem_zalloc(sizeof *s);
    mgmt_ask_keep(a);
    s->m = q->call->m;
    s->ask = a;
    s->what = q->wish.what;
    s->base.render = render;
    s->base.free = free_source;
    choose(s, q->call, &q->wish);
    if (q->found != NULL)
        q->found(q->call, s);
    else
        show(q->call, s, &q->wish);
    mem_free(q);
}

static void search(struct mgmt_call *c, const struct wish *w,
                   void (*found)(struct mgmt_call *c, struct client_source *s))
{
    if (!mgmt_read_list(c))
        return;
    struct search *q = mem_zalloc(sizeof *q);
    *q = (struct search){ c, *w, found };
    mgmt_ask_clients(c->m->broker, c->m->loop, mgmt_call_peers(c), w->what, on_found, q);
}

/* ---- what is served ---- */

void mgmt_serve_connections(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CONNECTIONS }, NULL);
}

void mgmt_serve_connections_of_vhost(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CONNECTIONS, .vhost_id = c->vhost_id }, NULL);
}

void mgmt_serve_connections_of_user(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CONNECTIONS, .user = mgmt_arg(c, 0) }, NULL);
}

void mgmt_serve_connection(struct mgmt_call *c)
{
    search(
        c,
        &(struct wish){ .what = MGMT_CONNECTIONS, .connection = mgmt_arg(c, 0), .is_single = true },
        NULL);
}

void mgmt_serve_channels(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CHANNELS }, NULL);
}

void mgmt_serve_channels_of_vhost(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CHANNELS, .vhost_id = c->vhost_id }, NULL);
}

void mgmt_serve_connection_channels(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CHANNELS, .connection = mgmt_arg(c, 0) }, NULL);
}

void mgmt_serve_channel(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CHANNELS, .channel = mgmt_arg(c, 0), .is_single = true },
           NULL);
}

void mgmt_serve_consumers(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CONSUMERS, .vhost_id = c->vhost_id }, NULL);
}

/* ---- closing ---- */

#define REASON_MAX 256u

struct farewell {
    struct mail mail;
    struct shard *shard;
    uint64_t id;
    char reason[REASON_MAX];
};

static void on_farewell(struct mail *mail)
{
    struct farewell *f = CONTAINER_OF(mail, struct farewell, mail);
    struct connection *k = connection_find(f->shard, f->id);
    if (k != NULL && connection_is_open(k))
        connection_error(k, AMQP_CONNECTION_FORCED, 0, "%s", f->reason);
    mem_free(f);
}

/* Nobody waits for it: who is closed was told so, or has gone. */
static void on_closed_elsewhere(uint16_t node, const struct http_answer *a, const struct err *why,
                                void *arg)
{
    (void)node;
    (void)a;
    (void)why; /* logged by mgmt_peers */
    (void)arg;
}

static void close_elsewhere(const struct mgmt_call *c, const struct mgmt_connection *k,
                            const char *reason)
{
    json_t *o = json_object();
    json_out_put_u64(o, "id", k->id);
    json_out_put(o, "reason", json_out_text(slice_str(reason)));
    char *body = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    mgmt_peers_ask(c->m->peers, node_of_id(k->id),
                   &(struct mgmt_peer_question){ .method = "POST",
                                                 .path = slice_str("/ctl/close_connections"),
                                                 .type = "application/json",
                                                 .body = slice_str(body) },
                   on_closed_elsewhere, NULL);
    mem_free(body);
}

static void close_one(const struct mgmt_call *c, const struct mgmt_connection *k)
{
    const char *given = http_request_header(c->r, "X-Reason");
    const char *reason = given != NULL && given[0] != '\0' ? given : "Closed via management plugin";
    if (node_of_id(k->id) != broker_node(c->m->broker)) {
        close_elsewhere(c, k, reason);
        return;
    }
    struct farewell *f = mem_zalloc(sizeof *f);
    struct text t = text_over(f->reason, sizeof f->reason);
    text_str(&t, reason);
    f->mail.fn = on_farewell;
    f->shard = broker_shard(c->m->broker, shard_of_id(k->id));
    f->id = k->id;
    mailbox_post(f->shard->loop, &f->mail);
}

/* Those that the user may close; returns how many they are. */
static uint32_t close_all(struct mgmt_call *c, struct client_source *s)
{
    size_t count;
    const struct mgmt_connection *k = mgmt_ask_connection_list(s->ask, &count);
    uint32_t closed = 0;
    for (uint32_t i = 0; i < s->base.count; i++) {
        const struct mgmt_connection *one = &k[s->rows[i].connection];
        if (!may_close(c, slice_str(one->user)))
            continue;
        close_one(c, one);
        closed++;
    }
    free_source(&s->base);
    return closed;
}

static void refuse_closing(struct mgmt_call *c)
{
    mgmt_refuse_access(c, "User not authorised to access object");
}

static void on_found_to_close(struct mgmt_call *c, struct client_source *s)
{
    if (close_all(c, s) != 0)
        mgmt_reply_empty(c, 204);
    else if (mgmt_has_tag(c, MGMT_ADMINISTRATOR))
        mgmt_not_found(c);
    else
        refuse_closing(c); /* nor is it said whether it is there */
}

static void on_user_to_close(struct mgmt_call *c, struct client_source *s)
{
    close_all(c, s);
    mgmt_reply_empty(c, 204);
}

void mgmt_serve_connection_delete(struct mgmt_call *c)
{
    search(c, &(struct wish){ .what = MGMT_CONNECTIONS, .connection = mgmt_arg(c, 0) },
           on_found_to_close);
}

void mgmt_serve_connections_of_user_delete(struct mgmt_call *c)
{
    if (!may_close(c, mgmt_arg(c, 0))) {
        refuse_closing(c);
        return;
    }
    search(c, &(struct wish){ .what = MGMT_CONNECTIONS, .user = mgmt_arg(c, 0) }, on_user_to_close);
}
