#include "model/message.h"

#include "base/check.h"
#include "base/mem.h"
#include "base/units.h"

static uint8_t *put(uint8_t *at, struct slice s)
{
    if (s.len != 0)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static uint8_t *put_short(uint8_t *at, struct slice s)
{
    *at = (uint8_t)s.len;
    return put(at + 1, s);
}

static struct message *make(struct slice exchange, struct slice key, struct slice props,
                            struct slice body, bool persistent)
{
    CHECK(exchange.len <= UINT8_MAX && key.len <= UINT8_MAX && props.len <= UINT32_MAX);
    size_t names = 2 + exchange.len + key.len;
    struct message *m = mem_alloc(sizeof *m + names + props.len + body.len);
    atomic_init(&m->refs, 1);
    m->props_bytes = (uint32_t)props.len;
    m->body_bytes = body.len;
    m->parts = NULL;
    m->part_count = 0;
    m->names_bytes = (uint16_t)names;
    m->persistent = persistent;
    put(put(put_short(put_short(m->bytes, exchange), key), props), body);
    return m;
}

struct message *message_new(struct slice exchange, struct slice key, struct slice props,
                            struct slice body, bool persistent)
{
    return make(exchange, key, props, body, persistent);
}

struct message *message_new_parts(struct slice exchange, struct slice key, struct slice props,
                                  struct buf **parts, uint32_t part_count, uint64_t body_bytes,
                                  bool persistent)
{
    struct message *m = make(exchange, key, props, slice_of(NULL, 0), persistent);
    m->parts = parts;
    m->part_count = part_count;
    m->body_bytes = body_bytes;
    return m;
}

struct message *message_with_props(const struct message *of, struct slice exchange,
                                   struct slice key, struct slice props)
{
    if (of->parts == NULL)
        return make(exchange, key, props, message_body(of), of->persistent);
    struct buf **parts = mem_dup(of->parts, of->part_count * sizeof(struct buf *));
    for (uint32_t i = 0; i < of->part_count; i++)
        buf_ref(parts[i]);
    return message_new_parts(exchange, key, props, parts, of->part_count, of->body_bytes,
                             of->persistent);
}

/* There may be a sign before the digits, which a minus must not change anything by. */
static bool read_expiration(struct slice text, uint64_t *ms)
{
    bool has_sign = text.len > 1 && (text.ptr[0] == '+' || text.ptr[0] == '-');
    return units_u64(slice_from(text, has_sign), ms) && (*ms == 0 || text.ptr[0] != '-');
}

/* Properties were judged when the message came in; an expiration that is no number, as one of a
 * message of our own making may be, is none. */
void message_read_props(const struct message *m, uint64_t *ttl_ms, uint8_t *priority)
{
    struct amqp_props_brief brief;
    *ttl_ms = MESSAGE_NO_TTL;
    *priority = 0;
    if (!amqp_props_peek(message_props(m), &brief))
        return;
    *priority = brief.priority;
    if ((brief.flags & AMQP_PROP_expiration) != 0 && !read_expiration(brief.expiration, ttl_ms))
        *ttl_ms = MESSAGE_NO_TTL;
}

bool message_timestamp(const struct message *m, uint64_t *seconds)
{
    struct amqp_props props;
    if (!amqp_props_decode(message_props(m), &props) ||
        !amqp_props_has(&props, AMQP_PROP_timestamp))
        return false;
    *seconds = props.timestamp;
    return true;
}

static void free_message(struct message *m)
{
    for (uint32_t i = 0; i < m->part_count; i++)
        buf_unref(&m->parts[i]);
    mem_free(m->parts);
    mem_free(m);
}

size_t message_unref(struct message **message)
{
    struct message *m = *message;
    *message = NULL;
    /* The usual case, one holder, needs no locked operation. */
    if (atomic_load_explicit(&m->refs, memory_order_acquire) != 1) {
        unsigned was = atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel);
        CHECK(was > 0);
        if (was > 1)
            return 0;
    }
    size_t cost = message_cost_bytes(m);
    free_message(m);
    return cost;
}
