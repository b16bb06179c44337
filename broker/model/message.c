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

/* With room for what comes before it, if it has that. */
static struct message *allocate(size_t bytes, bool has_more)
{
    size_t before = has_more ? sizeof(struct message_more) : 0;
    struct message *m =
        (struct message *)((uintptr_t)mem_alloc(before + sizeof *m + bytes) + before);
    m->has_more = has_more;
    if (has_more)
        *message_more(m) = (struct message_more){ 0 };
    return m;
}

/* `inline_body` is the body, or empty when it is in parts. */
static struct message *make(struct slice exchange, struct slice key, struct slice props,
                            struct slice inline_body, uint64_t body_bytes, bool persistent,
                            bool is_kept)
{
    CHECK(exchange.len <= UINT8_MAX && key.len <= UINT8_MAX && props.len <= UINT32_MAX);
    CHECK(body_bytes <= UINT32_MAX);
    bool has_more = is_kept || body_bytes != inline_body.len || body_bytes >= MESSAGE_LARGE_BYTES;
    size_t names = 2 + exchange.len + key.len;
    struct message *m = allocate(names + props.len + inline_body.len, has_more);
    atomic_init(&m->refs, 1);
    m->props_bytes = (uint32_t)props.len;
    m->body_bytes = (uint32_t)body_bytes;
    m->names_bytes = (uint16_t)names;
    m->persistent = persistent;
    put(put(put_short(put_short(m->bytes, exchange), key), props), inline_body);
    return m;
}

struct message *message_new(struct slice exchange, struct slice key, struct slice props,
                            struct slice body, bool persistent)
{
    return make(exchange, key, props, body, body.len, persistent, false);
}

struct message *message_new_kept(struct slice exchange, struct slice key, struct slice props,
                                 struct slice body, bool persistent, uint64_t by, uint64_t as)
{
    struct message *m = make(exchange, key, props, body, body.len, persistent, true);
    message_more(m)->kept_by = by;
    message_more(m)->kept_as = as;
    return m;
}

struct message *message_new_parts(struct slice exchange, struct slice key, struct slice props,
                                  struct buf **parts, uint32_t part_count, uint64_t body_bytes,
                                  bool persistent)
{
    CHECK(part_count != 0 && body_bytes != 0);
    struct message *m =
        make(exchange, key, props, slice_of(NULL, 0), body_bytes, persistent, false);
    message_more(m)->parts = parts;
    message_more(m)->part_count = part_count;
    return m;
}

struct message *message_with_props(const struct message *of, struct slice exchange,
                                   struct slice key, struct slice props)
{
    if (!message_is_in_parts(of))
        return make(exchange, key, props, message_body(of), of->body_bytes, of->persistent, false);
    const struct message_more *more = message_more(of);
    struct buf **parts = mem_dup(more->parts, more->part_count * sizeof(struct buf *));
    for (uint32_t i = 0; i < more->part_count; i++)
        buf_ref(parts[i]);
    return message_new_parts(exchange, key, props, parts, more->part_count, of->body_bytes,
                             of->persistent);
}

void message_set_large_id(struct message *m, uint64_t id)
{
    CHECK(m->has_more);
    message_more(m)->large_id = id;
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
    if (LIKELY(!m->has_more)) {
        mem_free(m);
        return;
    }
    struct message_more *more = message_more(m);
    for (uint32_t i = 0; i < more->part_count; i++)
        buf_unref(&more->parts[i]);
    mem_free(more->parts);
    mem_free(more);
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
