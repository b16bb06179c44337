#include "place.h"

#include "base/check.h"
#include "base/mem.h"
#include "method_out.h"
#include "session.h"
#include "splice.h"
#include "where.h"

const char *place_way_word(enum place_way way)
{
    static const char *const words[] = {
#define X(name, word) word,
        PLACE_WAYS(X)
#undef X
    };
    CHECK(way < PLACE_WAY_COUNT);
    return words[way];
}

/* ---- what a method is about ------------------------------------------------------------------ */

/* A method that is broken names nothing: the broker is to judge it. */
struct slice place_queue(struct slice payload)
{
    struct wire w = wire_over(slice_from(payload, 4));
    struct amqp_method m;
    struct slice queue;
    switch (amqp_method_peek(payload)) {
    case AMQP_BASIC_PUBLISH:
        amqp_basic_publish_read(&w, &m.basic_publish);
        queue = m.basic_publish.exchange.len == 0 ? m.basic_publish.routing_key : slice_of(NULL, 0);
        break;
#define NAMES(NAME, name)                                                                          \
    case AMQP_##NAME:                                                                              \
        amqp_##name##_read(&w, &m.name);                                                           \
        queue = m.name.queue;                                                                      \
        break;
        NAMES(BASIC_CONSUME, basic_consume)
        NAMES(BASIC_GET, basic_get)
        NAMES(QUEUE_DECLARE, queue_declare)
        NAMES(QUEUE_BIND, queue_bind)
        NAMES(QUEUE_UNBIND, queue_unbind)
        NAMES(QUEUE_PURGE, queue_purge)
        NAMES(QUEUE_DELETE, queue_delete)
#undef NAMES
    default:
        return slice_of(NULL, 0);
    }
    return w.ran_out ? slice_of(NULL, 0) : queue;
}

/* A publish to an exchange that has a name: where it lands its broker knows. */
static bool names_exchange(struct slice payload, struct amqp_basic_publish *out)
{
    struct wire w = wire_over(slice_from(payload, 4));
    if (amqp_method_peek(payload) != AMQP_BASIC_PUBLISH)
        return false;
    amqp_basic_publish_read(&w, out);
    return !w.ran_out && out->exchange.len != 0;
}

static enum where_lead lead_of(const struct session *s, const struct amqp_basic_publish *m,
                               const struct server **server, bool *is_whole)
{
    return where_lead(s->worker, s->backend, s->login->vhost, m->exchange, m->routing_key, server,
                      is_whole);
}

/* ---- before there is a leg ------------------------------------------------------------------- */

void place_open(struct session *s, struct channel *c)
{
    channel_move(c, CHANNEL_OPEN);
    method_out_bare(s->client, c->number, AMQP_CHANNEL_OPEN_OK);
}

/* One that no broker would refuse: a limit in octets is not implemented by any. */
static bool note_qos(struct channel *c, struct slice fields)
{
    struct amqp_basic_qos m;
    if (amqp_basic_qos_decode(fields, &m) != AMQP_DECODE_OK || m.prefetch_size != 0)
        return false;
    if (!m.global) /* lifts what was said for the channel, as in RabbitMQ */
        c->place.has_qos[1] = false;
    c->place.has_qos[m.global] = true;
    c->place.prefetch[m.global] = m.prefetch_count;
    return true;
}

static bool prepare_qos(struct session *s, struct channel *c, struct slice fields)
{
    if (!note_qos(c, fields))
        return false;
    method_out_bare(s->client, c->number, AMQP_BASIC_QOS_OK);
    return true;
}

static bool prepare_confirms(struct session *s, struct channel *c, struct slice fields)
{
    struct amqp_confirm_select m;
    if (amqp_confirm_select_decode(fields, &m) != AMQP_DECODE_OK)
        return false;
    c->place.confirms = true;
    publishes_select(&c->publishes);
    if (!m.nowait)
        method_out_bare(s->client, c->number, AMQP_CONFIRM_SELECT_OK);
    return true;
}

bool place_prepare(struct session *s, struct channel **channel, struct slice payload)
{
    struct channel *c = *channel;
    struct slice fields = slice_from(payload, 4);
    struct amqp_channel_close close;
    switch (amqp_method_peek(payload)) {
    case AMQP_BASIC_QOS:
        return prepare_qos(s, c, fields);
    case AMQP_CONFIRM_SELECT:
        return prepare_confirms(s, c, fields);
    case AMQP_CHANNEL_CLOSE:
        if (amqp_channel_close_decode(fields, &close) != AMQP_DECODE_OK)
            return false;
        method_out_bare(s->client, c->number, AMQP_CHANNEL_CLOSE_OK);
        session_drop_channel(s, channel);
        return true;
    default:
        return false;
    }
}

static struct upstream *owner_of(const struct session *s, struct slice queue)
{
    for (const struct place_owned *o = s->owned; o != NULL; o = o->next) {
        if (slice_eq(slice_of(o->name, o->name_len), queue))
            return o->upstream;
    }
    return NULL;
}

bool place_find(const struct session *s, struct slice queue, struct upstream **owner,
                const struct server **master)
{
    *owner = NULL;
    *master = NULL;
    if (queue.len == 0)
        return false;
    struct upstream *u = owner_of(s, queue);
    if (u != NULL && u->state == UPSTREAM_READY) {
        *owner = u;
        return true;
    }
    return where_find(s->worker, s->backend, s->login->vhost, queue, master);
}

/* The session's exclusive queues that were left out may be among those that are meant. */
static const struct server *lead_for(const struct session *s, struct slice payload)
{
    struct amqp_basic_publish m;
    const struct server *server = NULL;
    bool is_whole;
    if (s->pinned == NULL && names_exchange(payload, &m))
        (void)lead_of(s, &m, &server, &is_whole);
    return server;
}

void place_hunt(struct session *s, struct channel *c, struct slice payload)
{
    struct upstream *owner;
    const struct server *master;
    struct slice queue = place_queue(payload);
    bool known = place_find(s, queue, &owner, &master);
    if (owner != NULL)
        splice_attach(s, c, owner);
    else if (known)
        hunt_start_for(s, c, queue);
    else if ((master = lead_for(s, payload)) != NULL)
        hunt_start_at(s, c, master);
    else
        hunt_start(s, HUNT_READY, c);
}

/* ---- what the broker is told of that --------------------------------------------------------- */

static void say_qos(const struct channel *c, struct leg *leg, bool global, uint16_t prefetch)
{
    struct amqp_method m = { .id = AMQP_BASIC_QOS };
    m.basic_qos.prefetch_count = prefetch;
    m.basic_qos.global = global;
    method_out(leg->upstream->stream, c->number, &m);
    leg->told++;
}

static void tell_qos(const struct channel *c, struct leg *leg, bool global)
{
    if (c->place.has_qos[global])
        say_qos(c, leg, global, c->place.prefetch[global]);
}

void place_tell_consume(const struct channel *c, struct leg *leg, const struct amqp_method *consume,
                        uint16_t prefetch)
{
    uint16_t now = c->place.has_qos[0] ? c->place.prefetch[0] : 0;
    if (prefetch != now)
        say_qos(c, leg, false, prefetch);
    method_out(leg->upstream->stream, c->number, consume);
    if (prefetch != now)
        say_qos(c, leg, false, now);
}

void place_tell(struct channel *c)
{
    c->leg->told = 1; /* channel.open */
    tell_qos(c, c->leg, false);
    tell_qos(c, c->leg, true);
    place_tell_confirms(c);
}

void place_tell_confirms(const struct channel *c)
{
    if (!c->place.confirms)
        return;
    struct amqp_method m = { .id = AMQP_CONFIRM_SELECT };
    m.confirm_select.nowait = true;
    method_out(c->leg->upstream->stream, c->number, &m);
}

void place_tell_further(const struct channel *c, struct leg *leg)
{
    leg->told = 1;
    tell_qos(c, leg, false);
}

bool place_is_told(struct leg *leg, uint32_t id)
{
    /* A broker answers in order, and what the client asks of it comes behind. */
    if (leg->told == 0 || (id != AMQP_CHANNEL_OPEN_OK && id != AMQP_BASIC_QOS_OK))
        return false;
    leg->told--;
    return true;
}

/* ---- exclusive queues ------------------------------------------------------------------------ */

static void forget_name(struct session *s, struct slice queue)
{
    struct place_owned **at = &s->owned;
    while (*at != NULL) {
        struct place_owned *o = *at;
        if (!slice_eq(slice_of(o->name, o->name_len), queue)) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        mem_free(o);
        s->owned_count--;
    }
}

static void keep(struct session *s, struct upstream *u, struct slice queue)
{
    if (s->owned_count == PLACE_OWNED_MAX) {
        if (s->pinned == NULL)
            s->pinned = u;
        return;
    }
    CHECK(queue.len <= UINT8_MAX);
    struct place_owned *o = mem_alloc(sizeof *o + queue.len);
    o->upstream = u;
    o->name_len = (uint8_t)queue.len;
    memcpy(o->name, queue.ptr, queue.len);
    o->next = s->owned;
    s->owned = o;
    s->owned_count++;
}

static void note_delete(struct session *s, struct slice fields)
{
    struct wire w = wire_over(fields);
    struct amqp_queue_delete m;
    amqp_queue_delete_read(&w, &m);
    if (!w.ran_out)
        forget_name(s, m.queue);
}

static void note_declare(struct session *s, struct channel *c, struct slice fields)
{
    struct wire w = wire_over(fields);
    struct amqp_queue_declare m;
    amqp_queue_declare_read(&w, &m);
    if (w.ran_out)
        return;
    c->place.has_nameless |= m.queue.len == 0;
    if (!m.exclusive || m.passive)
        return;
    c->place.names_exclusive = m.queue.len == 0;
    /* The first who says so has it: if another upstream owns it, this declare is refused. */
    if (m.queue.len != 0 && owner_of(s, m.queue) == NULL)
        keep(s, c->leg->upstream, m.queue);
}

static void note_flow(struct channel *c, struct slice fields)
{
    struct amqp_channel_flow m;
    if (amqp_channel_flow_decode(fields, &m) == AMQP_DECODE_OK)
        c->place.is_stopped = !m.active;
}

void place_note(struct session *s, struct channel *c, uint32_t id, struct slice fields)
{
    switch (id) {
    case AMQP_QUEUE_DECLARE:
        note_declare(s, c, fields);
        return;
    case AMQP_QUEUE_DELETE:
        note_delete(s, fields);
        return;
    case AMQP_BASIC_QOS:
        (void)note_qos(c, fields); /* else the broker refuses it */
        return;
    case AMQP_TX_SELECT:
        c->place.has_tx = true;
        return;
    case AMQP_CONFIRM_SELECT: /* the broker refuses it with a transaction, and the channel ends */
        c->place.confirms = true;
        publishes_select(&c->publishes);
        return;
    case AMQP_CHANNEL_FLOW:
        note_flow(c, fields);
        return;
    default:
        return;
    }
}

void place_note_named(struct session *s, struct channel *c, struct slice fields)
{
    struct wire w = wire_over(fields);
    struct amqp_queue_declare_ok m;
    if (!c->place.names_exclusive)
        return;
    c->place.names_exclusive = false;
    amqp_queue_declare_ok_read(&w, &m);
    if (!w.ran_out && owner_of(s, m.queue) == NULL)
        keep(s, c->leg->upstream, m.queue);
}

void place_forget(struct session *s, const struct upstream *u)
{
    struct place_owned **at = &s->owned;
    while (*at != NULL) {
        struct place_owned *o = *at;
        if (u != NULL && o->upstream != u) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        mem_free(o);
        s->owned_count--;
    }
}

/* ---- counting -------------------------------------------------------------------------------- */

static uint32_t news_of(const struct session *s)
{
    return (uint32_t)where_leads_news(s->backend);
}

/* How a method goes at u, and where it should have gone. */
struct judged {
    enum place_way way;
    bool lasts;              /* until masters are others, or leads are */
    bool is_led;             /* leads have a say in it */
    const struct server *to; /* one that is up; NULL: none, or by u */
};

static struct judged judge_queue(const struct session *s, const struct upstream *u,
                                 struct slice queue)
{
    const struct server *master;
    enum where where = where_look(s->worker, s->backend, s->login->vhost, queue, &master);
    if (where != WHERE_UNKNOWN && master == u->server)
        return (struct judged){ PLACE_STRAIGHT, true, false, NULL };
    if (where != WHERE_UNKNOWN)
        return (struct judged){ PLACE_HOP, true, false, where == WHERE_AT ? master : NULL };
    /* It may be too young for anybody to have heard of it, but not for us. What is not known today
     * may be tomorrow, without anything having moved. */
    bool is_ours = owner_of(s, queue) == u;
    return (struct judged){ is_ours ? PLACE_STRAIGHT : PLACE_UNKNOWN, is_ours, false, NULL };
}

/* Of several masters' queues some are reached by a hop, wherever it goes. */
static struct judged judge_exchange(const struct session *s, const struct upstream *u,
                                    const struct amqp_basic_publish *m)
{
    const struct server *server;
    bool is_whole;
    enum where_lead lead = lead_of(s, m, &server, &is_whole);
    if (lead != WHERE_LEAD_AT)
        return (struct judged){ PLACE_UNKNOWN, lead == WHERE_LEAD_NONE, true, NULL };
    if (!is_whole)
        return (struct judged){ PLACE_HOP, true, true, NULL };
    if (server == u->server)
        return (struct judged){ PLACE_STRAIGHT, true, true, NULL };
    return (struct judged){ PLACE_HOP, true, true, server };
}

static struct judged judge(const struct session *s, const struct upstream *u, struct slice payload)
{
    struct amqp_basic_publish m;
    struct slice queue = place_queue(payload);
    if (queue.len != 0)
        return judge_queue(s, u, queue);
    if (names_exchange(payload, &m))
        return judge_exchange(s, u, &m);
    return (struct judged){ PLACE_UNKNOWN, false, false, NULL };
}

bool place_may_try(struct place_tries *t, bool is_led, uint64_t moves, uint32_t news,
                   uint32_t now_s)
{
    bool has_rested = now_s - t->at_s >= PLACE_REST_S;
    if (t->any && t->moves == moves && !(is_led && t->news != news && has_rested))
        return false;
    *t = (struct place_tries){ moves, news, now_s, true };
    return true;
}

/* One publish like those before it. Where its queues are, a leg is to be had? */
static void note_hop(const struct session *s, struct place *p)
{
    if (p->in_turn < PLACE_IN_TURN) {
        p->in_turn++;
        return;
    }
    if (p->to == NULL || !place_may_try(&p->tries, p->is_led, p->moves, news_of(s),
                                        (uint32_t)(loop_now_ms(s->worker->loop) / 1000)))
        return;
    p->wants_move = server_has_room(p->to);
}

static void note_new(const struct session *s, struct place *p, const struct upstream *u,
                     struct slice payload)
{
    struct judged j = judge(s, u, payload);
    bool publishes = amqp_method_peek(payload) == AMQP_BASIC_PUBLISH;
    const struct server *to = publishes ? j.to : NULL;
    bool is_next = to != NULL && to == p->to && p->at == u->server;
    p->way = (uint8_t)j.way;
    p->is_led = j.is_led;
    p->at = u->server;
    p->to = to;
    p->memo_len = payload.len <= PLACE_MEMO_MAX && j.lasts ? (uint8_t)payload.len : 0;
    memcpy(p->memo, payload.ptr, p->memo_len);
    if (is_next)
        note_hop(s, p);
    else
        p->in_turn = 0;
}

void place_count(struct session *s, struct channel *c, const struct upstream *u,
                 struct slice payload)
{
    struct place *p = &c->place;
    uint64_t moves = where_moves(s->backend);
    if (payload.len != p->memo_len || p->moves != moves || p->at != u->server ||
        (p->is_led && p->news != news_of(s)) || memcmp(payload.ptr, p->memo, payload.len) != 0) {
        p->moves = moves;
        p->news = news_of(s);
        note_new(s, p, u, payload);
    } else if (UNLIKELY(p->way == PLACE_HOP)) {
        note_hop(s, p);
    }
    shared_bump(&s->worker->counts.ways[p->way], 1);
}
