#include "client/channel.h"
#include "client/channel_claim.h"

#include "amqp/amqp_props.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "broker.h"
#include "client/connection_login.h"
#include "client/late_answer.h"
#include "client/returning.h"
#include "control.h"

#include <stdio.h>

/* A channel that ends gives back so many unacknowledged messages before it says so. */
#define RETURNED_AT_ONCE 65536u

#define NO_METHOD        "expected method frame, got non method frame instead"

/* ---- life
 * ------------------------------------------------------------------------------------------------
 */

static void open_channel(struct connection *c, uint16_t number)
{
    struct channel *ch = mem_zalloc(sizeof *ch);
    ch->conn = c;
    ch->number = number;
    ch->incarnation = ++c->incarnations;
    ch->state = CHANNEL_OPEN;
    confirm_init(&ch->confirm);
    unacked_init(&ch->unacked);
    idmap_init(&ch->consumers);
    TAILQ_INIT(&ch->starved);
    connection_put_channel(c, number, ch);
    channel_send(ch, &(struct amqp_method){ .id = AMQP_CHANNEL_OPEN_OK });
}

static void leave_lists(struct channel *ch)
{
    struct connection *c = ch->conn;
    if (ch->in_confirming)
        TAILQ_REMOVE(&c->confirming, ch, confirming_entry);
    if (ch->in_assembling)
        TAILQ_REMOVE(&c->assembling, ch, assembling_entry);
    if (ch->in_hungry)
        TAILQ_REMOVE(&c->hungry, ch, hungry_entry);
    ch->in_confirming = ch->in_assembling = ch->in_hungry = false;
}

void channel_let_go(struct channel *ch)
{
    channel_tx_end(ch);
    if (ch->unacked.open <= RETURNED_AT_ONCE)
        channel_requeue_all(ch, PORT_REQUEUE_SEEN);
    else
        returnings_add(ch->conn->shard->returnings, &ch->unacked);
}

/* What it holds of others goes back: consumers first, or they would be handed it again. */
static void release(struct channel *ch)
{
    leave_lists(ch);
    if (ch->pending.method != 0)
        channel_done(ch);
    channel_release_consumers(ch);
    channel_reply_end(ch);
    channel_let_go(ch);
    channel_claims_leave(ch);
    port_settled(ch->conn->shard);
    channel_drop_content(ch);
    confirm_fini(&ch->confirm);
}

static void free_memory(void *ptr)
{
    mem_free(ptr);
}

void channel_end(struct channel *ch)
{
    release(ch);
    control_op_free(&ch->pending.declare);
    connection_take_channel(ch->conn, ch->number);
    unacked_fini(&ch->unacked);
    idmap_fini(&ch->consumers);
    if (ch->route_ready)
        route_out_fini(&ch->route);
    channel_keys_free(ch);
    mem_free(ch->kept);
    mem_free(ch->last_queue);
    loop_bury(ch->conn->shard->loop, ch, free_memory);
}

struct channel *channel_find(struct shard *s, const struct port_channel_ref *ref)
{
    struct connection *c = connection_find(s, ref->connection);
    struct channel *ch = c != NULL ? connection_channel(c, ref->number) : NULL;
    bool is_it = ch != NULL && ch->incarnation == ref->incarnation && ch->state == CHANNEL_OPEN;
    return is_it ? ch : NULL;
}

struct port_channel_ref channel_ref(const struct channel *ch)
{
    return (struct port_channel_ref){ ch->conn->id, ch->incarnation, ch->number };
}

const struct meta_version *channel_meta(const struct channel *ch)
{
    return broker_meta(ch->conn->shard->broker);
}

const struct meta_vhost *channel_vhost(const struct channel *ch, const struct meta_version *v)
{
    static const struct meta_vhost gone;
    const struct meta_vhost *vh = meta_vhost_get(v, ch->conn->vhost_id);
    return vh != NULL ? vh : &gone;
}

/* ---- saying things
 * --------------------------------------------------------------------------------------- */

void channel_send(struct channel *ch, const struct amqp_method *m)
{
    connection_send(ch->conn, ch->number, m);
}

static void close_channel(struct channel *ch, unsigned code, uint32_t method, const char *text)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct slice reply = amqp_reply_text(room, code, "%s", text);
    log_warn("channel", ch->conn->user, "channel error number=%u on=%s: %.*s", ch->number,
             amqp_method_name(method), SLICE_ARG(reply));
    channel_tell_confirms(ch);
    ch->state = CHANNEL_CLOSING;
    release(ch);
    late_answer_send(
        ch->conn, ch->number,
        &(struct amqp_method){ .id = AMQP_CHANNEL_CLOSE,
                               .channel_close = { (uint16_t)code, reply, amqp_method_class(method),
                                                  amqp_method_number(method) } });
}

void channel_error(struct channel *ch, enum amqp_reply_code code, uint32_t method, const char *fmt,
                   ...)
{
    char room[META_TEXT_MAX];
    struct text text = text_over(room, sizeof room);
    va_list args;
    va_start(args, fmt);
    text_vput(&text, fmt, args);
    va_end(args);
    if (amqp_reply_closes_connection(code))
        connection_error(ch->conn, code, method, "%s", room);
    else
        close_channel(ch, code, method, room);
}

void channel_refuse(struct channel *ch, const struct meta_refusal *why, uint32_t method)
{
    channel_error(ch, (enum amqp_reply_code)why->code, method, "%s", why->text);
}

/* ---- one operation at a time
 * ----------------------------------------------------------------------------- */

void channel_begin(struct channel *ch, uint32_t method)
{
    CHECK(ch->pending.method == 0 && method != 0);
    ch->pending.method = method;
    connection_wait(ch->conn);
}

void channel_done(struct channel *ch)
{
    CHECK(ch->pending.method != 0);
    ch->pending.method = 0;
    control_op_free(&ch->pending.declare);
    connection_go_on(ch->conn);
}

void channel_on_answer(struct channel *ch, struct port_request *r)
{
    switch (r->op) {
    case PORT_CONSUME:
    case PORT_CANCEL:
    case PORT_GET:
        channel_on_consume_answer(ch, r);
        return;
    case PORT_PURGE:
    case PORT_DELETE:
    case PORT_COUNT:
        channel_on_topology_answer(ch, r);
        return;
    case PORT_FENCE:
        break; /* has an answer of its own */
    }
    UNREACHABLE("port op");
}

void channel_on_fenced(struct shard *s, const struct port_channel_ref *ref, bool is_lost)
{
    if (late_answer_on_fenced(s, ref))
        return;
    struct channel *ch = channel_find(s, ref);
    if (ch != NULL)
        channel_tx_on_fenced(ch, is_lost);
}

void channel_ask(struct channel *ch, const struct meta_queue *q, const struct port_request *given)
{
    struct port_request *r = mem_dup(given, sizeof *given);
    r->qid = q->qid;
    r->where = port_where(ch->conn->shard, q);
    r->from = channel_ref(ch);
    ch->pending.qid = q->qid;
    ch->pending.where = r->where;
    ch->pending.name_bytes = q->name_bytes;
    memcpy(ch->pending.name, q->bytes, q->name_bytes);
    port_ask(ch->conn->shard, &r);
}

bool channel_queue_name(struct channel *ch, struct slice given, uint32_t method, struct slice *out)
{
    *out = given;
    if (given.len != 0)
        return true;
    *out = slice_of(ch->last_queue, ch->last_queue_bytes);
    if (ch->last_queue_bytes != 0)
        return true;
    channel_error(ch, AMQP_NOT_FOUND, method, "no previously declared queue");
    return false;
}

const struct meta_queue *channel_open_queue(struct channel *ch, struct slice given, uint32_t method)
{
    uint8_t room[META_NAME_MAX];
    struct slice name;
    if (!channel_queue_name(ch, meta_strip_name(given, room), method, &name))
        return NULL;
    if (!channel_may(ch, ACCESS_READ, ACCESS_QUEUE, name, method))
        return NULL;
    const struct meta_version *v = channel_meta(ch);
    const struct meta_vhost *vh = channel_vhost(ch, v);
    const struct meta_queue *q = meta_queue_find(v, vh, name);
    struct meta_refusal why;
    if (q == NULL)
        meta_no_queue(vh, name, &why);
    else if (meta_queue_is_at_hand(v, q, &why) && meta_queue_is_open_to(v, q, ch->conn->id, &why))
        return q;
    channel_refuse(ch, &why, method);
    return NULL;
}

void channel_refuse_lost(struct channel *ch, uint64_t qid, uint32_t method)
{
    const struct meta_version *v = channel_meta(ch);
    const struct meta_queue *q = meta_queue_get(v, qid);
    struct meta_refusal why;
    if (q != NULL)
        meta_home_is_down(v, q, &why);
    else
        meta_no_queue(channel_vhost(ch, v), slice_of(ch->pending.name, ch->pending.name_bytes),
                      &why);
    channel_refuse(ch, &why, method);
}

/* ---- methods of the channel itself
 * --------------------------------------------------------------------- */

static void take_confirm_select(struct channel *ch, const struct amqp_confirm_select *m)
{
    if (ch->tx != NULL) {
        channel_error(ch, AMQP_PRECONDITION_FAILED, AMQP_CONFIRM_SELECT,
                      "cannot switch from tx to confirm mode");
        return;
    }
    ch->confirms = true;
    if (!m->nowait)
        channel_send(ch, &(struct amqp_method){ .id = AMQP_CONFIRM_SELECT_OK });
}

static void take_flow(struct channel *ch, const struct amqp_channel_flow *m)
{
    if (!m->active) {
        channel_error(ch, AMQP_NOT_IMPLEMENTED, AMQP_CHANNEL_FLOW, "active=false");
        return;
    }
    late_answer_send(
        ch->conn, ch->number,
        &(struct amqp_method){ .id = AMQP_CHANNEL_FLOW_OK, .channel_flow_ok = { true } });
}

static void take_close(struct channel *ch)
{
    struct connection *c = ch->conn;
    uint16_t number = ch->number;
    channel_tell_confirms(ch);
    channel_end(ch);
    late_answer_send(c, number, &(struct amqp_method){ .id = AMQP_CHANNEL_CLOSE_OK });
}

static void second_open(struct channel *ch)
{
    channel_error(ch, AMQP_CHANNEL_ERROR, AMQP_CHANNEL_OPEN, "second 'channel.open' seen");
}

static void take_method(struct channel *ch, const struct amqp_method *m)
{
    if (channel_take_consume(ch, m) || channel_take_topology(ch, m) || channel_take_tx(ch, m->id))
        return;
    if (m->id == AMQP_CONFIRM_SELECT)
        take_confirm_select(ch, &m->confirm_select);
    else if (m->id == AMQP_CHANNEL_FLOW)
        take_flow(ch, &m->channel_flow);
    else if (m->id == AMQP_CHANNEL_CLOSE)
        take_close(ch);
    else if (m->id == AMQP_CHANNEL_OPEN)
        second_open(ch);
    else if (m->id == AMQP_ACCESS_REQUEST)
        channel_send(
            ch, &(struct amqp_method){ .id = AMQP_ACCESS_REQUEST_OK, .access_request_ok = { 1 } });
    else
        channel_error(ch, AMQP_COMMAND_INVALID, m->id, "unimplemented method");
}

/* ---- frames
 * ------------------------------------------------------------------------------------------------
 */

static void undecodable(struct connection *c, enum amqp_decode verdict, struct slice payload)
{
    char room[AMQP_REPLY_TEXT_MAX + 1];
    struct text why = text_over(room, sizeof room);
    amqp_decode_why(verdict, payload, &why);
    connection_error(c, verdict == AMQP_DECODE_UNKNOWN ? AMQP_NOT_IMPLEMENTED : AMQP_FRAME_ERROR,
                     amqp_decode_culprit(verdict, payload), "%s", room);
}

static void unexpected(struct connection *c, uint32_t method, const char *what)
{
    connection_error(c, AMQP_UNEXPECTED_FRAME, method, "%s", what);
}

/* A number that no channel has: only channel.open makes sense. */
static void take_first(struct connection *c, uint16_t number, const struct amqp_method *m)
{
    if (m->id != AMQP_CHANNEL_OPEN) {
        connection_error(c, AMQP_CHANNEL_ERROR, m->id, "expected 'channel.open'");
        return;
    }
    if (c->channel_count >= c->hs.limits.channel_max) {
        connection_error(c, AMQP_NOT_ALLOWED, 0,
                         "number of channels opened (%u) has reached the negotiated channel_max "
                         "(%u)",
                         (unsigned)c->channel_count, (unsigned)c->hs.limits.channel_max);
        return;
    }
    if (!connection_take_user_channel(c))
        return;
    open_channel(c, number);
}

/* We said channel.close: all that was sent before the client knew is passed over. */
static void take_when_closing(struct channel *ch, const struct amqp_method *m)
{
    struct connection *c = ch->conn;
    uint16_t number = ch->number;
    if (m->id == AMQP_CHANNEL_CLOSE_OK) {
        channel_end(ch);
    } else if (m->id == AMQP_CHANNEL_OPEN) {
        second_open(ch);
    } else if (m->id == AMQP_BASIC_PUBLISH) {
        channel_pass_over_publish(ch);
    } else if (m->id == AMQP_CHANNEL_CLOSE) {
        /* The two crossed: its answer to ours is still to come. */
        connection_send(c, number, &(struct amqp_method){ .id = AMQP_CHANNEL_CLOSE_OK });
    }
}

static void take_method_frame(struct connection *c, struct channel *ch, const struct amqp_frame *f)
{
    struct amqp_method m;
    enum amqp_decode verdict = amqp_method_decode(f->payload, &m);
    if (verdict != AMQP_DECODE_OK)
        undecodable(c, verdict, f->payload);
    else if (ch == NULL)
        take_first(c, f->channel, &m);
    else if (ch->content.stage != CONTENT_NONE)
        unexpected(
            c, AMQP_BASIC_PUBLISH,
            ch->content.stage == CONTENT_HEADER
                ? "expected content header for class 60, got non content header frame instead"
                : "expected content body, got non content body frame instead");
    else if (ch->state == CHANNEL_CLOSING)
        take_when_closing(ch, &m);
    else if (!amqp_method_is_sent_by(m.id, AMQP_SENT_BY_CLIENT))
        channel_error(ch, AMQP_COMMAND_INVALID, m.id, "unimplemented method");
    else
        take_method(ch, &m);
}

static void take_publish_frame(struct channel *ch, struct slice payload)
{
    struct amqp_basic_publish m;
    enum amqp_decode verdict = amqp_basic_publish_decode(slice_from(payload, 4), &m);
    if (LIKELY(verdict == AMQP_DECODE_OK))
        channel_take_publish(ch, &m);
    else
        undecodable(ch->conn, verdict, payload);
}

static void header_out_of_place(struct connection *c, const struct amqp_frame *f)
{
    struct amqp_header h;
    if (amqp_header_decode(f->payload, &h))
        unexpected(c, 0, NO_METHOD);
    else
        connection_unknown_frame(c, f);
}

void channel_frame(struct connection *c, const struct amqp_frame *f)
{
    struct channel *ch = connection_channel(c, f->channel);
    switch (f->type) {
    case AMQP_FRAME_METHOD:
        if (LIKELY(ch != NULL && amqp_method_peek(f->payload) == AMQP_BASIC_PUBLISH &&
                   ch->state == CHANNEL_OPEN && ch->content.stage == CONTENT_NONE))
            take_publish_frame(ch, f->payload);
        else
            take_method_frame(c, ch, f);
        return;
    case AMQP_FRAME_HEADER:
        if (ch == NULL)
            header_out_of_place(c, f);
        else if (ch->state == CHANNEL_OPEN)
            channel_take_header(ch, f);
        else
            channel_pass_over_header(ch, f);
        return;
    case AMQP_FRAME_BODY:
        if (ch == NULL)
            unexpected(c, 0, NO_METHOD);
        else if (ch->state == CHANNEL_OPEN)
            channel_take_body(ch, f);
        else
            channel_pass_over_body(ch, f);
        return;
    case AMQP_FRAME_HEARTBEAT: {
        char room[AMQP_REPLY_TEXT_MAX + 1];
        struct text why = text_over(room, sizeof room);
        amqp_frame_describe(f, &why);
        unexpected(c, 0, room);
        return;
    }
    }
    UNREACHABLE("frame type");
}
