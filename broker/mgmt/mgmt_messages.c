/* Messages by way of the management: /publish and /get. */
#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/units.h"
#include "hosted.h"
#include "io/http_text.h"
#include "mgmt/mgmt_access.h"
#include "mgmt/mgmt_inner.h"
#include "mgmt/mgmt_shard.h"
#include "model/exchange.h"
#include "posting.h"

#include <inttypes.h>
#include <string.h>

/* ---- properties ---- */

static json_t *shown_shortstr(struct slice s)
{
    return json_out_text(s);
}

static json_t *shown_u8(uint8_t v)
{
    return json_integer(v);
}

static json_t *shown_u64(uint64_t v)
{
    return json_integer(v < INT64_MAX ? (json_int_t)v : INT64_MAX);
}

static json_t *shown_table(struct slice s)
{
    return mgmt_json_table(s);
}

/* As RabbitMQ shows them: none at all is an empty list. */
static json_t *shown_props(struct slice raw)
{
    struct amqp_props p;
    if (!amqp_props_decode(raw, &p) || p.flags == 0)
        return json_array();
    json_t *o = json_object();
#define F(kind, name, bit)                                                                         \
    if (amqp_props_has(&p, AMQP_PROP_##name))                                                      \
        json_out_put(o, #name, shown_##kind(p.name));
    AMQP_PROPERTIES(F)
#undef F
    return o;
}

/* What a message's properties are read into. */
struct reading {
    struct amqp_props props;
    uint8_t *table;
    const char *wrong; /* what is not as it should be */
    const char *name;
};

static bool read_shortstr(struct reading *r, const json_t *v, struct slice *out)
{
    r->wrong = "not_string";
    *out = slice_of(json_string_value(v), json_string_length(v));
    return json_is_string(v) && out->len <= UINT8_MAX;
}

static bool read_u64(struct reading *r, const json_t *v, uint64_t *out)
{
    r->wrong = "not_int";
    *out = (uint64_t)json_integer_value(v);
    return json_is_integer(v);
}

static bool read_u8(struct reading *r, const json_t *v, uint8_t *out)
{
    uint64_t n;
    *out = 0;
    if (!read_u64(r, v, &n) || n > UINT8_MAX)
        return false;
    *out = (uint8_t)n;
    return true;
}

static bool read_table(struct reading *r, const json_t *v, struct slice *out)
{
    r->wrong = "not_a_table";
    mem_free(r->table);
    return mgmt_json_to_table(v, &r->table, out);
}

/* Unknown members are passed over, as RabbitMQ does. */
static bool read_props(struct reading *r, const json_t *o)
{
    const json_t *v;
#define F(kind, member, bit)                                                                       \
    if ((v = json_object_get(o, #member)) != NULL && !json_is_null(v)) {                           \
        r->props.flags |= AMQP_PROP_##member;                                                      \
        r->name = #member;                                                                         \
        if (!read_##kind(r, v, &r->props.member))                                                  \
            return false;                                                                          \
    }
    AMQP_PROPERTIES(F)
#undef F
    return true;
}

static size_t room_of(const struct amqp_props *p)
{
    size_t room = 64;
#define F_shortstr(name)   room += p->name.len + 1;
#define F_table(name)      room += p->name.len + 4;
#define F_u8(name)         room += 1;
#define F_u64(name)        room += 8;
#define F(kind, name, bit) F_##kind(name)
    AMQP_PROPERTIES(F)
#undef F
#undef F_shortstr
#undef F_table
#undef F_u8
#undef F_u64
    return room;
}

/* ---- publishing, on a shard ---- */

struct publish {
    struct mail mail;
    struct mgmt_call *call;
    struct shard *shard;
    uint64_t vhost_id;
    struct slice exchange; /* in the call's path and body, as the next */
    struct slice key;
    struct slice headers;
    bool persistent;
    struct reading reading;
    struct slice props; /* encoded, in `memory` */
    uint8_t *memory;
    struct text payload;
    bool refused;
    bool routed;
    struct meta_refusal why;
    struct posting posting; /* routed: it waits for what a confirm waits for */
};

static void free_publish(struct publish *p)
{
    mem_free(p->reading.table);
    mem_free(p->memory);
    text_fini(&p->payload);
    mem_free(p);
}

static void tell_refused(const struct publish *p)
{
    mgmt_bad_request(p->call, "%u %s - %s", (unsigned)p->why.code,
                     p->why.code == 403   ? "ACCESS_REFUSED"
                     : p->why.code == 404 ? "NOT_FOUND"
                                          : "PRECONDITION_FAILED",
                     p->why.text);
}

/* A channel would have got a nack; one that is refused for good in RabbitMQ's words. */
static void tell_fate(const struct publish *p)
{
    switch (p->posting.worst) {
    case DEAD_TAKEN:
        mgmt_reply(p->call, 200, json_pack("{s:b}", "routed", (int)p->routed));
        return;
    case DEAD_REFUSED:
        mgmt_bad_request(p->call, "rejected Unable to publish message. Check queue limits.");
        return;
    case DEAD_LOST:
        mgmt_refuse(p->call, 503, "service_unavailable",
                    "a queue did not confirm the message in time, or its node was lost: it may "
                    "or may not have it");
        return;
    case DEAD_FAILED:
        mgmt_refuse(p->call, 503, "service_unavailable", "the message could not be stored");
        return;
    }
    UNREACHABLE("fate");
}

static void on_published(struct mail *mail)
{
    struct publish *p = CONTAINER_OF(mail, struct publish, mail);
    if (p->refused)
        tell_refused(p);
    else
        tell_fate(p);
    free_publish(p);
}

static void answer(struct publish *p)
{
    p->mail.fn = on_published;
    mailbox_post(p->call->m->loop, &p->mail);
}

static void on_posted(struct posting *posting)
{
    answer(CONTAINER_OF(posting, struct publish, posting));
}

static void hand_on(struct publish *p, const struct route_out *to)
{
    struct message *m =
        message_new(p->exchange, p->key, p->props, text_view(&p->payload), p->persistent);
    shard_message_made(p->shard, m);
    shard_count(p->shard, published, 1);
    if (to->count == 0)
        shard_count(p->shard, unroutable, 1);
    p->routed = to->count != 0;
    p->posting.done = on_posted;
    posting_send(p->shard, &p->posting, &m, to->queues, to->count);
}

static void on_shard_publish(struct mail *mail)
{
    struct publish *p = CONTAINER_OF(mail, struct publish, mail);
    struct route_out to;
    route_out_init(&to);
    struct route_in in = {
        .vhost_id = p->vhost_id, .exchange = p->exchange, .key = p->key, .headers = p->headers
    };
    const struct meta_version *v = broker_meta(p->shard->broker);
    p->refused = meta_vhost_get(v, p->vhost_id) == NULL || !exchange_route(v, &in, &to, &p->why);
    if (p->refused)
        answer(p);
    else
        hand_on(p, &to);
    route_out_fini(&to);
}

/* ---- what is to be published ---- */

static void refuse_pair(struct mgmt_call *c, const char *what, json_t *value)
{
    json_t *o = json_object();
    json_out_put_str(o, "error", "bad_request");
    json_out_put(o, "reason", json_pack("[so]", what, value));
    mgmt_reply(c, 400, o);
}

static bool read_payload(struct publish *p, struct slice payload, struct slice encoding)
{
    struct mgmt_call *c = p->call;
    if (slice_is(encoding, "string")) {
        text_slice(&p->payload, payload);
        return true;
    }
    if (!slice_is(encoding, "base64")) {
        refuse_pair(c, "unsupported_encoding", json_out_text(encoding));
        return false;
    }
    if (http_base64_octets(payload, &p->payload))
        return true;
    refuse_pair(c, "not_base64", json_out_text(payload));
    return false;
}

static bool fits(struct publish *p)
{
    uint64_t max = mgmt_conf(p->call->m)->limits.max_message_bytes;
    if (p->payload.len <= max)
        return true;
    mgmt_bad_request(p->call,
                     "406 PRECONDITION_FAILED - message size %zu is larger than configured max "
                     "size %" PRIu64,
                     p->payload.len, max);
    return false;
}

/* What a channel would refuse. */
static bool are_good(struct publish *p)
{
    const struct amqp_props *props = &p->reading.props;
    struct mgmt_call *c = p->call;
    uint64_t ms;
    if (amqp_props_has(props, AMQP_PROP_user_id) && !c->user.is_operator &&
        !slice_eq(props->user_id, slice_of(c->user.name, c->user.name_len))) {
        mgmt_bad_request(c,
                         "406 PRECONDITION_FAILED - user_id property set to '%.*s' but "
                         "authenticated user was '%s'",
                         SLICE_ARG(props->user_id), c->user.name);
        return false;
    }
    if (amqp_props_has(props, AMQP_PROP_expiration) && !units_u64(props->expiration, &ms)) {
        mgmt_bad_request(c, "406 PRECONDITION_FAILED - invalid expiration '%.*s': no_integer",
                         SLICE_ARG(props->expiration));
        return false;
    }
    return true;
}

static bool read_message(struct publish *p)
{
    struct mgmt_call *c = p->call;
    struct slice payload = { NULL, 0 }, encoding = { NULL, 0 };
    if (!mgmt_member_text(c, "routing_key", &p->key) || !mgmt_member_text(c, "payload", &payload) ||
        !mgmt_member_text(c, "payload_encoding", &encoding))
        return false;
    if (p->key.len > META_NAME_MAX) {
        mgmt_bad_request(c, "routing key longer than %u octets", META_NAME_MAX);
        return false;
    }
    if (!read_props(&p->reading, json_object_get(c->body, "properties"))) {
        refuse_pair(c, p->reading.wrong, json_string(p->reading.name));
        return false;
    }
    return mgmt_may_publish(c, p->exchange, p->key) && are_good(p) &&
           read_payload(p, payload, encoding) && fits(p);
}

void mgmt_serve_exchange_publish(struct mgmt_call *c)
{
    static const char *const needed[] = { "routing_key", "properties", "payload",
                                          "payload_encoding", NULL };
    if (!mgmt_read_body_with(c, needed))
        return;
    struct publish *p = mem_zalloc(sizeof *p);
    p->mail.fn = on_shard_publish;
    p->call = c;
    p->shard = broker_shard(c->m->broker, 0);
    p->vhost_id = c->vhost_id;
    p->exchange = mgmt_exchange_named(mgmt_arg(c, 1));
    text_init(&p->payload, SIZE_MAX / 2);
    if (!read_message(p)) {
        free_publish(p);
        return;
    }
    const struct amqp_props *props = &p->reading.props;
    size_t room = room_of(props);
    p->memory = mem_alloc(room);
    struct wire_out w = wire_out_over(p->memory, room);
    amqp_props_encode(&w, props);
    CHECK(!w.overflow);
    p->props = wire_out_slice(&w);
    p->headers = props->headers;
    p->persistent = props->delivery_mode == AMQP_DELIVERY_PERSISTENT;
    mailbox_post(p->shard->loop, &p->mail);
}

/* ---- getting ---- */

#define GETS_A_TURN 128u
#define GETS_MAX    100000u

struct got {
    struct message *message;
    uint64_t qseq;
    uint64_t left;
    uint64_t known; /* the metadata's index when it was got */
    bool redelivered;
};

struct gets {
    struct mgmt_source base;
    struct mail mail;
    struct mgmt_call *call;
    struct mgmt_http *m;
    struct shard *shard;
    uint64_t qid;
    uint32_t wanted;
    enum port_settle how;
    bool no_ack;
    bool as_base64;
    bool is_gone; /* the queue */
    bool later;   /* see struct port_request */
    bool away;
    uint64_t truncate;
    struct got *list;
    size_t cap;
};

static void on_drop(struct mail *mail)
{
    struct gets *g = CONTAINER_OF(mail, struct gets, mail);
    for (uint32_t i = 0; i < g->base.count; i++)
        shard_message_drop(g->shard, &g->list[i].message);
    mem_free(g->list);
    mem_free(g);
}

/* Messages end where they are counted. */
static void free_gets(struct mgmt_source *s)
{
    struct gets *g = CONTAINER_OF(s, struct gets, base);
    g->mail.fn = on_drop;
    mailbox_post(g->shard->loop, &g->mail);
}

/* The first octets of a body. */
static void put_body(const struct message *m, uint64_t max, struct text *out)
{
    if (!message_is_in_parts(m)) {
        text_slice(out, slice_head(message_body(m), (size_t)max));
        return;
    }
    const struct message_more *more = message_more(m);
    for (uint32_t i = 0; i < more->part_count && out->len < max; i++) {
        const struct buf *b = more->parts[i];
        text_slice(out, slice_head(slice_of(b->data, b->len_bytes), (size_t)max - out->len));
    }
}

static void put_payload(json_t *o, const struct message *m, const struct gets *g)
{
    struct text body, base64;
    text_init(&body, SIZE_MAX / 2);
    text_init(&base64, SIZE_MAX / 2);
    put_body(m, g->truncate < m->body_bytes ? g->truncate : m->body_bytes, &body);
    /* NULL when it is no UTF-8; JSON is stricter than AMQP's names, which may hold surrogates. */
    json_t *shown = g->as_base64 ? NULL : json_stringn(body.ptr, body.len);
    bool is_text = shown != NULL;
    if (!is_text) {
        http_base64_encode(text_view(&body), &base64);
        shown = json_stringn(base64.ptr, base64.len);
    }
    json_out_put(o, "payload", shown);
    json_out_put_str(o, "payload_encoding", is_text ? "string" : "base64");
    text_fini(&body);
    text_fini(&base64);
}

static json_t *render_got(struct mgmt_source *s, uint32_t row, uint32_t nth)
{
    (void)nth;
    const struct gets *g = CONTAINER_OF(s, struct gets, base);
    const struct got *got = &g->list[row];
    const struct message *m = got->message;
    json_t *o = json_object();
    json_out_put_u64(o, "payload_bytes", m->body_bytes);
    json_out_put_bool(o, "redelivered", got->redelivered);
    json_out_put(o, "exchange", json_out_text(message_exchange(m)));
    json_out_put(o, "routing_key", json_out_text(message_key(m)));
    json_out_put_u64(o, "message_count", got->left);
    json_out_put(o, "properties", shown_props(message_props(m)));
    put_payload(o, m, g);
    return o;
}

static void on_got(struct mail *mail)
{
    struct gets *g = CONTAINER_OF(mail, struct gets, mail);
    struct mgmt_call *c = g->call;
    if (g->is_gone) {
        free_gets(&g->base);
        mgmt_not_found(c);
    } else {
        mgmt_listing_start(c, &g->base);
    }
}

static void settle(struct gets *g)
{
    for (uint32_t i = 0; i < g->base.count && !g->no_ack; i++)
        port_settle(g->shard,
                    &(struct unacked_entry){ .qid = g->qid,
                                             .qseq = g->list[i].qseq,
                                             .where = g->shard->index,
                                             .known = g->list[i].known },
                    g->how);
    port_settled(g->shard);
}

/* One more; false when there is none, or not now. */
static bool get_one(struct gets *g)
{
    struct port_request r = {
        .op = PORT_GET, .qid = g->qid, .where = g->shard->index, .no_ack = g->no_ack
    };
    port_serve(g->shard, &r);
    g->is_gone = r.verdict != PORT_OK && g->base.count == 0;
    g->later = r.later;
    g->away = r.away;
    if (r.verdict != PORT_OK || r.message == NULL)
        return false;
    if (g->base.count == g->cap) {
        g->cap = g->cap != 0 ? g->cap * 2 : 16;
        g->list = mem_realloc(g->list, g->cap * sizeof *g->list);
    }
    g->list[g->base.count++] =
        (struct got){ r.message, r.qseq, r.messages, r.known, r.redelivered };
    return true;
}

static void on_shard_get(struct mail *mail)
{
    struct gets *g = CONTAINER_OF(mail, struct gets, mail);
    bool more = true;
    for (unsigned n = 0; more && n < GETS_A_TURN && g->base.count < g->wanted; n++)
        more = get_one(g);
    if (g->away) {
        hosted_post_when_loaded(shard_hosted(g->shard, g->qid), &g->mail);
        return;
    }
    if ((more || g->later) && g->base.count < g->wanted) {
        mailbox_post(g->shard->loop, &g->mail);
        return;
    }
    settle(g);
    g->mail.fn = on_got;
    mailbox_post(g->m->loop, &g->mail);
}

static bool read_ackmode(struct gets *g, struct slice word)
{
    static const struct {
        const char *word;
        enum port_settle how;
        bool no_ack;
    } modes[] = { { "ack_requeue_true", PORT_REQUEUE, false },
                  { "reject_requeue_true", PORT_REQUEUE, false },
                  { "ack_requeue_false", PORT_ACK, true },
                  { "reject_requeue_false", PORT_DROP, false } };
    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        if (slice_is(word, modes[i].word)) {
            g->how = modes[i].how;
            g->no_ack = modes[i].no_ack;
            return true;
        }
    }
    return false;
}

static bool read_get(struct gets *g)
{
    struct mgmt_call *c = g->call;
    int64_t count = 0, truncate = INT64_MAX;
    struct slice ackmode = { NULL, 0 }, encoding = { NULL, 0 };
    if (!mgmt_member_i64(c, "count", &count) || !mgmt_member_i64(c, "truncate", &truncate) ||
        !mgmt_member_text(c, "ackmode", &ackmode) || !mgmt_member_text(c, "encoding", &encoding))
        return false;
    g->as_base64 = slice_is(encoding, "base64");
    g->truncate = truncate > 0 ? (uint64_t)truncate : 0;
    g->wanted = count < 0 || count > GETS_MAX ? GETS_MAX : (uint32_t)count;
    if (!g->as_base64 && !slice_is(encoding, "auto"))
        mgmt_bad_request(c, "Unsupported encoding. Please use auto or base64.");
    else if (!read_ackmode(g, ackmode))
        refuse_pair(c, "unsupported_ackmode", json_out_text(ackmode));
    else
        return true;
    return false;
}

void mgmt_serve_queue_get(struct mgmt_call *c)
{
    static const char *const needed[] = { "ackmode", "count", "encoding", NULL };
    if (!mgmt_read_body_with(c, needed))
        return;
    struct slice name = mgmt_arg(c, 1);
    const struct meta_vhost *vh = mgmt_vhost(c);
    const struct meta_queue *q = vh != NULL ? meta_queue_find(mgmt_meta(c), vh, name) : NULL;
    struct meta_refusal why;
    if (vh == NULL) {
        mgmt_not_found(c); /* it went meanwhile */
        return;
    }
    if (q == NULL) {
        char room[META_TEXT_MAX + 16];
        struct text t = text_over(room, sizeof room);
        (void)meta_no_queue(vh, name, &why);
        text_put(&t, "NOT_FOUND - %s", why.text);
        mgmt_refuse(c, 404, "not_found", room);
        return;
    }
    if (!mgmt_may(c, ACCESS_READ, ACCESS_QUEUE, name))
        return;
    if (!meta_queue_is_open_to(mgmt_meta(c), q, 0, &why)) {
        mgmt_refuse_meta(c, &why);
        return;
    }
    if (mgmt_forwarded_home(c, q))
        return;
    struct gets *g = mem_zalloc(sizeof *g);
    g->call = c;
    g->m = c->m;
    g->qid = q->qid;
    g->shard = broker_shard(c->m->broker, q->shard);
    g->base.render = render_got;
    g->base.free = free_gets;
    g->mail.fn = on_shard_get;
    if (read_get(g))
        mailbox_post(g->shard->loop, &g->mail);
    else
        mem_free(g);
}
